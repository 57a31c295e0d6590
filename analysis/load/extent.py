"""What a tape holds: its streams, and of a range how many rows stand when and what is missing there."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Ints
from analysis.load import holes
from analysis.load.frames import named, nanoseconds
from analysis.load.rows import Where, instruments, open_source, ordered_rows, owners
from analysis.load.source import Instrument, Range, Reader
from analysis.load.tables import LAYOUTS, UTC_US, Layout

NS_A_SECOND = 1_000_000_000

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
COUNTS = pa.schema({"start": UTC_US, "channel": pa.string(), "rows": pa.int64(), "missing_share": pa.float64()})


def streams(source: Where, venue: str, start: datetime, end: datetime) -> pa.Table:
    """Every channel of the instruments of a venue that have a row or a declared gap in a range, by (symbol, channel).

    Returns:
        Columns venue, symbol, channel, rows, first and last (by the clock of the channel), gaps (holes that touch the
        range, unrecorded time among them) and missing_s (seconds of the range inside them).
    """
    span = Range(start, end)
    rows = []
    with open_source(source).reading() as reader:
        known = reader.instruments(venue)
        times = {layout.name: _times(reader, layout, known, span) for layout in LAYOUTS}
        declared = set(reader.gaps(known, span)["instrument_id"].to_pylist())
        alive = declared.union(*times.values())
        whose = [one for one in known if one.instrument_id in alive]
        missing_ = {layout.name: holes.missing(reader, whose, layout.name, span) for layout in LAYOUTS}
    for one in whose:
        for layout in LAYOUTS:
            at = times[layout.name].get(one.instrument_id, np.zeros(0, np.int64))
            found = missing_[layout.name]
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
                    "missing_s": _missing_ns(found, span) / NS_A_SECOND,
                }
            )
    return pa.Table.from_pylist(rows, _STREAMS)


def counts(source: Where, venue: str, symbol: str, start: datetime, end: datetime, every: timedelta) -> pa.Table:
    """Rows of each channel of an instrument per step of a grid, by (start, channel).

    Returns:
        Columns start, channel, rows, and missing_share: the share of the step, 0 to 1, in which something may be
        missing.
    """
    span = Range(start, end)
    begin, step = holes.nanoseconds(start), every // timedelta(microseconds=1) * 1000
    edges = np.arange(begin, holes.nanoseconds(end) + step, step, dtype=np.int64)
    tables = []
    with open_source(source).reading() as reader:
        one = instruments(reader, venue, symbol)[0]
        for layout in LAYOUTS:
            at = _times(reader, layout, [one], span).get(one.instrument_id, np.zeros(0, np.int64))
            total, _ = np.histogram(at, edges)
            gaps = holes.holes(holes.missing(reader, [one], layout.name, span))
            columns = [
                pa.array(edges[:-1] // 1000, UTC_US),
                pa.array([layout.name] * len(total)),
                pa.array(total),
                pa.array(gaps.share(edges[:-1], edges[1:])),
            ]
            tables.append(pa.table(columns, schema=COUNTS))
    return pa.concat_tables(tables).sort_by([("start", "ascending"), ("channel", "ascending")])


def missing(source: Where, venue: str, symbol: str, start: datetime, end: datetime) -> pa.Table:
    """The rows of `analysis.load.gaps` of every channel together."""
    span = Range(start, end)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbol)
        found = pa.concat_tables([holes.missing(reader, whose, layout.name, span) for layout in LAYOUTS])
        return named(found, whose, [name for name in found.schema.names if name != "instrument_id"])


def busiest(
    reader: Reader, channels: frozenset[str], lately: timedelta, one: tuple[str, str] | None = None
) -> tuple[Instrument, datetime] | None:
    """The instrument with the most rows shortly before its venue's recording ends, of those with all of the channels.

    Args:
        reader: Of a tape.
        channels: Each must have a row.
        lately: How long before the end is looked at.
        one: (venue, symbol): no other is looked at.

    Returns:
        It, and the time of the last of these rows; None where there is none.
    """
    best: tuple[int, Instrument, int] | None = None
    for venue in reader.venues():
        until = reader.recorded_until(venue)
        if until is None or (one is not None and venue != one[0]):
            continue
        span = Range(until - lately, until + timedelta(microseconds=1))
        whose = reader.instruments(venue, None if one is None else [one[1]])
        times = [_times(reader, layout, whose, span) for layout in LAYOUTS if layout.name in channels]
        for instrument in whose:
            mine = [found[instrument.instrument_id] for found in times if instrument.instrument_id in found]
            rows = sum(map(len, mine))
            if len(mine) == len(times) and (best is None or rows > best[0]):
                best = rows, instrument, max(int(found[-1]) for found in mine)
    return (best[1], _instant(best[2])) if best is not None else None


def _times(reader: Reader, layout: Layout, whose: Sequence[Instrument], span: Range) -> dict[int, Ints]:
    """instrument_id -> instants of its rows in a range by the clock of their table, ns, ascending; those with rows."""
    tables = list(ordered_rows(reader, layout, whose, span, [layout.clock])) if whose else []
    if not tables:
        return {}
    owner = np.concatenate([owners(table, whose) for table in tables])
    at = np.concatenate([nanoseconds(table[layout.clock]) for table in tables])
    order = np.argsort(owner, kind="stable")
    names, first = np.unique(owner[order], return_index=True)
    return dict(zip(names.tolist(), np.split(at[order], first[1:]), strict=True))


def _instant(ns: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


def _missing_ns(gaps: pa.Table, span: Range) -> int:
    edges = np.array([holes.nanoseconds(span.start)]), np.array([holes.nanoseconds(span.end)])
    return int(holes.holes(gaps).missing(*edges)[0])
