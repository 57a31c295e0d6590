"""Direction of a price from candles: bar features, labels after an execution delay, and the base rate to beat."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

from analysis.arrays import DAY, MINUTE, Gaps
from analysis.bars import Bars, on_grid
from analysis.datasets.files import floats, found, instants
from analysis.datasets.frame import BASE_RATE, Dataset, file_hash, texts
from analysis.definition import definitions
from analysis.features import BARS, DELAY_NS, BarView
from analysis.labels import Path as Prices
from analysis.labels import direction
from analysis.load import time_bars
from analysis.load.hours import grades
from analysis.load.hours.grades import Grade
from analysis.load.rows import SourceLike
from analysis.load.source import Instant
from recorder.errors import ConfigError

_NEEDS_TRADES = {
    "close_vs_vwap_day",
    "vol_z_tod",
    "trade_count_z",
    "avg_trade_size_ratio",
    "tfi_1",
    "tfi_5",
    "tfi_15",
    "amihud_60",
    "kyle_lambda_60",
    "impact_r2_60",
}
_OHLCV = ("open", "high", "low", "close", "volume")
FEATURES = tuple(feature.name for feature in BARS if feature.name not in _NEEDS_TRADES)
"""Bar features that need only open, high, low, close and volume."""


def candles(path: Path, symbol: str = "symbol", begin: str = "date") -> Mapping[str, Bars]:
    """Read a file of candles: symbol -> bars, oldest first.

    Args:
        path: Parquet with open, high, low, close, volume.
        symbol: Column with the name of the series; without such a column the file is one series with its own name.
        begin: Column of the open time, with a time zone.

    Raises:
        ConfigError: A column is missing, the times have no zone, or a series has two candles with one open time.
    """
    rows = pl.read_parquet(path)
    missing = [name for name in (begin, *_OHLCV) if name not in rows.columns]
    if missing:
        raise ConfigError(f"{path} has no column {', '.join(missing)}; candles need {begin}, {', '.join(_OHLCV)}")
    if symbol not in rows.columns:
        rows = rows.with_columns(pl.lit(path.stem).alias(symbol))
    return {
        str(name): _bars(f"{path}: {name}", part)
        for (name,), part in rows.rename({begin: "date"}).sort("date").group_by(symbol, maintain_order=True)
    }


def dataset(
    name: str,
    series: Mapping[str, Bars],
    sources: Mapping[str, str],
    *,
    horizon_bars: int,
    every_bars: int = 1,
    delay_bars: int = 1,
    gaps: Mapping[str, Gaps] | None = None,
    masked: Sequence[str] = (),
) -> Dataset:
    """Return the rows of all series at regular decision times.

    A row is decided a watermark delay after the end of a bar; the label begins `delay_bars` later. Missing bars of a
    series are gaps, and nothing is carried across them. The rows of one UTC day are one event for all symbols, because
    series of one day move together.

    Args:
        name: Name of the set.
        series: Symbol -> bars of one width.
        sources: File -> SHA-256 of the data.
        horizon_bars: Bars for which a position is held.
        every_bars: Bars between two decisions.
        delay_bars: Bars from decision to execution.
        gaps: Symbol -> spans in which trades may be missing; without it, each span without a bar is a gap.
        masked: Ranges that are gaps because of their grade, for reports.
    """
    parts = [
        _rows(symbol, bars, None if gaps is None else gaps[symbol], horizon_bars, every_bars, delay_bars)
        for symbol, bars in series.items()
    ]

    def joined(column: str) -> Any:
        return np.concatenate([part[column] for part in parts])

    start = joined("start")
    return Dataset(
        name=name,
        baseline=BASE_RATE,
        features={feature: joined(feature) for feature in FEATURES},
        definitions=definitions(BARS[feature] for feature in FEATURES),
        sources=sources,
        label=joined("label"),
        market=np.full(len(start), 0.5),  # replaced by the base rates of the training rows
        start=start,
        end=joined("end"),
        event=np.datetime_as_string((start // DAY).astype("datetime64[D]")),
        subject=joined("subject"),
        horizon=texts(len(start), f"{horizon_bars} bars"),
        tier=joined("subject"),
        category=texts(len(start), "direction"),
        weight=np.ones(len(start)),
        masked=tuple(masked),
    )


def recorded(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None = None,
    end: Instant | None = None,
    *,
    timeframe: str = "5m",
    source: SourceLike = None,
    min_grade: Grade | Literal["default"] | None = "default",
    horizon_bars: int = 12,
    every_bars: int = 3,
) -> Dataset:
    """Return rows of recorded trades: up or down over the next bars, decided every few bars.

    Gaps mask bars by the rule of `analysis.gap_policy`, and so do the hours whose certificate has a lower grade than
    `min_grade`: no feature and no label reaches over them. `masked` of the result lists these hours.

    Args:
        venue: Name of the venue.
        symbols: One symbol or several.
        start: First instant, on a border between two bars; without it, the first bar that was recorded completely.
        end: First instant after the range, on a border; without it, the end of the last complete bar.
        timeframe: Width of a bar: 1m, 5m, 15m, 1h, 4h or 1d.
        source: As for `load.trades`.
        min_grade: Least grade of an hour; "default" is `grades.for_training`: consistent where the venue has trade ids
            or candles, else claimed. None uses hours of any grade.
        horizon_bars: Bars for which a position is held.
        every_bars: Bars between two decisions.

    Raises:
        ConfigError: Nothing was recorded, or there is no complete bar with a trade.
    """
    least = grades.for_training(venue) if min_grade == "default" else min_grade
    tape = time_bars.graded_bars(venue, symbols, start, end, timeframe, source=source, min_grade=least)
    series = {symbol: bars for symbol, bars in tape.bars.items() if len(bars)}
    if not series:
        raise ConfigError(f"{venue} has no trade of these symbols in this range; choose another one")
    digest = hashlib.sha256()
    for bars in series.values():
        digest.update(
            b"".join(np.ascontiguousarray(column).tobytes() for column in (bars.start, bars.close, bars.volume))
        )
    return dataset(
        f"{venue}_{timeframe}",
        series,
        {"bars of the recording": digest.hexdigest()},
        horizon_bars=horizon_bars,
        every_bars=every_bars,
        gaps=tape.gaps,
        masked=tape.masked,
    )


def load(folder: Path) -> Dataset:
    """Load five crypto pairs in five-minute candles: up or down over the next hour, decided every 15 minutes.

    Raises:
        DataMissing: The file is missing.
    """
    path = found(folder, "crypto_5m_ohlcv.parquet")
    return dataset("crypto_5m", candles(path), {path.name: file_hash(path)}, horizon_bars=12, every_bars=3)


def _rows(symbol: str, bars: Bars, known_gaps: Gaps | None, horizon: int, every: int, delay: int) -> dict[str, Any]:
    """Return the columns of one series; rows without a label are left out."""
    width = int(bars.end[0] - bars.start[0])
    gaps = _missing(bars, width) if known_gaps is None else known_gaps
    grid = on_grid(bars, int(bars.start[0]), int(bars.end[-1]), width, gaps)
    at = np.arange(every - 1, len(grid), every)
    times = grid.end[at] + DELAY_NS
    prices = Prices(bars.end, bars.close, int(bars.end[-1]) + DELAY_NS, gaps)
    labels = direction(prices, times, horizon * width, delay * width)
    known = labels.known() & ~np.isnan(grid.close[at])
    view = BarView(grid, at[known])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = {name: BARS[name].compute(view) for name in FEATURES}
    answered = labels.take(known)
    return {
        **values,
        "label": answered.value,
        "start": answered.start,
        "end": answered.end,
        "subject": texts(len(answered), symbol),
    }


def _missing(bars: Bars, width: int) -> Gaps:
    """Return the spans without a bar, in which either nothing traded or nothing was recorded."""
    before = np.flatnonzero(np.diff(bars.start) > width)
    return Gaps(bars.end[before], bars.start[before + 1])


def _bars(name: str, rows: pl.DataFrame) -> Bars:
    start = instants(rows, "date")
    repeated = int((np.diff(start) == 0).sum())
    if repeated:
        raise ConfigError(
            f"{name} has {repeated} candles with the open time of another; keep one of them, or name series of several "
            "venues apart in the symbol"
        )
    width = int(np.diff(start).min()) if len(start) > 1 else MINUTE
    unknown = np.full(len(start), np.nan)
    return Bars(
        start=start,
        end=start + width,
        open=floats(rows, "open"),
        high=floats(rows, "high"),
        low=floats(rows, "low"),
        close=floats(rows, "close"),
        volume=floats(rows, "volume"),
        notional=unknown,
        vwap=unknown,
        trade_count=np.zeros(len(start), np.int64),
        buy_volume=unknown,
        sell_volume=unknown,
        signed_notional=unknown,
        coverage=np.ones(len(start)),
    )
