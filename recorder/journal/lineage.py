"""Whether the next block of a journal is the successor of the last block that a database has loaded. Pure.

Only a successor is simply loaded: the next block of the same incarnation, or the first block of an incarnation that
names exactly the last loaded block as its predecessor. A block that is loaded already is skipped. Everything else is a
break: blocks are missing in between, or the journal goes on from somewhere else.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from recorder.events import Gap
from recorder.identity import stable_hash64
from recorder.journal.block import BlockHeader, Lineage, StreamCheckpoint
from recorder.journal.corruption import CorruptRange, behind, gaps_of_range
from recorder.position import Position

StreamKey = tuple[str, str]
"""Symbol and channel."""


class History(msgspec.Struct):
    """What a database has loaded of a journal."""

    last: dict[int, int]  # number of the last block loaded, by incarnation
    head: int = 0  # incarnation of the last block loaded; 0: none is loaded
    replaces: str = ""  # another journal of the same recorder, which was loaded last and is gone

    def loaded(self, incarnation: int, seq: int) -> None:
        """Record that a block is loaded."""
        self.last[incarnation], self.head, self.replaces = seq, incarnation, ""


class Break(msgspec.Struct, frozen=True):
    """A block that is not the successor of the last block loaded.

    missing: blocks in between are lost; the recorder that wrote this block knew the state after them.
    elsewhere: nothing proves that the recorder that wrote this block knew the last block loaded. It may be much older.
    beginning: nothing is loaded, and earlier blocks were removed.
    """

    kind: Literal["missing", "elsewhere", "beginning"]
    reason: str


REPEATED: Literal["repeated"] = "repeated"
_OLDER = "later blocks were loaded: it is an older copy, or lost its end"
_REMOVED = "the journal of this recorder was removed: what it held after the last load is lost"
_PUT_BACK = (
    "an older copy of the journal was put back, but another journal of this recorder was loaded since: "
    "what that one held after the last load is lost"
)


def judge(history: History, incarnation: int, seq: int, lineage: Lineage | None) -> Break | Literal["repeated"] | None:
    """Return what a block is: None for the successor of the last block loaded.

    Args:
        history: What is loaded.
        incarnation: Of the block.
        seq: Number of the block.
        lineage: Of its incarnation; None where the bytes that name it are damaged.
    """
    known = history.last.get(incarnation)
    if known is not None and seq <= known:
        return REPEATED
    if history.replaces:
        return Break("elsewhere", _REMOVED if not history.head else _PUT_BACK)
    head = history.head
    if known is not None:
        kind: Literal["missing", "elsewhere"] = "missing" if incarnation == head else "elsewhere"
        if seq > known + 1:
            return Break(kind, f"{_blocks(known + 1, seq - 1)} of the journal are missing")
        return None if incarnation == head else Break(kind, f"block {seq} follows an earlier block: {_OLDER}")
    if lineage is None:
        return Break("elsewhere", f"blocks before block {seq} are missing, and so is the record of what they were")
    if not head:
        return _first(seq, lineage)
    before = history.last.get(lineage.predecessor)
    if lineage.predecessor == 0:
        return Break("elsewhere", "the journal was removed and begins again: what it held after the last load is lost")
    if before is None:
        reason = f"blocks up to block {seq - 1} are missing: whole starts of the recorder among them"
        return Break("elsewhere", reason)
    if before < lineage.predecessor_block or seq > lineage.predecessor_block + 1:
        kind = "missing" if lineage.predecessor == head else "elsewhere"
        return Break(kind, f"{_blocks(before + 1, seq - 1)} of the journal are missing")
    if lineage.predecessor != head or before != lineage.predecessor_block:
        return Break("elsewhere", f"the journal goes on after block {lineage.predecessor_block}, but {_OLDER}")
    return None


def _first(seq: int, lineage: Lineage) -> Break | None:
    if seq > 1 or lineage.predecessor:
        return Break("beginning", f"the blocks before block {seq} were removed before this database loaded them")
    return None


def _blocks(first: int, last: int) -> str:
    return f"block {first}" if first == last else f"blocks {first} to {last}"


class LoadState(msgspec.Struct):
    """What a loader must know to go on; the database keeps it beside the position.

    Attributes:
        marks: The state of every stream. Rows of a stream may have been loaded since.
        unsure: Gaps that were open before a loss that may contain their ends.
        pending: Gaps from the last row before a loss to the first data behind it.
        sessions_unsure: Whether sessions of the recorder may have ended in a loss.
        superseded: Identities of gaps of the recorder that a pending one replaces (see `supersedes`).
        behind_ns: When the first block behind the breaks of these gaps was written; 0 without one.
        replaced_by: The journal of the same recorder that was loaded next, after this one was gone; "" for none.
    """

    marks: dict[StreamKey, StreamCheckpoint] = {}
    unsure: dict[StreamKey, Gap] = {}
    pending: dict[StreamKey, Gap] = {}
    sessions_unsure: bool = False
    superseded: set[int] = msgspec.field(default_factory=set)
    behind_ns: int = 0
    replaced_by: str = ""


class _Stored(msgspec.Struct, array_like=True):
    marks: list[StreamCheckpoint]
    unsure: list[Gap]
    pending: list[Gap]
    sessions_unsure: bool
    superseded: list[int] = []
    behind_ns: int = 0
    replaced_by: str = ""


def encode_state(state: LoadState) -> bytes:
    """Return a state as bytes for the database."""
    unsure, pending = list(state.unsure.values()), list(state.pending.values())
    marks, superseded = list(state.marks.values()), sorted(state.superseded)
    return msgspec.msgpack.encode(
        _Stored(marks, unsure, pending, state.sessions_unsure, superseded, state.behind_ns, state.replaced_by)
    )


def decode_state(data: bytes | None) -> LoadState:
    """Return the state that `encode_state` made bytes of; an empty one for None."""
    if data is None:
        return LoadState()
    stored = msgspec.msgpack.decode(data, type=_Stored)
    return LoadState(
        {(one.symbol, one.channel): one for one in stored.marks},
        {(gap.symbol, gap.channel): gap for gap in stored.unsure},
        {(gap.symbol, gap.channel): gap for gap in stored.pending},
        stored.sessions_unsure,
        set(stored.superseded),
        stored.behind_ns,
        stored.replaced_by,
    )


class LastRow(msgspec.Struct, frozen=True):
    """The newest stored row of a stream."""

    number: int | None  # trade id or sequence
    ts_event_ns: int | None
    ts_recv_ns: int


def with_rows(
    marks: Mapping[StreamKey, StreamCheckpoint], rows: Mapping[StreamKey, LastRow]
) -> dict[StreamKey, StreamCheckpoint]:
    """Return the state of streams as of their newest rows."""
    result = dict(marks)
    for stream, row in rows.items():
        mark = marks.get(stream)
        if mark is not None and (mark.last_ts_event_ns or 0) <= (row.ts_event_ns or row.ts_recv_ns):
            number = row.number if row.number is not None else mark.last_id
            ts_event_ns = row.ts_event_ns or mark.last_ts_event_ns
            result[stream] = msgspec.structs.replace(mark, last_id=number, last_ts_event_ns=ts_event_ns)
    return result


def missing_gaps(damage: CorruptRange, after: BlockHeader, origin: str) -> list[Gap]:
    """Return the gaps of blocks that are missing before a good block.

    Args:
        damage: The state of the streams before.
        after: The good block.
        origin: Identity of the break.
    """
    known = {(one.symbol, one.channel) for one in damage.before}
    gaps = gaps_of_range(damage, after, origin)
    for mark in after.checkpoints if after.checkpoint else ():
        since_ns = max(mark.since_ns, damage.since_ns)
        if (mark.symbol, mark.channel) not in known and mark.watched and since_ns < after.written_ns:
            # It was subscribed in the lost part: its rows since then are lost too.
            before = msgspec.structs.replace(mark, last_id=None, last_ts_event_ns=None, session_id=None, gap=None)
            gaps += gaps_of_range(CorruptRange(damage.position, damage.reason, [before], since_ns), after, origin)
    return gaps


def pending_gaps(
    marks: Mapping[StreamKey, StreamCheckpoint],
    rows: Mapping[StreamKey, LastRow],
    reason: str,
    position: Position,
    since_ns: int,
    origin: str,
) -> tuple[list[Gap], dict[StreamKey, Gap]]:
    """Return gaps that go on until a stream has data again, because its recorder does not know that it was recorded.

    Args:
        marks: The streams before.
        rows: Their newest stored rows.
        reason: Why.
        position: Of the first block behind the break.
        since_ns: When the last block loaded was written.
        origin: Identity of the break.

    Returns:
        The new gaps, and all that go on, by stream: these and those that were open already.
    """
    opened: list[Gap] = []
    going_on: dict[StreamKey, Gap] = {}
    for key, mark in marks.items():
        row, own = rows.get(key), mark.gap
        if own is not None and row is not None and row.ts_recv_ns > own.started_ns:
            # Rows came since, so that the database may know its end already, and then in a later revision than this.
            opened.append(msgspec.structs.replace(own, ended_ns=row.ts_recv_ns, revision=own.revision + 1))
        elif own is not None:
            going_on[key] = own
            continue
        if mark.watched or own is not None:
            started_ns = row.ts_recv_ns if row is not None else max(mark.since_ns, since_ns)
            gap = Gap(
                gap_id=stable_hash64(f"{origin}:{mark.symbol}:{mark.channel}") & (2**63 - 1),
                symbol=mark.symbol,
                channel=mark.channel,
                session_id=mark.session_id,
                cause="journal_damage",
                state="open",
                reason=f"{reason} at {position.segment}:{position.offset}",
                last_id=mark.last_id,
                first_id=None,
                started_ns=started_ns,
                ended_ns=None,
                last_ts_event_ns=mark.last_ts_event_ns,
                first_ts_event_ns=None,
                revision=1,
            )
            opened.append(gap)
            going_on[key] = gap
    return opened, going_on


def supersedes(pending: Gap, behind_ns: int, gap_id: int, started_us: int) -> bool:
    """Return whether a pending gap declares all that may be missing of a gap of the recorder.

    A recorder whose journal is older than the database resumes a gap that the database has with its end, or opens one
    at its own last row. Both begin where rows are stored. The pending gap begins at the last of those, and it ends with
    the first data behind the break, when the gap of the recorder has ended too.

    A gap that begins behind the break follows blocks that are older than the pending gap and were never loaded before.
    Nothing else declares what is missing between them and the rows that are stored.

    Args:
        pending: The gap.
        behind_ns: When the first block behind the break was written.
        gap_id: Of the other gap.
        started_us: When the other gap began, microseconds.
    """
    return gap_id != pending.gap_id and started_us <= pending.started_ns // 1000 and started_us < behind_ns // 1000


def ended_by_data(gap: Gap, mark: StreamCheckpoint, brought: bool, written_ns: int) -> Gap | None:
    """Return a pending gap with its end; None while the stream has no data.

    Args:
        gap: The gap.
        mark: The state of its stream after a block.
        brought: Whether the block has data of the stream.
        written_ns: When the block was written.
    """
    if not mark.watched or mark.gap is not None or not brought:
        return None
    ids_before = mark.last_id is not None and gap.last_id is not None and mark.last_id <= gap.last_id
    if ids_before and written_ns < gap.started_ns:
        return None  # a block from before the gap that is loaded late
    return msgspec.structs.replace(
        gap,
        first_id=behind(gap.last_id, mark.first_id),
        ended_ns=max(written_ns, gap.started_ns),
        first_ts_event_ns=mark.first_ts_event_ns,
        revision=gap.revision + 1,
    )
