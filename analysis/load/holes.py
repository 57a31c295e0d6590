"""What was not recorded of a range: declared gaps, and the time before and after the recording.

A gap of trades bounds what may be missing by the venue's clock, inclusively: from the last trade known good to the
first one after. A gap of quotes or books bounds it by receipt, since that is their clock. Healed gaps hide nothing
any more; but a healed trade was not known at the time, so features know them still.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import FOREVER, Bools, Gaps, Ints
from analysis.errors import GapError
from analysis.load.source import US, Instrument, Range, Reader, Unrecorded
from analysis.load.tables import GAP, Channel

OnGap = Literal["raise", "mask", "ignore"]

UNRECORDED = "unrecorded"
"""The state of a row that no gap of the tape declares: nobody had begun to record, or nobody went on."""

_NAMED = 3
_AGES = datetime(1970, 1, 1, tzinfo=UTC)


Row = dict[str, Any]
"""A row of GAP in Python."""


def missing(reader: Reader, instruments: Sequence[Instrument], channel: Channel, span: Range) -> pa.Table:
    """The rows of GAP, healed ones left out, whose hole touches a range, and what lies outside the recording.

    A range that reaches before the first frame about an instrument, beyond the latest frame of its venue, or into days
    that an archive does not have, has a row of state UNRECORDED there: no gap tells that nobody was looking.
    """
    found = reader.gaps(instruments, span)
    keep = pc.and_(pc.equal(found["channel"], channel), pc.not_equal(found["state"], "healed"))
    rows = found.filter(keep).to_pylist()
    absent = {venue: reader.unrecorded(venue, span) for venue in {one.venue for one in instruments}}
    for one in instruments:
        if span.start < one.first_seen and span.start < span.end:
            before = Unrecorded(_AGES, one.first_seen, "before the first frame about it")
            rows.append(_row(one, channel, before))
        rows += [_row(one, channel, stretch) for stretch in absent[one.venue]]
    rows = [row for row in rows if _touches(row, span)]
    rows.sort(key=lambda row: (_hole(row)[0], row["instrument_id"]))
    return pa.Table.from_pylist(rows, GAP)


def _row(one: Instrument, channel: Channel, absent: Unrecorded) -> Row:
    told = {"instrument_id": one.instrument_id, "channel": channel, "cause": UNRECORDED, "state": UNRECORDED}
    span = {"reason": absent.reason, "started_at": absent.start, "ended_at": absent.end}
    return dict.fromkeys(GAP.names) | told | span


def _hole(row: Row) -> tuple[datetime, datetime | None]:
    """First and last instant at which something may be missing, by the clock of the channel."""
    if row["channel"] != "trade":
        return row["started_at"], row["ended_at"]
    first, last = row["last_ts_event"] or row["started_at"], row["first_ts_event"] or row["ended_at"]
    return (first, None) if last is None else (min(first, last), max(first, last))


def _touches(row: Row, span: Range) -> bool:
    first, last = _hole(row)
    return first < span.end and (last is None or last >= span.start)


def holes(gaps: pa.Table) -> Gaps:
    """The holes of these rows of GAP by the clock of their channel, half-open, in ns."""
    pairs = [_hole(row) for row in gaps.to_pylist()]
    # Stored instants are truncated: what happened at the last of them lies before the microsecond is over.
    return _spans([(first, None if last is None else last + US) for first, last in pairs])


def outages(gaps: pa.Table) -> Gaps:
    """The same rows by our own clock: from the last good frame to the first good one again."""
    return _spans([(row["started_at"], row["ended_at"]) for row in gaps.to_pylist()])


def _spans(pairs: list[tuple[datetime, datetime | None]]) -> Gaps:
    starts = np.array([nanoseconds(start) for start, _ in pairs], np.int64)
    ends = np.array([FOREVER if end is None else nanoseconds(end) for _, end in pairs], np.int64)
    return Gaps(starts, ends)


def nanoseconds(at: datetime) -> int:
    """Since 1970, exactly."""
    return (at - _AGES) // US * 1000


def require_whole(gaps: pa.Table, instruments: Sequence[Instrument]) -> None:
    """Refuse a range that is not whole.

    Raises:
        GapError: There is a gap; the sentence names the first ones and says what can be done.
    """
    if not gaps.num_rows:
        return
    names = {one.instrument_id: f"{one.venue} {one.symbol}" for one in instruments}
    told = [f"{names[row['instrument_id']]} {row['channel']} {_told(row)}" for row in gaps.slice(0, _NAMED).to_pylist()]
    more = f" and {gaps.num_rows - _NAMED} more" if gaps.num_rows > _NAMED else ""
    raise GapError(
        f"the tape may be incomplete in this range: {'; '.join(told)}{more}; ask for another range, or take it as "
        'it is with on_gap "mask" (rows in a gap are marked) or "ignore"'
    )


def _told(row: Row) -> str:
    first, last = _hole(row)
    when = f"since {_text(first)}" if last is None else f"{_text(first)} to {_text(last)}"
    if row["state"] != UNRECORDED:
        return f"{when} ({row['cause']}, {row['state']})"
    return f"{row['reason']} ({when.removeprefix(_text(_AGES)).strip()})"


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(" ", "milliseconds")[:23]


def inside(gaps: pa.Table, instrument: Ints, at: Ints) -> Bools:
    """(n,) whether a row stands where something may be missing, the rows on both edges of a gap included.

    The edges count because what is missing is not there to be marked: a return across a gap ends on its edge.

    Args:
        gaps: Rows of `missing`.
        instrument: (n,) instrument_id.
        at: (n,) the clock of the channel, ns.
    """
    out = np.zeros(len(at), np.bool_)
    for number in gaps["instrument_id"].unique().to_pylist():
        mine = instrument == number
        own = holes(gaps.filter(pc.equal(gaps["instrument_id"], number)))
        out[mine] = own.missing(at[mine], at[mine] + 1) > 0
    return out
