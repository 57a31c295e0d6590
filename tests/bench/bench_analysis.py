"""Speed of `analysis` against the libraries that it stands on, in one run: ratios of medians mean more than times.

At size 1 these are bars of 10 million trades, indicators of 1 million bars, and loading 5 million trades from Postgres
and from Parquet.
"""

import statistics
import time

import duckdb
import numpy as np
import polars as pl
import talib
from talib._ta_lib import MA_Type

from analysis.arrays import DAY, MINUTE, SECOND, Floats, Trades
from analysis.bars import time_bars
from analysis.indicators import IndicatorStream, Series, indicators
from bench.bench_load import bench_load
from bench.measure import Figure, medians

T0 = 1_700_006_400 * SECOND


def make_trades(n: int) -> Trades:
    """Return a week of random trades."""
    rng = np.random.default_rng(7)
    ts = T0 + np.sort(rng.integers(0, 7 * DAY, n))
    price = np.round(100 * np.exp(np.cumsum(rng.normal(0, 1e-5, n))), 2)
    side = rng.choice(np.array([-1, 1], np.int8), n)
    return Trades(ts, ts, np.arange(n), price, np.round(rng.exponential(1, n) + 0.001, 3), side)


def polars_ohlcv(table: pl.DataFrame) -> pl.DataFrame:
    """Compute only the five usual columns and the count, which are fewer than `time_bars` gives."""
    price, size = pl.col("price"), pl.col("size")
    return (
        table.group_by((pl.col("ts_event") // MINUTE * MINUTE).alias("start"))
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            size.sum().alias("volume"),
            pl.len().alias("trade_count"),
        )
        .sort("start")
    )


def polars_all(table: pl.DataFrame) -> pl.DataFrame:
    """Compute all columns that `time_bars` gives."""
    price, size, side = pl.col("price"), pl.col("size"), pl.col("side")
    return (
        table.group_by((pl.col("ts_event") // MINUTE * MINUTE).alias("start"))
        .agg(
            price.first().alias("open"),
            price.max().alias("high"),
            price.min().alias("low"),
            price.last().alias("close"),
            size.sum().alias("volume"),
            (price * size).sum().alias("notional"),
            pl.len().alias("trade_count"),
            size.filter(side > 0).sum().alias("buy_volume"),
            size.filter(side < 0).sum().alias("sell_volume"),
            (price * size * side).sum().alias("signed_notional"),
        )
        .sort("start")
    )


def duckdb_bars(table: pl.DataFrame) -> dict[str, Floats]:
    """Compute the same by SQL with compensated sums, to compare values and not speed."""
    with duckdb.connect() as connection:
        connection.register("trades", table.to_arrow())
        found = connection.execute(
            """SELECT ts_event // 60000000000 AS minute, arg_min(price, (ts_event, trade_id)) AS open,
                      max(price) AS high, min(price) AS low, arg_max(price, (ts_event, trade_id)) AS close,
                      fsum(size) AS volume, fsum(price * size) AS notional, count(*) AS trade_count,
                      fsum(CASE WHEN side > 0 THEN size ELSE 0 END) AS buy_volume,
                      fsum(CASE WHEN side < 0 THEN size ELSE 0 END) AS sell_volume
               FROM trades GROUP BY 1 ORDER BY 1"""
        ).fetchnumpy()
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def bench_bars(n: int, reps: int) -> list[Figure]:
    """Compare bars with polars for speed and with DuckDB for their values."""
    trades = make_trades(n)
    names = ("ts_event", "trade_id", "price", "size", "side")
    table = pl.DataFrame({name: getattr(trades, name) for name in names})
    ours, narrow, wide = medians(
        reps, lambda: time_bars(trades, MINUTE), lambda: polars_ohlcv(table), lambda: polars_all(table)
    )
    bars, oracle = time_bars(trades, MINUTE), duckdb_bars(table)
    columns = [name for name in oracle if name != "minute"]
    worst = max(float(np.max(np.abs(getattr(bars, name) / oracle[name] - 1))) for name in columns)
    return [
        Figure(f"bars of {n:,} trades, s", ours),
        Figure("speed against polars, all columns", wide / ours, at_least=0.8),
        Figure("speed against polars, OHLCV and count only", narrow / ours, at_least=0.8),
        Figure("largest relative difference from DuckDB", worst, at_most=1e-12),
    ]


def bench_indicators(n: int, reps: int) -> list[Figure]:
    """Compare all columns with TA-Lib's own calls, and measure one new bar."""
    rng = np.random.default_rng(8)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, n)))
    high, low = close + rng.exponential(0.05, n), close - rng.exponential(0.05, n)
    volume = rng.exponential(10, n)
    series = Series(high, low, close, volume, close * volume, np.arange(n) // 1440)

    def plain() -> list[object]:
        return [
            talib.RSI(close, 14),
            talib.MACD(close, 12, 26, 9),
            talib.BBANDS(close, 20, 2, 2, MA_Type.SMA),
            *(talib.SMA(close, period) for period in (20, 50, 100, 200)),
            *(talib.EMA(close, period) for period in (12, 26, 50)),
            talib.STOCH(high, low, close, 14, 3, MA_Type.SMA, 3, MA_Type.SMA),
            talib.ATR(high, low, close, 14),
            talib.ADX(high, low, close, 14),
            talib.PLUS_DI(high, low, close, 14),
            talib.MINUS_DI(high, low, close, 14),
            talib.SMA(volume, 20),
            talib.OBV(close, volume),
            talib.MFI(high, low, close, volume, 14),
        ]

    # Both sides use one thread, so CPU time equals wall time without what else the machine does.
    ours, theirs = medians(2 * reps, lambda: indicators(series), plain, clock=time.process_time)
    stream = IndicatorStream(from_trades=False)
    one: list[float] = []
    for i in range(3000):
        began = time.perf_counter()
        stream.add(high[i], low[i], close[i], volume[i], i // 1440)
        one.append(time.perf_counter() - began)
    latest = statistics.median(one[1000:]) * 1e3
    return [
        Figure(f"indicators of {n:,} bars, CPU s", ours),
        Figure("time against TA-Lib's own", ours / theirs, at_most=1.5),
        Figure("one new bar, ms", latest, at_most=1),
    ]


def measure(size: float, reps: int) -> list[Figure]:
    """Measure everything.

    Args:
        size: Factor on the numbers of rows; what is fixed weighs more where it is small.
        reps: Rounds.
    """
    figures = bench_bars(int(10_000_000 * size), reps)
    figures += bench_indicators(int(1_000_000 * size), reps)
    return figures + bench_load(int(5_000_000 * size), reps)
