"""Bars from trades, compared with the exchange's own candles, with DuckDB, and between batch and stream."""

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.bars import few, same
from support.analysis.market_data import T0, history, random_trades, xrp_trades

from analysis.arrays import DAY, FOREVER, HOUR, MINUTE, SECOND, Gaps, Trades
from analysis.bars import TIMEFRAMES, Bars, BarStream, on_grid, roll_up, time_bars

MEASURED = ("open", "high", "low", "close", "volume", "notional", "vwap", "trade_count", "buy_volume", "sell_volume")


@pytest.mark.parametrize("frame", ["1m", "5m"])
def test_bars_of_real_trades_equal_the_exchanges_own_candles(frame: str) -> None:
    candles = history(f"ohlcv_XRP_ETH_{frame}.parquet")
    bars = time_bars(xrp_trades(), TIMEFRAMES[frame])
    rows = np.isin(bars.start, candles["date"].dt.epoch("ns").to_numpy())
    assert len(candles) == int(rows.sum())
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(bars, name)[rows], candles[name].to_numpy())
    rolled = roll_up(time_bars(xrp_trades(), MINUTE), TIMEFRAMES[frame])
    for name in ("open", "high", "low", "close", "volume", "trade_count"):
        np.testing.assert_array_equal(getattr(rolled, name), getattr(bars, name))


def test_bars_of_a_million_trades_equal_duckdb() -> None:
    trades = random_trades(1_000_000, 3 * DAY)
    table = pl.DataFrame({name: getattr(trades, name) for name in ("ts_event", "trade_id", "price", "size", "side")})
    with duckdb.connect() as connection:
        connection.execute("SET threads = 1")
        connection.register("trades", table.to_arrow())
        oracle = connection.execute(
            """SELECT ts_event // 60000000000 * 60000000000 AS start,
                      arg_min(price, (ts_event, trade_id)) AS open, max(price) AS high, min(price) AS low,
                      arg_max(price, (ts_event, trade_id)) AS close, fsum(size) AS volume,
                      fsum(price * size) AS notional, fsum(price * size) / fsum(size) AS vwap, count(*) AS trade_count,
                      fsum(CASE WHEN side > 0 THEN size ELSE 0 END) AS buy_volume,
                      fsum(CASE WHEN side < 0 THEN size ELSE 0 END) AS sell_volume
               FROM trades GROUP BY 1 ORDER BY 1"""
        ).fetchnumpy()
    bars = time_bars(trades, MINUTE)
    np.testing.assert_array_equal(bars.start, oracle["start"])
    for name in MEASURED:
        np.testing.assert_allclose(getattr(bars, name), oracle[name], rtol=1e-12, atol=0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_streamed_bars_equal_the_batch_to_the_bit_whatever_the_order_of_arrival(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 300))
    trades = random_trades(n, data.draw(st.sampled_from([2 * MINUTE, HOUR])), data.draw(st.integers(0, 1000)))
    order = np.random.default_rng(data.draw(st.integers(0, 1000))).permutation(n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=6)))
    stream = BarStream(MINUTE)
    latest: dict[int, Bars] = {}
    for begin, end in zip([0, *cuts], [*cuts, n], strict=True):
        touched = stream.add(trades.take(order[begin:end]))
        latest.update({int(start): touched.take(slice(i, i + 1)) for i, start in enumerate(touched.start)})
    bars = [latest[start] for start in sorted(latest)]
    assert same(bars[0].then(*bars[1:]), time_bars(trades, MINUTE))


