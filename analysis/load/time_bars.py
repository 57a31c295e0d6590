"""Compute time bars of a range from its trades."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Gaps, Trades
from analysis.bars import TIMEFRAMES, Bars, time_bars
from analysis.load import missing_ranges
from analysis.load.frames import named, table_of, trades_of
from analysis.load.hours.grades import Grade, masked
from analysis.load.rows import IN_GAP, SourceLike, instruments, open_source, ordered_rows, owners
from analysis.load.source import Instant, Instrument, Range, Reader, recorded_range, to_ns
from analysis.load.tables import TRADE, UTC_US
from recorder.errors import ConfigError

_NEEDED = ("ts_event", "ts_recv", "trade_id", "price", "size", "aggressor")
_TYPES = {"start": UTC_US, "end": UTC_US, "trade_count": pa.int64()}


def width(timeframe: str) -> int:
    """Return the width of a timeframe in ns.

    Raises:
        ConfigError: There is no such timeframe.
    """
    if timeframe not in TIMEFRAMES:
        raise ConfigError(f"there is no timeframe {timeframe!r}; use {', '.join(TIMEFRAMES)}")
    return TIMEFRAMES[timeframe]


def require_borders(timeframe: str, span: Range) -> None:
    """Refuse a range that cuts a bar.

    Raises:
        ConfigError: `start` or `end` lies inside a bar.
    """
    for name, at in (("start", span.start), ("end", span.end)):
        if to_ns(at) % TIMEFRAMES[timeframe]:
            raise ConfigError(f"{name} {at:%Y-%m-%d %H:%M:%S} cuts a bar of {timeframe}; choose a border between bars")


def bars(
    reader: Reader,
    whose: Sequence[Instrument],
    span: Range,
    width_ns: int,
    missing: pa.Table,
    *,
    progress: bool = False,
) -> dict[int, Bars]:
    """Return the bars of each instrument by instrument_id, holding at most one day of trades in memory.

    Args:
        reader: Open source.
        whose: Instruments.
        span: Range on the borders of bars.
        width_ns: Width of a bar.
        missing: Rows of GAP that reduce the coverage of bars.
        progress: Show a progress bar on a terminal.
    """
    gaps = {one.instrument_id: gaps_of(missing, one) for one in whose}
    parts: dict[int, list[Bars]] = {one.instrument_id: [] for one in whose}
    for table in ordered_rows(reader, TRADE, whose, span, _NEEDED, progress=progress):
        for number, trades in by_instrument(table, whose):
            parts[number].append(time_bars(trades, width_ns, gaps[number]))
    return {number: Bars.empty().then(*found) for number, found in parts.items()}


class RecordedBars(NamedTuple):
    """Bars of a range with the ranges in which trades may be missing."""

    bars: dict[str, Bars]  # by symbol
    gaps: dict[str, Gaps]  # by symbol, by the venue's clock; those of a low grade included
    masked: tuple[str, ...]  # the ranges that are gaps because of their grade, one line each


def graded_bars(
    venue: str,
    symbols: str | Sequence[str],
    start: Instant | None,
    end: Instant | None,
    timeframe: str,
    *,
    source: SourceLike = None,
    min_grade: Grade | None = None,
) -> RecordedBars:
    """Return the bars of a range and its gaps, for computations that mask by `analysis.gap_policy`.

    Arguments and errors are those of `load.bars`.
    """
    width_ns = width(timeframe)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        span = recorded_range(reader, whose, start, end, timedelta(microseconds=width_ns // 1000))
        require_borders(timeframe, span)
        missing = missing_ranges.find(reader, whose, "trade", span, min_grade)
        found = bars(reader, whose, span, width_ns, missing)
        return RecordedBars(
            {one.symbol: found[one.instrument_id] for one in whose},
            {one.symbol: gaps_of(missing, one) for one in whose},
            masked(reader, missing, whose, "trade", min_grade),
        )


def gaps_of(missing: pa.Table, one: Instrument) -> Gaps:
    """Return the missing ranges of one instrument by the clock of their channel."""
    return missing_ranges.spans_by_channel_clock(missing.filter(pc.equal(missing["instrument_id"], one.instrument_id)))


def by_instrument(table: pa.Table, whose: Sequence[Instrument]) -> Iterator[tuple[int, Trades]]:
    """Yield the trades of each instrument in a table, in their order."""
    trades = trades_of(table)
    if len(whose) == 1:
        yield whose[0].instrument_id, trades
        return
    owner = owners(table, whose)
    for one in whose:
        mine = trades.take(owner == one.instrument_id)
        if len(mine):
            yield one.instrument_id, mine


def table(found: dict[int, Bars], whose: Sequence[Instrument], *, mask: bool) -> pa.Table:
    """Return bars of several instruments as one table, by (start, symbol)."""
    names = [field.name for field in fields(Bars)]
    tables = []
    for one in whose:
        rows = found[one.instrument_id]
        columns = {
            "instrument_id": np.full(len(rows), one.instrument_id),
            **{name: getattr(rows, name) for name in names},
        }
        tables.append(table_of(columns, {"instrument_id": pa.int64(), **_TYPES}))
    together = pa.concat_tables(tables)
    if mask:
        together = together.append_column(IN_GAP, pc.less(together["coverage"], 1.0))
    order = np.argsort(together["start"].cast(pa.int64()).to_numpy(), kind="stable")  # instruments are sorted by symbol
    return named(together.take(pa.array(order)), whose, [*names, IN_GAP] if mask else names)
