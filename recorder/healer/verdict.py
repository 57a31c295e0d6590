"""What a read of a hole proves, as rows of `gap` and `gap_read`. Pure.

A read splits a hole: runs of ids that are stored or were read are healed, the others go on as gaps of their own, so
that no id is both stored and declared missing. A gap that is left is read again later, and after a day is unhealable.
"""

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import msgspec

from recorder.healer.hole import Hole, OpenGap
from recorder.identity import stable_hash64

SETTLED_NS = 30 * 10**9
"""A venue's own store has what happened before a gap ended after this long."""
REREADS_NS = tuple(seconds * 10**9 for seconds in (60, 600, 3_600, 86_400))
"""Pauses after the first read and the following ones. The read after the last of them decides."""
RUNS_MAX = 64
"""A read with more runs of missing ids splits no gap: so many holes are a fault of the read."""
_REVISION = 1 << 20
"""Revisions of the healer are above those of a recorder, which may still revise a gap when an id comes late."""
_EVIDENCE = 8
_UNLISTED = "the venue does not list "

GapRow = tuple[object, ...]
ReadRow = tuple[object, ...]
State = Literal["open", "healed", "unhealable"]


class Part(NamedTuple):
    """A part of a hole, exclusive at both ends."""

    last_id: int
    first_id: int
    found: bool | None  # whether its ids are stored or were read; None where they were not asked for


class Read(NamedTuple):
    """A read of a hole."""

    at_ns: int
    pages: int
    requests: Sequence[str]  # request ids, as in the log


class Rows(NamedTuple):
    """Rows of the tables."""

    gaps: list[GapRow]
    reads: list[ReadRow]


def split(hole: Hole, asked: range, present: Collection[int]) -> list[Part]:
    """Return the parts of a hole, lowest first.

    Args:
        hole: The hole.
        asked: Ids that were read; those outside of the hole do not count.
        present: Ids that are stored or were read.
    """
    low, high = max(asked.start, hole.last_id + 1), min(asked.stop, hole.first_id)
    if low >= high:
        return [Part(hole.last_id, hole.first_id, None)]
    parts = [Part(hole.last_id, low, None)] if low > hole.last_id + 1 else []
    begin = low
    for first, last in _runs(sorted(one for one in present if low <= one < high)):
        if first > begin:
            parts.append(Part(begin - 1, first, False))
        parts.append(Part(first - 1, last + 1, True))
        begin = last + 1
    if begin < high:
        parts.append(Part(begin - 1, high, False))
    if high < hole.first_id:
        parts.append(Part(high - 1, hole.first_id, None))
    return parts


