"""Candles of every file of market_history, compared with bars from trades.

The statements of `analysis.bars` about candles of venues are measured here.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from support.analysis.market_data import data_folder, history, xrp_trades

from analysis.arrays import DAY, HOUR, MINUTE, Floats, Gaps, Ints, Trades
from analysis.bars import Bars, on_grid, roll_up, time_bars

SERIES = 44


def bars_of(start: pl.Series, columns: pl.DataFrame, width: int) -> Bars:
    """Return candles as bars; values that a candle lacks are NaN."""
    at = start.dt.epoch("ns").to_numpy()
    names = columns.columns
    values = [columns[name].cast(pl.Float64).to_numpy() for name in names]
    if len(values) == 4:
        values.append(np.full(len(at), np.nan))
    unknown = np.full(len(at), np.nan)
    o, h, l, c, v = values  # noqa: E741
    return Bars(at, at + width, o, h, l, c, v, unknown, unknown, np.zeros(len(at), np.int64), *[unknown] * 4)


def instants(column: pl.Series) -> pl.Series:
    """Return UTC instants for any time format of the files."""
    if column.dtype == pl.String:
        form = "%Y-%m-%d" if len(str(column[0])) == 10 else None
        return column.str.to_datetime(form, time_zone="UTC", time_unit="ns")
    return column.cast(pl.Datetime("ns", "UTC"))


@lru_cache(maxsize=1)
def candles() -> dict[str, Bars]:
    """Return every series of candles by name."""
    found: dict[str, Bars] = {}

    def put(name: str, rows: pl.DataFrame, at: str, columns: str, width: int) -> None:
        found[name] = bars_of(instants(rows[at]), rows.select(columns.split()), width)

    plain = "open high low close volume"
    put("pair 1m", history("crypto_1m_ohlcv_one_pair.parquet"), "date", plain, MINUTE)
    put("perp 1m", history("btc_perp_1m.parquet"), "timestamp", plain, MINUTE)
    for frame, width in (("1m", MINUTE), ("5m", 5 * MINUTE)):
        put(f"XRP/ETH {frame}", history(f"ohlcv_XRP_ETH_{frame}.parquet"), "date", plain, width)
    for (symbol,), rows in history("crypto_5m_ohlcv.parquet").group_by("symbol", maintain_order=True):
        put(f"{symbol} 5m", rows, "date", plain, 5 * MINUTE)
    for (side,), rows in history("fx_gbpusd_1m_bid_ask.parquet").group_by("side", maintain_order=True):
        put(f"GBP/USD {side} 1m", rows, "timestamp", "open high low close", MINUTE)
    for (venue, coin), rows in history("perp_candles_multi.parquet").group_by(["venue", "coin"], maintain_order=True):
        put(f"{venue} {coin} 1h", rows, "timestamp", "o h l c v", HOUR)
    for (symbol,), rows in history("stocks_1d_with_dividends_splits.parquet").group_by("symbol", maintain_order=True):
        put(f"{symbol} 1d", rows, "date", plain, DAY)
    put("GOOG 1d", history("stock_GOOG_1d.parquet"), "date", "Open High Low Close Volume", DAY)
    return found


def each(width: int | None = None) -> Iterator[tuple[str, Bars]]:
    """Yield the series, limited to one width when given."""
    for name, bars in candles().items():
        if width is None or int(bars.end[0] - bars.start[0]) == width:
            yield name, bars


def grouped(bars: Bars, width: int) -> pl.DataFrame:
    """Return longer candles computed by polars, the oracle of `roll_up`."""
    frame = pl.DataFrame({name: getattr(bars, name) for name in ("start", "open", "high", "low", "close", "volume")})
    return (
        frame.group_by((pl.col("start") // width * width).alias("start"))
        .agg(
            pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
            pl.col("volume").sum(),
        )
        .sort("start")
    )  # fmt: skip


def opens_at_the_close_before(bars: Bars) -> float:
    """Return the fraction of candles that open at the previous close, among directly consecutive candles."""
    follows = bars.start[1:] == bars.end[:-1]
    return float((bars.open[1:] == bars.close[:-1])[follows].mean())


def test_every_file_is_here_and_every_candle_is_possible() -> None:
    assert len(candles()) == SERIES
    files = {path.name for path in data_folder("market_history").glob("*.parquet")}
    assert len(files) == 12
    for name, bars in each():
        width = int(bars.end[0] - bars.start[0])
        assert (np.diff(bars.start) >= width).all(), name
        assert (bars.start % width == 0).all(), name
        assert (bars.low <= np.minimum(bars.open, bars.close)).all(), name
        assert (bars.high >= np.maximum(bars.open, bars.close)).all(), name


@pytest.mark.parametrize("width", [5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY])
def test_candles_of_every_file_roll_up_as_a_query_would(width: int) -> None:
    rolled = 0
    for name, bars in each():
        if int(bars.end[0] - bars.start[0]) >= width:
            continue
        found, expected = roll_up(bars, width), grouped(bars, width)
        for column in ("start", "open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(found, column), expected[column].to_numpy(), err_msg=name)
        np.testing.assert_allclose(found.volume, expected["volume"].to_numpy(), rtol=1e-12, err_msg=name)
        rolled += 1
    assert rolled == {5 * MINUTE: 5, 15 * MINUTE: 11, HOUR: 11, 4 * HOUR: 41, DAY: 41}[width]


def test_the_exchanges_own_minutes_roll_up_to_its_own_five_minutes() -> None:
    minutes, own = candles()["XRP/ETH 1m"], candles()["XRP/ETH 5m"]
    rolled = roll_up(minutes, 5 * MINUTE)
    made = time_bars(xrp_trades(), 5 * MINUTE)
    made = made.take(np.isin(made.start, own.start))
    for column in ("start", "open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(rolled, column), getattr(own, column))
        np.testing.assert_array_equal(getattr(made, column), getattr(own, column))


def test_some_venues_open_a_candle_at_the_close_before_and_not_at_its_first_trade() -> None:
    """Such an open is not a trade of the candle, and its high or low may equal it, so bars of trades differ there."""
    always = {"bybit", "kraken", "GBP/USD"}
    for name, bars in each():
        share, source = opens_at_the_close_before(bars), name.split(" ")[0]
        if source in always:
            assert share == 1.0, name
            assert ((bars.open == bars.high) | (bars.open == bars.low)).any(), name
        elif name == "perp 1m":
            assert 0.90 < share < 0.92
        elif source in ("AAPL", "MSFT", "GOOG"):
            assert share < 0.03, name
        else:
            assert 0.005 < share < 0.6, name


def test_an_interval_without_a_row_is_quiet_or_not_recorded_and_the_file_does_not_say_which() -> None:
    """No file has a row of zero volume, so rows are missing where nothing traded, as with our bars."""
    missing = {}
    for name, bars in each():
        assert not (bars.volume == 0).any(), name
        width = int(bars.end[0] - bars.start[0])
        missing[name] = int(((np.diff(bars.start) - width) // width).sum())
    assert missing["pair 1m"] == 717
    assert missing["perp 1m"] == missing["binance BTC 1h"] == missing["ETC/BTC 5m"] == 0
    assert missing["XRP/ETH 1m"] == 413
    quiet = candles()["XRP/ETH 1m"]
    begin, end = int(quiet.start[0]), int(quiet.end[-1])
    flat = on_grid(quiet, begin, end, MINUTE, Gaps.empty())
    assert len(flat) == len(quiet) + 413
    assert not np.isnan(flat.close).any()
    skipped = np.flatnonzero(np.diff(quiet.start) > MINUTE)
    unseen = on_grid(quiet, begin, end, MINUTE, Gaps(quiet.end[skipped], quiet.start[skipped + 1]))
    assert int(np.isnan(unseen.close).sum()) == 413


def test_candles_of_bid_and_ask_are_made_apart_and_cross() -> None:
    """They hold no trades: they lack volume, and the open of the bid exceeds that of the ask in 1 minute of 87."""
    bid, ask = candles()["GBP/USD bid 1m"], candles()["GBP/USD ask 1m"]
    np.testing.assert_array_equal(bid.start, ask.start)
    assert np.isnan(bid.volume).all()
    assert [int((getattr(bid, name) > getattr(ask, name)).sum()) for name in ("open", "high", "low", "close")] == [
        347, 523, 254, 347,
    ]  # fmt: skip


def test_candles_of_stocks_are_sessions_adjusted_for_splits() -> None:
    """They differ from UTC days: a session is part of a day, and prices before a split were divided afterwards."""
    rows = history("stocks_1d_with_dividends_splits.parquet")
    assert (rows["split"] != 1).sum() == 1
    day = rows.filter(pl.col("split") != 1)
    around = rows.filter(pl.col("symbol") == day["symbol"][0], (pl.col("date") <= day["date"][0])).tail(2)
    assert abs(around["close"][1] / around["close"][0] - 1) < 0.03  # seven for one, and no step
    for name in ("AAPL 1d", "GOOG 1d"):
        weekday = candles()[name].start // DAY % 7
        assert len(set(weekday.tolist())) == 5


def test_ticks_make_the_bars_that_a_query_makes_whatever_the_order_of_arrival() -> None:
    quotes = history("fx_usdjpy_ticks.parquet")
    reference = history("btcusd_reference_ticks.parquet").sort("recv_ms", maintain_order=True)
    ticks: list[tuple[Ints, Ints, Floats]] = [
        (at := instants(quotes["timestamp"]).dt.epoch("ns").to_numpy(), at, quotes["bid"].to_numpy()),
        (
            reference["feed_ts_ms"].to_numpy() * 1_000_000,
            reference["recv_ms"].to_numpy() * 1_000_000,
            reference["value"].to_numpy(),
        ),
    ]
    assert (np.diff(ticks[1][0]) < 0).any()
    for event, recv, price in ticks:
        order = np.argsort(event, kind="stable")
        number = np.empty(len(event), np.int64)
        number[order] = np.arange(len(event))
        trades = Trades(event, recv, number, price, np.ones(len(event)), np.zeros(len(event), np.int8))
        frame = pl.DataFrame({"at": event, "id": number, "price": price}).sort("at", "id")
        expected = (
            frame.group_by((pl.col("at") // MINUTE * MINUTE).alias("start"))
            .agg(
                pl.col("price").first().alias("open"), pl.col("price").max().alias("high"),
                pl.col("price").min().alias("low"), pl.col("price").last().alias("close"), pl.len().alias("n"),
            )
            .sort("start")
        )  # fmt: skip
        found = time_bars(trades, MINUTE)
        for column in ("start", "open", "high", "low", "close"):
            np.testing.assert_array_equal(getattr(found, column), expected[column].to_numpy())
        np.testing.assert_array_equal(found.trade_count, expected["n"].to_numpy())
