"""What a tape holds: its streams, and of a range how many rows stand when and what is missing there."""

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from analysis.load import holes
from analysis.load.frames import named, nanoseconds
from analysis.load.rows import Where, instruments, open_source, ordered_rows
from analysis.load.source import Instrument, Range, Reader
from analysis.load.tables import LAYOUTS, UTC_US

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
_COUNTS = pa.schema({"start": UTC_US, "channel": pa.string(), "rows": pa.int64(), "missing_share": pa.float64()})


def streams(source: Where, venue: str, start: datetime, end: datetime) -> pa.Table:
    """Every channel of every instrument of a venue in a range, by (symbol, channel).

    Returns:
        Columns venue, symbol, channel, rows, first and last (by the clock of the channel), gaps (holes that touch the
        range, unrecorded time among them) and missing_s (seconds of the range inside them).
    """
    span = Range(start, end)
    rows = []
    with open_source(source).reading() as reader:
        for one in reader.instruments(venue):
            for layout in LAYOUTS:
                parts = [
                    nanoseconds(table[layout.clock])
                    for table in ordered_rows(reader, layout, [one], span, [layout.clock])
                ]
                at = np.concatenate([np.zeros(0, np.int64), *parts])
                found = holes.missing(reader, [one], layout.name, span)
                rows.append(
                    {
                        "venue": venue,
                        "symbol": one.symbol,
                        "channel": layout.name,
                        "rows": len(at),
                        "first": None if not len(at) else int(at[0]) // 1000,
                        "last": None if not len(at) else int(at[-1]) // 1000,
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
            total = np.zeros(len(edges) - 1, np.int64)
            for table in ordered_rows(reader, layout, [one], span, [layout.clock]):
                total += np.histogram(nanoseconds(table[layout.clock]), edges)[0]
            gaps = holes.holes(holes.missing(reader, [one], layout.name, span))
            columns = [
                pa.array(edges[:-1] // 1000, UTC_US),
                pa.array([layout.name] * len(total)),
                pa.array(total),
                pa.array(gaps.share(edges[:-1], edges[1:])),
            ]
            tables.append(pa.table(columns, schema=_COUNTS))
    return pa.concat_tables(tables).sort_by([("start", "ascending"), ("channel", "ascending")])


def missing(source: Where, venue: str, symbol: str, start: datetime, end: datetime) -> pa.Table:
    """The rows of `analysis.load.gaps` of every channel together."""
    span = Range(start, end)
    with open_source(source).reading() as reader:
        whose = instruments(reader, venue, symbol)
        found = pa.concat_tables([holes.missing(reader, whose, layout.name, span) for layout in LAYOUTS])
        return named(found, whose, [name for name in found.schema.names if name != "instrument_id"])


def busiest(reader: Reader, channels: frozenset[str], lately: timedelta) -> Instrument | None:
    """The instrument with the most rows shortly before its venue's recording ends, of those with all of the channels.

    Args:
        reader: Of a tape.
        channels: Each must have a row.
        lately: How long before the end is looked at.
    """
    best: tuple[int, Instrument] | None = None
    for venue in reader.venues():
        until = reader.recorded_until(venue)
        if until is None:
            continue
        span = Range(until - lately, until + timedelta(microseconds=1))
        for one in reader.instruments(venue):
            rows = [
                sum(table.num_rows for table in ordered_rows(reader, layout, [one], span, [layout.clock]))
                for layout in LAYOUTS
                if layout.name in channels
            ]
            if all(rows) and (best is None or sum(rows) > best[0]):
                best = sum(rows), one
    return best[1] if best else None


def _missing_ns(gaps: pa.Table, span: Range) -> int:
    edges = np.array([holes.nanoseconds(span.start)]), np.array([holes.nanoseconds(span.end)])
    return int(holes.holes(gaps).missing(*edges)[0])
