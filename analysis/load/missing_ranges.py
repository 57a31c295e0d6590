"""Ranges in which rows may be missing: declared gaps, and time before and after the recording.

A gap of trades is bounded by the venue's clock, both ends included: from the last trade known to be good to the first
good one after it. A gap of quotes or books is bounded by receipt, which is the clock of their tables. A healed gap is
complete again and does not count; features still treat it as an outage, because a healed trade was not known in time.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import FOREVER, Bools, Gaps, Ints
from analysis.errors import GapError
from analysis.load.hours.grades import BELOW_GRADE, Grade, below
from analysis.load.source import EPOCH, US, Instrument, Range, Reader, Unrecorded, to_ns
from analysis.load.tables import GAP, Channel

OnGap = Literal["raise", "mask", "ignore"]

UNRECORDED = "unrecorded"
"""State of a range that no gap row declares: recording had not begun, or had ended."""

_GAPS_IN_MESSAGE = 3

Row = dict[str, Any]
"""A row of GAP as a Python dict."""


def find(
    reader: Reader,
    instruments: Sequence[Instrument],
    channel: Channel,
    span: Range,
    min_grade: Grade | None = None,
) -> pa.Table:
    """Return the ranges that touch `span` and in which rows of a channel may be missing.

    A range before the first frame about an instrument, after the latest frame of its venue, or on days that an archive
    does not hold gets a row of state UNRECORDED, because no gap row exists for time without a recorder.

    Args:
        reader: Open source.
        instruments: Instruments to check.
        channel: Whose gaps.
        span: Requested range.
        min_grade: Hours with a lower grade, and those without a certificate, get a row of state BELOW_GRADE.

    Returns:
        Rows of GAP without the healed ones, by start and instrument.
    """
    found = reader.gaps(instruments, span)
    keep = pc.and_(pc.equal(found["channel"], channel), pc.not_equal(found["state"], "healed"))
    rows = found.filter(keep).to_pylist()
    absent = {venue: reader.unrecorded(venue, span) for venue in {one.venue for one in instruments}}
    for one in instruments:
        if span.start < one.first_seen and span.start < span.end:
            before = Unrecorded(EPOCH, one.first_seen, "before the first frame about it")
            rows.append(_row(one, channel, before))
        rows += [_row(one, channel, stretch) for stretch in absent[one.venue]]
    if min_grade is not None:
        rows += below(reader, instruments, channel, span, min_grade)
    rows = [row for row in rows if _touches(row, span)]
    rows.sort(key=lambda row: (_extent(row)[0], row["instrument_id"]))
    return pa.Table.from_pylist(rows, GAP)


def _row(one: Instrument, channel: Channel, absent: Unrecorded) -> Row:
    kind = {"instrument_id": one.instrument_id, "channel": channel, "cause": UNRECORDED, "state": UNRECORDED}
    span = {"reason": absent.reason, "started_at": absent.start, "ended_at": absent.end}
    return dict.fromkeys(GAP.names) | kind | span


def _extent(row: Row) -> tuple[datetime, datetime | None]:
    """Return the first and last instant at which rows may be missing, by the clock of the channel."""
    if row["channel"] != "trade":
        return row["started_at"], row["ended_at"]
    first, last = row["last_ts_event"] or row["started_at"], row["first_ts_event"] or row["ended_at"]
    return (first, None) if last is None else (min(first, last), max(first, last))


def _touches(row: Row, span: Range) -> bool:
    first, last = _extent(row)
    return first < span.end and (last is None or last >= span.start)


def spans_by_channel_clock(gaps: pa.Table) -> Gaps:
    """Return rows of GAP as half-open spans in ns by the clock of their channel."""
    pairs = [_extent(row) for row in gaps.to_pylist()]
    # Stored instants are truncated to microseconds, so an event at the last one may lie up to 1 us after it.
    return _spans([(first, None if last is None else last + US) for first, last in pairs])


def spans_by_receipt(gaps: pa.Table) -> Gaps:
    """Return rows of GAP as half-open spans in ns of receipt: from the last good frame to the next good one."""
    return _spans([(row["started_at"], _receipt_end(row)) for row in gaps.to_pylist()])


def _receipt_end(row: Row) -> datetime | None:
    end: datetime | None = row["ended_at"]
    return end + US if end is not None and row["state"] == BELOW_GRADE else end


def _spans(pairs: list[tuple[datetime, datetime | None]]) -> Gaps:
    starts = np.array([to_ns(start) for start, _ in pairs], np.int64)
    ends = np.array([FOREVER if end is None else to_ns(end) for _, end in pairs], np.int64)
    return Gaps(starts, ends)


def require_complete(gaps: pa.Table, instruments: Sequence[Instrument]) -> None:
    """Refuse a range in which rows may be missing.

    Args:
        gaps: Result of `find`.
        instruments: Instruments, for their names.

    Raises:
        GapError: `gaps` has a row. The message names the first three and the ways out.
    """
    if not gaps.num_rows:
        return
    names = {one.instrument_id: f"{one.venue} {one.symbol}" for one in instruments}
    rows = gaps.slice(0, _GAPS_IN_MESSAGE).to_pylist()
    listed = [f"{names[row['instrument_id']]} {row['channel']} {_describe(row)}" for row in rows]
    more = f" and {gaps.num_rows - _GAPS_IN_MESSAGE} more" if gaps.num_rows > _GAPS_IN_MESSAGE else ""
    graded = ", a lower min_grade" if BELOW_GRADE in gaps["state"].to_pylist() else ""
    raise GapError(
        f"the recording may be incomplete in this range: {'; '.join(listed)}{more}; choose another range{graded}, or "
        'set on_gap to "mask" (rows in a gap are marked) or "ignore"'
    )


def _describe(row: Row) -> str:
    first, last = _extent(row)
    when = f"since {_text(first)}" if last is None else f"{_text(first)} to {_text(last)}"
    if row["state"] == BELOW_GRADE:
        return f"{when} ({row['reason']})"
    if row["state"] != UNRECORDED:
        return f"{when} ({row['cause']}, {row['state']})"
    return f"{row['reason']} ({when.removeprefix(_text(EPOCH)).strip()})"


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(" ", "milliseconds")[:23]


def contains(gaps: pa.Table, instrument: Ints, at: Ints) -> Bools:
    """Return (n,) True where a row lies in a missing range, the rows on both edges included.

    The edges count because a missing row cannot be marked itself: a return across a gap ends on its edge.

    Args:
        gaps: Result of `find`.
        instrument: (n,) instrument_id.
        at: (n,) the clock of the channel, ns.
    """
    out = np.zeros(len(at), np.bool_)
    for number in gaps["instrument_id"].unique().to_pylist():
        mine = instrument == number
        own = spans_by_channel_clock(gaps.filter(pc.equal(gaps["instrument_id"], number)))
        out[mine] = own.missing(at[mine], at[mine] + 1) > 0
    return out