def test_a_late_trade_changes_exactly_the_bar_it_touches() -> None:
    trades = random_trades(20_000, 2 * HOUR)
    late = 7_777
    without = np.arange(len(trades)) != late
    stream = BarStream(MINUTE)
    before = stream.add(trades.take(without))
    changed = stream.add(trades.take(slice(late, late + 1)))
    assert changed.start.tolist() == [int(trades.ts_event[late]) // MINUTE * MINUTE]
    whole = time_bars(trades, MINUTE)
    row = np.flatnonzero(whole.start == changed.start[0])
    assert same(whole.take(row), changed)
    others = whole.start != changed.start[0]
    assert same(whole.take(others), before.take(others))


def test_a_trade_that_comes_twice_counts_once() -> None:
    trades = random_trades(500, HOUR)
    stream = BarStream(MINUTE)
    stream.add(trades)
    again = stream.add(trades.take(slice(100, 200)))
    whole = time_bars(trades, MINUTE)
    assert same(again, whole.take(np.isin(whole.start, again.start)))


def test_a_trade_older_than_the_streams_memory_names_its_bar_for_the_store() -> None:
    trades = random_trades(500, HOUR)
    stream = BarStream(MINUTE)
    stream.add(trades.take(trades.ts_event >= T0 + 30 * MINUTE))
    stream.drop_before(T0 + 30 * MINUTE)
    touched = stream.add(trades.take(slice(0, 1)))
    assert len(touched) == 0
    assert stream.dirty == {int(trades.ts_event[0]) // MINUTE * MINUTE}


def test_longer_bars_are_rolled_up_from_minutes() -> None:
    trades = random_trades(50_000, 3 * DAY)
    minutes = time_bars(trades, MINUTE)
    for width in TIMEFRAMES.values():
        rolled, direct = roll_up(minutes, width), time_bars(trades, width)
        for name in ("start", "end", "open", "high", "low", "close", "trade_count"):
            np.testing.assert_array_equal(getattr(rolled, name), getattr(direct, name))
        for name in ("volume", "notional", "vwap", "buy_volume", "sell_volume", "signed_notional"):
            np.testing.assert_allclose(getattr(rolled, name), getattr(direct, name), rtol=1e-12, atol=1e-9)


def test_bars_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="do not add up"):
        roll_up(time_bars(random_trades(100, HOUR), 7 * MINUTE), 15 * MINUTE)


def test_a_trade_at_the_border_belongs_to_the_bar_that_begins_there() -> None:
    bars = time_bars(few([(59_999, 1, 1, 1), (60_000, 2, 1, 1)]), MINUTE)
    assert bars.close.tolist() == [1, 2]
    assert bars.start.tolist() == [T0, T0 + MINUTE]


def test_trades_of_one_instant_count_by_their_id() -> None:
    bars = time_bars(few([(0, 1, 1, 1), (0, 2, 1, 1), (0, 3, 1, 1)]).take(np.array([2, 0, 1])), MINUTE)
    assert (bars.open[0], bars.close[0]) == (1, 3)


def test_volume_without_a_known_side_is_neither_bought_nor_sold() -> None:
    bars = time_bars(few([(0, 10, 1, 1), (1, 20, 2, -1), (2, 30, 4, 0)]), MINUTE)
    assert (bars.volume[0], bars.buy_volume[0], bars.sell_volume[0]) == (7, 1, 2)
    assert (bars.notional[0], bars.signed_notional[0]) == (170, -30)
    assert bars.vwap[0] == 170 / 7


def test_no_trades_make_no_bars() -> None:
    assert len(time_bars(Trades.empty(), MINUTE)) == 0
    assert len(roll_up(Bars.empty(), HOUR)) == 0
    assert len(BarStream(MINUTE).add(Trades.empty())) == 0


def test_coverage_is_the_share_of_the_bar_that_was_recorded() -> None:
    gaps = Gaps(
        np.array([T0 + 30 * SECOND, T0 + 45 * SECOND, T0 + 170 * SECOND]),
        np.array([T0 + 50 * SECOND, T0 + 60 * SECOND, FOREVER]),
    )
    bars = time_bars(few([(1, 1, 1, 1), (61_000, 1, 1, 1), (121_000, 1, 1, 1), (181_000, 1, 1, 1)]), MINUTE, gaps)
    np.testing.assert_allclose(bars.coverage, [0.5, 1, 50 / 60, 0])
    assert np.isnan(time_bars(few([(1, 1, 1, 1)]), MINUTE).coverage).all()


def test_a_quiet_minute_is_flat_and_a_minute_we_did_not_see_is_null() -> None:
    gaps = Gaps(np.array([T0 + 150 * SECOND]), np.array([T0 + 200 * SECOND]))
    bars = time_bars(few([(1_000, 5, 1, 1), (2_000, 7, 1, 1), (301_000, 9, 1, 1)]), MINUTE, gaps)
    grid = on_grid(bars, T0, T0 + 6 * MINUTE, MINUTE, gaps)
    np.testing.assert_array_equal(grid.close, [7, 7, np.nan, np.nan, np.nan, 9])
    np.testing.assert_array_equal(grid.open, [5, 7, np.nan, np.nan, np.nan, 9])
    np.testing.assert_array_equal(grid.volume, [2, 0, np.nan, np.nan, 0, 1])
    bare = on_grid(bars, T0, T0 + 6 * MINUTE, MINUTE, gaps, fill="none")
    np.testing.assert_array_equal(bare.close, [7, np.nan, np.nan, np.nan, np.nan, 9])


def test_a_row_of_the_grid_that_a_gap_touches_is_null_whatever_was_traded_in_it() -> None:
    gaps = Gaps(np.array([T0 + 70 * SECOND]), np.array([T0 + 80 * SECOND]))
    bars = time_bars(few([(1_000, 5, 1, 1), (61_000, 7, 1, 1), (122_000, 9, 1, 1)]), MINUTE, gaps)
    grid = on_grid(bars, T0, T0 + 4 * MINUTE, MINUTE, gaps)
    for name in (*MEASURED, "signed_notional"):
        assert np.isnan(getattr(grid, name)).tolist() == [False, True, False, name == "vwap"], name
    np.testing.assert_array_equal(grid.trade_count, [1, np.nan, 1, 0])
    np.testing.assert_array_equal(grid.close, [5, np.nan, 9, 9])
    assert (bars.volume[1], bars.coverage[1]) == (1, pytest.approx(50 / 60))  # the bar itself has what was recorded


@pytest.mark.parametrize(("start", "end"), [(30 * SECOND, 3 * MINUTE), (0, 150 * SECOND)])
def test_a_grid_that_cuts_a_bar_is_refused_and_no_trade_becomes_a_zero(start: int, end: int) -> None:
    bars = time_bars(few([(10, 1, 1, 1), (60_001, 2, 1, 1), (120_001, 3, 1, 1)]), MINUTE, Gaps.empty())
    with pytest.raises(ValueError, match="lies inside a bar"):
        on_grid(bars, T0 + start, T0 + end, MINUTE, Gaps.empty())


@pytest.mark.parametrize("width", [MINUTE // 2, 5 * MINUTE])
def test_bars_of_another_width_are_refused_by_a_grid_and_none_overwrites_another(width: int) -> None:
    bars = time_bars(few([(10, 1, 1, 1), (60_001, 2, 1, 1), (120_001, 3, 1, 1)]), MINUTE, Gaps.empty())
    with pytest.raises(ValueError, match="use roll_up"):
        on_grid(bars, T0, T0 + 5 * MINUTE, width, Gaps.empty())
    with pytest.raises(ValueError, match="use roll_up"):
        on_grid(bars.then(bars), T0, T0 + 5 * MINUTE, MINUTE, Gaps.empty())
    wide = on_grid(roll_up(bars, 5 * MINUTE, Gaps.empty()), T0, T0 + 5 * MINUTE, 5 * MINUTE, Gaps.empty())
    assert (wide.volume.tolist(), wide.close.tolist()) == ([3], [3])