def _runs(ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of consecutive numbers."""
    runs: list[tuple[int, int]] = []
    for one in ids:
        if runs and one == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], one)
        else:
            runs.append((one, one))
    return runs


def rows_of(hole: Hole, parts: Sequence[Part], read: Read, *, never_issued: bool = False) -> Rows:
    """Return the rows that follow from the parts of a hole.

    Args:
        hole: The hole.
        parts: All of it.
        read: The read that gave them.
        never_issued: Whether the last read and the candles prove that the venue never issued what it does not list.
    """
    rows = Rows([], [])
    for place, part in enumerate(parts):
        ids = part.first_id - part.last_id - 1
        reason = f"{_UNLISTED}{_ids(part)}"
        if part.found:
            rows.gaps.append(_gap(hole, place, part, "healed", f"{ids} ids of {ids}, by REST"))
        elif part.found is None:
            rows.gaps.append(_gap(hole, place, part, "open", None))
        elif is_last(hole.gap):
            if never_issued:
                reason = f"never issued: {_ids(part)}; no read listed them, and the candles agree without them"
            rows.gaps.append(_gap(hole, place, part, "healed" if never_issued else "unhealable", reason))
            rows.reads.append(_read(hole.gap, _gap_id(hole, place, part), part, read, reason))
        else:
            if len(parts) > 1 or len(hole.gaps) > 1:
                rows.gaps.append(_gap(hole, place, part, "open", None))
            rows.reads.append(_read(hole.gap, _gap_id(hole, place, part), part, read, reason))
    rows.gaps.extend(_united(hole))
    return rows


def failed(hole: Hole, read: Read, reason: str) -> Rows:
    """Return the rows of a read that proves nothing."""
    part = Part(hole.last_id, hole.first_id, False)
    if is_last(hole.gap):
        gaps = [_gap(hole, 0, part, "unhealable", reason), *_united(hole)]
        return Rows(gaps, [_read(hole.gap, hole.gap.gap_id, part, read, reason)])
    return Rows([], [_read(hole.gap, one.gap_id, part, read, reason) for one in hole.gaps])


def restarted(hole: Hole) -> Rows:
    """Return the rows of a hole after which the ids are lower than before."""
    part = Part(hole.last_id, hole.first_id, False)
    return Rows([_gap(hole, 0, part, "unhealable", "the venue began its ids again")], [])


def stored_already(hole: Hole) -> Rows:
    """Return the rows of a hole whose ids are all stored."""
    ids = hole.ids
    reason = f"{ids} ids of {ids} are stored" if ids else "the ids on both sides follow each other"
    gap = _gap(hole, 0, Part(hole.last_id, hole.first_id, True), "healed", reason)
    return Rows([gap, *_united(hole)], [])


def always_adjacent(gap: OpenGap) -> bool:
    """Return whether every read of a gap listed the trades on both sides of it, and none between them."""
    reads = msgspec.json.decode(gap.evidence, type=list[dict[str, object]])
    return len(reads) == gap.reads and all(str(one.get("reason", "")).startswith(f"{_UNLISTED}id") for one in reads)


def is_last(gap: OpenGap) -> bool:
    """Return whether the next read of a gap decides."""
    return gap.reads >= len(REREADS_NS)


def _ids(part: Part) -> str:
    first, last = part.last_id + 1, part.first_id - 1
    return f"id {first}" if first == last else f"ids {first} to {last}"


def _gap_id(hole: Hole, place: int, part: Part) -> int:
    """Return the id of the gap of a part. It follows from the part, so that a read that is repeated adds no gap."""
    if place == 0:
        return hole.gap.gap_id
    return stable_hash64(f"gap:{hole.gap.gap_id}:{part.last_id}:{part.first_id}")


def _revision(gap: OpenGap) -> int:
    return max(gap.revision + 1, _REVISION)


def _gap(hole: Hole, place: int, part: Part, state: State, reason: str | None) -> GapRow:
    gap, gaps = hole.gap, hole.gaps
    return (
        _gap_id(hole, place, part), gap.instrument_id, "trade", gap.session_id, gap.cause, state, reason,
        part.last_id, part.first_id, min(one.started_ns for one in gaps), hole.ended_ns,
        min(one.since_ns for one in gaps), max(one.until_ns for one in gaps), 1 if place else _revision(gap),
    )  # fmt: skip


def _united(hole: Hole) -> list[GapRow]:
    """Return the rows of the gaps that the first of the hole stands for from now on."""
    return [_closed(one, "healed", f"its ids are those of gap {hole.gap.gap_id}") for one in hole.gaps[1:]]


def _read(gap: OpenGap, gap_id: int, part: Part | None, read: Read, reason: str, digest: str = "") -> ReadRow:
    now: dict[str, object] = {"at_ns": read.at_ns, "pages": read.pages, "requests": list(read.requests)}
    if part is not None:
        now |= {"first_missing": part.last_id + 1, "last_missing": part.first_id - 1}
    if digest:
        now["digest"] = digest
    earlier = msgspec.json.decode(gap.evidence, type=list[dict[str, object]])
    next_ns = None if is_last(gap) else read.at_ns + REREADS_NS[gap.reads]
    return (
        gap_id, gap.instrument_id, gap.reads + 1, gap.first_read_ns or read.at_ns, read.at_ns,
        next_ns, reason, [*earlier, now | {"reason": reason}][-_EVIDENCE:], read.at_ns,
    )  # fmt: skip


def _closed(gap: OpenGap, state: State, reason: str) -> GapRow:
    """Return the row of a gap that keeps its ends."""
    return (
        gap.gap_id, gap.instrument_id, "trade", gap.session_id, gap.cause, state, reason, gap.last_id, gap.first_id,
        gap.started_ns, gap.ended_ns, gap.last_ts_event_ns, gap.first_ts_event_ns, _revision(gap),
    )  # fmt: skip


def healed_by_time(gaps: Sequence[OpenGap], reason: str) -> Rows:
    """Return the rows of gaps whose time is complete."""
    return Rows([_closed(gap, "healed", reason) for gap in gaps], [])


def left_by_time(gaps: Sequence[OpenGap], read: Read, reason: str, digest: str = "") -> Rows:
    """Return the rows of gaps whose time is not proved complete by a read.

    Args:
        gaps: Of one time.
        read: The read.
        reason: Why it is not.
        digest: Of the trades that were listed, where the next read is compared with them.
    """
    if is_last(gaps[0]):
        return Rows(
            [_closed(gap, "unhealable", reason) for gap in gaps],
            [_read(gaps[0], gap.gap_id, None, read, reason, digest) for gap in gaps],
        )
    return Rows([], [_read(gaps[0], gap.gap_id, None, read, reason, digest) for gap in gaps])
