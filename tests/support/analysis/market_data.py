"""Real and generated data for the tests of `analysis`."""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Depths, Floats, Gaps, Ints, Quotes, Trades
from analysis.features import ReceiptIndex, Tape

ROOT = Path(__file__).resolve().parents[3]
T0 = 1_700_006_400 * SECOND // DAY * DAY


def data_folder(name: str) -> Path:
    """Return a folder of sample data; skip the test when it is absent."""
    folder = Path(os.environ.get("TAPEDECK_DATA", ROOT.parent / "shared" / "data")) / name
    if not folder.is_dir():
        pytest.skip(f"sample data not here: {folder}; set TAPEDECK_DATA")
    return folder


def history(file: str) -> pl.DataFrame:
    """Read a file of `market_history`."""
    return pl.read_parquet(data_folder("market_history") / file)


def xrp_trades() -> Trades:
    """Return the real trades of a day of XRP/ETH."""
    rows = history("trades_XRP_ETH.parquet")
    ts = rows["timestamp"].to_numpy() * 1_000_000
    side = np.where(rows["side"].to_numpy() == "buy", 1, -1).astype(np.int8)
    ids = rows["id"].cast(pl.Int64).to_numpy()
    return Trades(ts, ts, ids, rows["price"].to_numpy(), rows["amount"].to_numpy(), side)


def random_trades(n: int, span_ns: int, seed: int = 0) -> Trades:
    """Return a random walk in order: prices of two decimals, sizes of three, some sides unknown."""
    rng = np.random.default_rng(seed)
    ts = T0 + np.sort(rng.integers(0, span_ns, n))
    price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-4, n))), 2)
    size = np.round(rng.exponential(1, n) + 0.001, 3)
    side = rng.choice(np.array([-1, 0, 1], np.int8), n, p=[0.45, 0.1, 0.45])
    return Trades(ts, ts + rng.exponential(50e6, n).astype(np.int64), np.arange(n), price, size, side)


Ohlcv = tuple[Floats, Floats, Floats, Floats, Floats]


@lru_cache(maxsize=1)
def all_candles() -> dict[str, Ohlcv]:
    """Return every candle series of `market_history`: open, high, low, close, volume (zeros without volume)."""
    series: dict[str, Ohlcv] = {}

    def put(name: str, rows: pl.DataFrame, columns: str = "open high low close volume") -> None:
        values = [rows[column].cast(pl.Float64).to_numpy().copy() for column in columns.split()]
        if len(values) == 4:
            values.append(np.zeros(len(rows)))
        series[name] = (values[0], values[1], values[2], values[3], values[4])

    for file in ("crypto_1m_ohlcv_one_pair", "btc_perp_1m", "ohlcv_XRP_ETH_1m", "ohlcv_XRP_ETH_5m"):
        put(file, history(f"{file}.parquet"))
    for (symbol,), rows in history("crypto_5m_ohlcv.parquet").group_by("symbol", maintain_order=True):
        put(f"5m {symbol}", rows)
    for (side,), rows in history("fx_gbpusd_1m_bid_ask.parquet").group_by("side", maintain_order=True):
        put(f"gbpusd {side}", rows, "open high low close")
    for (venue, coin), rows in history("perp_candles_multi.parquet").group_by(["venue", "coin"], maintain_order=True):
        put(f"{venue} {coin}", rows, "o h l c v")
    for (symbol,), rows in history("stocks_1d_with_dividends_splits.parquet").group_by("symbol", maintain_order=True):
        put(f"stock {symbol}", rows)
    put("GOOG", history("stock_GOOG_1d.parquet"), "Open High Low Close Volume")
    return series


def rounded(prices: Floats) -> Floats:
    """Round to three decimals."""
    return np.round(prices, 3).astype(np.float64)


def full_tape(days: int = 12, seed: int = 1) -> Tape:
    """Return a tape with every input: late trades, a gap, a second venue, ten levels; sparse enough to be fast."""
    rng = np.random.default_rng(seed)
    span = days * DAY
    ts = T0 + np.sort(rng.integers(0, span, 3000 * days))
    price = 100 * np.exp(np.cumsum(rng.normal(0, 2e-4, len(ts))))
    gap = Gaps(np.array([T0 + span - 7 * HOUR]), np.array([T0 + span - 7 * HOUR + 20 * MINUTE]))
    lag = rng.exponential(200e6, len(ts)).astype(np.int64)
    late = (rng.random(len(ts)) < 0.02) | ((ts >= gap.start[0]) & (ts < gap.end[0]))
    lag[late] += rng.integers(0, HOUR, int(late.sum()))
    side = rng.choice(np.array([-1, 1], np.int8), len(ts))
    noisy = np.round(price + 0.01 * side, 3)
    trades = Trades(ts, ts + lag, np.arange(len(ts)), noisy, np.round(rng.exponential(1, len(ts)) + 0.01, 3), side)

    def seen_mid(n: int) -> tuple[Ints, Floats]:
        at = T0 + np.sort(rng.integers(span - 9 * HOUR, span, n))
        seen = (at < gap.start[0]) | (at >= gap.end[0])
        at = at[seen]
        return at, np.interp(at, ts, price)

    def best(n: int, delay: int) -> Quotes:
        at, mid = seen_mid(n)
        half = rng.integers(1, 4, len(at)) * 0.005
        bid, ask = rounded(mid - half), rounded(mid + half)
        crossed = rng.random(len(at)) < 0.001
        bid[crossed] = ask[crossed]
        sizes = rng.exponential(1, (2, len(at))) + 0.1
        return Quotes(at, at + delay, bid, sizes[0], ask, sizes[1])

    own = best(20_000, 10_000_000)
    at, mid = seen_mid(12_000)
    step = np.arange(1, 11) * 0.01
    levels = rng.exponential(1, (2, len(at), 10)) + 0.01
    bids, asks = rounded(mid[:, None] - step), rounded(mid[:, None] + step)
    depths = Depths(at, at + 10_000_000, bids, levels[0], asks, levels[1])
    return Tape.of(
        trades,
        own,
        depths,
        gap,
        others=[ReceiptIndex(best(20_000, 80_000_000)), ReceiptIndex(best(15_000, 50_000_000))],
        leader=ReceiptIndex(best(20_000, 5_000_000)),
        level_weights=np.full(10, 0.1),
    )
