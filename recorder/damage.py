"""What damage in a journal means: which streams may have lost rows, and between which points. Pure."""

from collections.abc import Iterable

import msgspec

from recorder.block import BlockHeader, Mark
from recorder.events import Gap
from recorder.instruments import stable_hash64
from recorder.position import Position


class Hole(msgspec.Struct):
    """Damage not yet closed by a good block behind it."""

    position: Position
    reason: str
    before: list[Mark]  # every stream as it stood before
    since_ns: int


def gaps_of_hole(hole: Hole, after: BlockHeader, journal_id: str) -> list[Gap]:
    """One gap for each stream the damaged bytes may have carried.

    Args:
        hole: Where, and how the streams stood before it.
        after: The first good block behind it.
    """
    behind = {(mark.symbol, mark.channel): mark for mark in after.marks}
    gaps = []
    for mark in hole.before:
        if not mark.watched:
            continue
        later = behind.get((mark.symbol, mark.channel))
        first_id, first_ts_ns = None, after.written_ns
        if later is not None:
            first_id = later.first_id if later.first_id is not None else _after(later.last_id)
            first_ts_ns = later.first_ts_event_ns or after.written_ns
            if later.last_id is not None and later.last_id == mark.last_id and after.checkpoint:
                continue  # the stream did not move in between
        gaps.append(_gap(hole, mark, journal_id, mark.last_id, first_id, after.written_ns, first_ts_ns))
    return gaps


def gaps_of_sections(
    position: Position, header: BlockHeader, lost: Iterable[str], journal_id: str, since_ns: int
) -> list[Gap]:
    """One gap for each stream whose rows stood in a damaged section of a block that is otherwise good."""
    hole = Hole(position, f"damaged sections: {', '.join(lost)}", [], since_ns)
    return [
        _gap(
            hole, mark, journal_id, None if mark.first_id is None else mark.first_id - 1, _after(mark.last_id),
            header.written_ns, mark.last_ts_event_ns,
        )
        for mark in header.marks
        if mark.channel in lost
    ]  # fmt: skip


def ended_in_damage(gap: Gap, written_ns: int, mark: Mark) -> Gap:
    """A gap whose own end is lost: over at the latest when the first good block that names its stream was written."""
    return msgspec.structs.replace(
        gap,
        reason="its end stood in damaged journal",
        first_id=mark.first_id,
        ended_ns=max(written_ns, gap.started_ns),
        first_ts_event_ns=mark.first_ts_event_ns,
        revision=gap.revision + 1,
    )


def _after(number: int | None) -> int | None:
    return None if number is None else number + 1


def _gap(
    hole: Hole,
    mark: Mark,
    journal_id: str,
    last_id: int | None,
    first_id: int | None,
    ended_ns: int,
    first_ts_ns: int | None,
) -> Gap:
    place = f"{journal_id}:{hole.position.segment}:{hole.position.offset}:{mark.symbol}:{mark.channel}"
    return Gap(
        stable_hash64(place) & (2**63 - 1), mark.symbol, mark.channel, mark.session_id, "journal_damage", "open",
        f"{hole.reason} at {hole.position.segment}:{hole.position.offset}", last_id, first_id,
        min(hole.since_ns, ended_ns), ended_ns,
        mark.first_ts_event_ns if hole.before == [] else mark.last_ts_event_ns, first_ts_ns, 1,
    )  # fmt: skip
