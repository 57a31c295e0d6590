"""What damage in a journal means: which streams may have lost rows, and between which points. Pure."""

from collections.abc import Iterable

import msgspec

from recorder.events import Gap
from recorder.identity import stable_hash64
from recorder.journal.block import BlockHeader, StreamCheckpoint
from recorder.position import Position


class CorruptRange(msgspec.Struct):
    """Damaged bytes without a good block after them so far."""

    position: Position
    reason: str
    before: list[StreamCheckpoint]  # the state of every stream before the damage
    since_ns: int  # when the last good block before the damage was written
    starts: dict[tuple[str, str], int] = {}  # by stream, where its last row before the damage is known


def gaps_of_range(damage: CorruptRange, after: BlockHeader, origin: str) -> list[Gap]:
    """Return one gap for each stream that the damaged bytes may have carried.

    Args:
        damage: The range, and the streams before it.
        after: The first good block after it.
        origin: Identity of the journal and of the incarnation, because another one may use the position again.
    """
    checkpoints_after = {(one.symbol, one.channel): one for one in after.checkpoints}
    gaps = []
    for before in damage.before:
        if not before.watched:
            continue
        later = checkpoints_after.get((before.symbol, before.channel))
        first_id, first_ts_ns = None, after.written_ns
        if later is not None:
            first_id = later.first_id if later.first_id is not None else _next(later.last_id)
            first_ts_ns = later.first_ts_event_ns or after.written_ns
            if later.last_id is not None and later.last_id == before.last_id and after.checkpoint:
                continue  # the stream did not move in between
        gaps.append(
            _gap(
                damage.position,
                damage.reason,
                origin,
                before,
                last_id=before.last_id,
                first_id=first_id,
                started_ns=damage.starts.get((before.symbol, before.channel), damage.since_ns),
                ended_ns=after.written_ns,
                last_ts_event_ns=before.last_ts_event_ns,
                first_ts_event_ns=first_ts_ns,
            )
        )
    return gaps


def gaps_of_sections(
    position: Position, header: BlockHeader, lost: Iterable[str], origin: str, since_ns: int
) -> list[Gap]:
    """Return one gap for each stream whose rows were in a damaged section of a block that is otherwise good."""
    reason = f"damaged sections: {', '.join(lost)}"
    return [
        _gap(
            position,
            reason,
            origin,
            one,
            last_id=None if one.first_id is None else one.first_id - 1,
            first_id=_next(one.last_id),
            started_ns=since_ns,
            ended_ns=header.written_ns,
            last_ts_event_ns=one.first_ts_event_ns,
            first_ts_event_ns=one.last_ts_event_ns,
        )
        for one in header.checkpoints
        if one.channel in lost
    ]


def ended_in_damage(gap: Gap, written_ns: int, after: StreamCheckpoint) -> Gap:
    """Return a gap whose own end is lost, ended when the first good block that names its stream was written."""
    return msgspec.structs.replace(
        gap,
        reason="its end was in a damaged part of the journal",
        first_id=behind(gap.last_id, after.first_id),
        ended_ns=max(written_ns, gap.started_ns),
        first_ts_event_ns=after.first_ts_event_ns,
        revision=gap.revision + 1,
    )


def behind(last_id: int | None, first_id: int | None) -> int | None:
    """Return the first number behind a gap; None where the stream repeats what came before the gap.

    A venue sends its latest trades again to a new connection, and a recorder with an older journal takes them for new.
    """
    return None if last_id is not None and first_id is not None and first_id <= last_id else first_id


def _next(number: int | None) -> int | None:
    return None if number is None else number + 1


def _gap(
    position: Position,
    reason: str,
    origin: str,
    stream: StreamCheckpoint,
    *,
    last_id: int | None,
    first_id: int | None,
    started_ns: int,
    ended_ns: int,
    last_ts_event_ns: int | None,
    first_ts_event_ns: int | None,
) -> Gap:
    place = f"{origin}:{position.segment}:{position.offset}:{stream.symbol}:{stream.channel}"
    return Gap(
        gap_id=stable_hash64(place) & (2**63 - 1),
        symbol=stream.symbol,
        channel=stream.channel,
        session_id=stream.session_id,
        cause="journal_damage",
        state="open",
        reason=f"{reason} at {position.segment}:{position.offset}",
        last_id=last_id,
        first_id=behind(last_id, first_id),
        started_ns=min(started_ns, ended_ns),
        ended_ns=ended_ns,
        last_ts_event_ns=last_ts_event_ns,
        first_ts_event_ns=first_ts_event_ns,
        revision=1,
    )
