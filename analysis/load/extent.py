"""Summarise what a source holds: its streams, rows over time, and missing ranges."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import SECOND, Ints
from analysis.load import missing_ranges
from analysis.load.frames import named, nanoseconds
from analysis.load.hours import grades
from analysis.load.rows import SourceLike, instruments, open_source, ordered_rows, owners
from analysis.load.source import EPOCH, US, Instrument, Range, Reader
from analysis.load.tables import LAYOUTS, UTC_US, Channel, Layout

_STREAMS = pa.schema(
    {
        "venue": pa.string(),
        "symbol": pa.string(),
        "channel": pa.string(),
        "rows": pa.int64(),
        "first": UTC_US,
        "last": UTC_US,
        "gaps": pa.int64(),
        "missing_s": pa.float64(),
    }
)
_GRADES = pa.schema({"venue": pa.string(), "symbol": pa.string(), "hour": UTC_US, "grade": pa.string()})
COUNTS = pa.schema({"start": UTC_US, "channel": pa.string(), "rows": pa.int64(), "missing_share": pa.float64()})


def streams(venue: str, start: datetime, end: datetime, *, source: SourceLike = None) -> pa.Table:
    """Return every channel of a venue's instruments that have a row or a declared gap in a range, by (symbol, channel).

    Returns:
        Columns venue, symbol, channel, rows, first and last (by the clock of the channel), gaps (missing ranges that
        touch the range, unrecorded time included) and missing_s (seconds of the range inside them).
    """
    span = Range(start, end)
    rows = []
    with open_source(source).reading() as reader:
        known = reader.instruments(venue)
        times = {layout.name: _times(reader, layout, known, span) for layout in LAYOUTS}
        declared = set(reader.gaps(known, span)["instrument_id"].to_pylist())
        alive = declared.union(*times.values())
        whose = [one for one in known if one.instrument_id in alive]
        absent = {layout.name: missing_ranges.find(reader, whose, layout.name, span) for layout in LAYOUTS}
    for one in whose:
        for layout in LAYOUTS:
            at = times[layout.name].get(one.instrument_id, np.zeros(0, np.int64))
            found = absent[layout.name]
            found = found.filter(pc.equal(found["instrument_id"], one.instrument_id))
            rows.append(
                {
                    "venue": venue,
                    "symbol": one.symbol,
                    "channel": layout.name,
                    "rows": len(at),
                    "first": int(at[0]) // 1000 if len(at) else None,
                    "last": int(at[-1]) // 1000 if len(at) else None,
                    "gaps": found.num_rows,
                    "missing_s": _missing_ns(found, span) / SECOND,
                }
            )
    return pa.Table.from_pylist(rows, _STREAMS)


def counts(
    venue: str, symbol: str, start: datetime, end: datetime, *, every: timedelta, source: SourceLike = None
) -> pa.Table:
    """Return the rows of each channel of an instrument per step of a grid, by (start, channel).

    Returns:
        Columns start, channel, rows, and missing_share: the fraction of the step in which rows may be missing.
    """
    span = Range(start, end)
    step = every // timedelta(microseconds=1) * 1000
    edges = np.arange(span.start_ns, span.end_ns + step, step, dtype=np.int64)
    tables = []
    with open_source(source).reading() as reader:
        one = instruments(reader, venue, symbol)[0]
        for layout in LAYOUTS:
            at = _times(reader, layout, [one], span).get(one.instrument_id, np.zeros(0, np.int64))
            total, _ = np.histogram(at, edges)
            gaps = missing_ranges.spans_by_channel_clock(missing_ranges.find(reader, [one], layout.name, span))
            columns = [
                pa.array(edges[:-1] // 1000, UTC_US),
                pa.array([layout.name] * len(total)),
                pa.array(total),
                pa.array(gaps.share(edges[:-1], edges[1:])),
            ]
            tables.append(pa.table(columns, schema=COUNTS))
    return pa.concat_tables(tables).sort_by([("start", "ascending"), ("channel", "ascending")])


def missing(venue: str, symbol: str, start: datetime, end: datetime, *, source: SourceLike = None) -> pa.Table:
    """Return the rows of `analysis.load.gaps` for all channels together."""
    span = Range(start, end)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbol)
        found = pa.concat_tables([missing_ranges.find(reader, whose, layout.name, span) for layout in LAYOUTS])
        return named(found, whose, [name for name in found.schema.names if name != "instrument_id"])


def grades_by_hour(
    venue: str,
    symbols: str | Sequence[str],
    start: datetime,
    end: datetime,
    *,
    channel: Channel = "trade",
    source: SourceLike = None,
) -> pa.Table:
    """Return the grade of each hour of some instruments, by (symbol, hour), for `plots.tape.completeness`.

    Returns:
        Columns venue, symbol, hour (its start) and grade: the highest revision of its certificate; null where there is
        none, as for all hours of a source that is not graded.
    """
    span = Range(start, end)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbols)
        found = reader.certificates(whose, channel, span)
    known = {} if found is None else {(row["instrument_id"], row["hour"]): row["grade"] for row in found.to_pylist()}
    rows = [
        {"venue": one.venue, "symbol": one.symbol, "hour": at, "grade": known.get((one.instrument_id, at))}
        for one in whose
        for at in grades.hours(span)
    ]
    return pa.Table.from_pylist(rows, _GRADES)


@dataclass(frozen=True, slots=True)
class Busiest:
    """The instrument with the most recent rows."""

    instrument: Instrument
    rows: int  # recent rows of the scarcest of the requested channels
    last: datetime  # time of the latest of the rows


def busiest(
    reader: Reader, channels: frozenset[str], recent: timedelta, one: tuple[str, str] | None = None
) -> Busiest | None:
    """Return the instrument with the most rows in the scarcest of some channels, shortly before its recording ends.

    Args:
        reader: Open source.
        channels: Channels of which each must have a row.
        recent: Length of the range before the end of the recording.
        one: (venue, symbol) of the only instrument to consider.

    Returns:
        None when no instrument has rows of all channels.
    """
    best: Busiest | None = None
    for venue in reader.venues():
        until = reader.recorded_until(venue)
        if until is None or (one is not None and venue != one[0]):
            continue
        span = Range(until - recent, until + US)
        whose = reader.instruments(venue, None if one is None else [one[1]])
        times = [_times(reader, layout, whose, span) for layout in LAYOUTS if layout.name in channels]
        for instrument in whose:
            mine = [found[instrument.instrument_id] for found in times if instrument.instrument_id in found]
            rows = min(map(len, mine), default=0)
            if len(mine) == len(times) and (best is None or rows > best.rows):
                best = Busiest(instrument, rows, _instant(max(int(found[-1]) for found in mine)))
    return best


def _times(reader: Reader, layout: Layout, whose: Sequence[Instrument], span: Range) -> dict[int, Ints]:
    """Return instrument_id -> (n,) instants of its rows by their table's clock, ns, ascending, without empty ones."""
    tables = list(ordered_rows(reader, layout, whose, span, [layout.clock])) if whose else []
    if not tables:
        return {}
    owner = np.concatenate([owners(table, whose) for table in tables])
    at = np.concatenate([nanoseconds(table[layout.clock]) for table in tables])
    order = np.argsort(owner, kind="stable")
    names, first = np.unique(owner[order], return_index=True)
    return dict(zip(names.tolist(), np.split(at[order], first[1:]), strict=True))


def _instant(ns: int) -> datetime:
    return EPOCH + timedelta(microseconds=ns // 1000)


def _missing_ns(gaps: pa.Table, span: Range) -> int:
    edges = np.array([span.start_ns]), np.array([span.end_ns])
    return int(missing_ranges.spans_by_channel_clock(gaps).missing(*edges)[0])
