"""One journal that is being loaded: which of its blocks come next, and what is declared where they do not follow."""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from recorder.events import Gap, SessionRow
from recorder.identity import instrument_id
from recorder.journal.block import FILE_HEADER, BlockHeader, StreamCheckpoint
from recorder.journal.corruption import CorruptRange, ended_in_damage, gaps_of_sections
from recorder.journal.lineage import (
    REPEATED,
    Break,
    LastRow,
    StreamKey,
    encode_state,
    ended_by_data,
    judge,
    missing_gaps,
    pending_gaps,
    supersedes,
    with_rows,
)
from recorder.journal.reader import Damaged, JournalReader, Part, StoredBlock, segments
from recorder.pgcopy import decode, encode, scalars
from recorder.position import Position
from recorder.process.health import JournalFigures
from recorder.process.log import get_logger
from recorder.store.batch import Batch, BreakRow, Damage, EndedSessions
from recorder.store.lineage import Known

REPORTED_S = 3600.0
"""How long the writer is degraded after a loss: long enough for a person to see it."""

_STATE_EVERY_S = 5.0
_EVER_NS = 1 << 62
_SESSION_LOST = "its end is in a lost part of the journal"

_log = get_logger(__name__)

LastRows = Callable[[str, Iterable[StreamKey], int], Mapping[StreamKey, LastRow]]
"""Returns the newest stored row of each stream of a venue that was received until a time."""


class _Draft(msgspec.Struct):
    """A batch that is being put together."""

    blocks: list[StoredBlock] = []
    damage: list[Damage] = []
    breaks: list[BreakRow] = []
    alive: set[int] | None = None  # sessions that are known behind a loss; all others have ended in it
    repeated: int = 0
    replaces: str = ""


class Tail:
    """One journal that is being loaded.

    Attributes:
        reader: Of the journal.
        stored: The position in the database; None before the first batch.
        place: Where reading goes on; another one than `stored` where the journal was restored or replaced.
    """

    def __init__(self, reader: JournalReader, known: Known, last_rows: LastRows) -> None:
        self.reader = reader
        self.stored = known.position
        self._history = known.history
        self._state = known.state
        self._state.replaced_by = ""  # this journal goes on
        self._written_ns = known.written_ns  # when the last block loaded was written
        self._stored_ns = known.written_ns
        self._last_rows = last_rows
        self._exact = False  # whether the marks are those at the last block, or may be some seconds older
        self._changed = True  # whether the database must have the state before it is overdue
        self._encoded_s = float("-inf")
        self._lag_bytes = 0
        self.level_s = time.time()  # when all of the journal was stored, or loading began
        self._found = [(reason, time.monotonic() - age_s) for reason, age_s in known.breaks]
        self.place = reader.locate(self._history.last, self.stored)
        end = reader.end()
        self._detached = self.stored is not None and self.place >= end and self.stored > end
        self._beyond_bytes = 1
        if self.stored is not None and self.stored.segment == end.segment:
            self._beyond_bytes = max(1, self.stored.offset - end.offset)

    @property
    def written_ns(self) -> int:
        """Return when the last block in the database was written; 0 before the first."""
        return self._stored_ns

    def batch(self, max_bytes: int) -> Batch | None:
        """Return the next batch; None when nothing new is in the journal.

        A batch has blocks of one incarnation. Damage is returned together with the block after it, because only that
        block shows what was lost.
        """
        reader, draft = self.reader, _Draft(replaces=self._history.replaces)
        end = self.place
        waiting: list[Damaged] = []
        for item in reader.read(self.place, max_bytes, with_frames=True):
            if isinstance(item, Damaged):
                waiting.append(item)
                continue
            verdict = judge(self._history, item.incarnation, item.seq, reader.lineages.get(item.incarnation))
            if verdict == REPEATED:
                draft.repeated += 1
                end = end if waiting else item.next
                continue
            if draft.blocks and draft.blocks[-1].incarnation != item.incarnation:
                break
            if isinstance(verdict, Break):
                self._recall(end)
                if draft.blocks and (verdict.kind == "elsewhere" or not self._exact):
                    break  # what is missing is derived from the rows in the database: these must be there first
            draft.damage += [Damage(one.position, one.reason) for one in waiting]
            self._declare(draft, item, verdict if isinstance(verdict, Break) else None, damaged=bool(waiting))
            waiting = []
            self._accept(draft, item)
            end = item.next
        return self._finish(draft, end)

    def figures(self, now: float) -> JournalFigures:
        """Return how far the journal is loaded.

        Args:
            now: Unix seconds. Later blocks are ignored.
        """
        with contextlib.suppress(OSError):  # the loading part meets and reports the same error
            self._lag_bytes = self._beyond_bytes if self._detached else self.reader.lag_bytes(self.place)
        if not self._lag_bytes:
            self.level_s = now
        stored_until = self._stored_ns / 1e9 if self._lag_bytes else now
        return JournalFigures(self._lag_bytes, stored_until, round(max(0.0, now - max(stored_until, self.level_s)), 1))

    def names(self) -> list[tuple[str, int]]:
        """Return every symbol of the journal that had data or a gap, and when it was first subscribed."""
        return [
            (mark.symbol, mark.since_ns)
            for mark in self._state.marks.values()
            if mark.last_id is not None or mark.last_ts_event_ns is not None or mark.gap is not None
        ]

    def problems(self) -> list[str]:
        """Return what a person should know about this journal."""
        name, since_s = self.reader.folder.name, time.monotonic() - REPORTED_S
        problems = [f"{name}: {reason}" for reason, found_s in tuple(self._found) if found_s > since_s]
        if self._detached:
            problems.append(
                f"{name}: the database has loaded more than the journal holds: files were removed or are an older copy"
            )
        return problems

    def loaded(self, end: Position) -> None:
        """Record that the last batch is in the database, up to `end`."""
        self.stored = self.place = end
        self._stored_ns = self._written_ns
        self._detached = False

    def _declare(self, draft: _Draft, item: StoredBlock, broken: Break | None, *, damaged: bool) -> None:
        """Add the gaps that a block shows to its rows: of what is missing before it, and of its damaged sections."""
        gaps: list[Gap] = []
        header = item.header
        if broken is not None:
            gaps += self._lost(item, broken)
            if not damaged or broken.kind == "elsewhere":
                draft.damage.append(Damage(item.position, broken.reason, item=item.incarnation % 2**31))
                draft.breaks.append(BreakRow(item.seq, broken.reason, self._written_ns, header.written_ns, len(gaps)))
        elif header.checkpoint and item.incarnation != self._history.head:
            self._doubt_forgotten(header)
        if item.lost:
            reason = f"damaged sections: {', '.join(name or 'frames' for name in item.lost)}"
            draft.damage.append(Damage(item.position, reason))
            origin = f"{self.reader.journal_id}:{item.incarnation:x}"
            gaps += gaps_of_sections(item.position, header, item.lost, origin, self._written_ns)
        if self._state.pending or self._state.superseded:
            self._drop_superseded(item)
        if self._state.unsure or self._state.pending:
            gaps += [gap for gap in self._ends(item) if gap.gap_id not in self._state.superseded]
        if gaps:
            item.parts.append(self._gap_part(gaps))

    def _lost(self, item: StoredBlock, broken: Break) -> list[Gap]:
        """Return the gaps of a break, and note what else may have ended in it."""
        state, reader = self._state, self.reader
        rows: Mapping[StreamKey, LastRow] = {}
        if broken.kind == "elsewhere":  # the last blocks loaded may be older than other rows
            rows = self._last_rows(reader.venue, state.marks, _EVER_NS)
        elif not self._exact:
            rows = self._last_rows(reader.venue, state.marks, self._written_ns)
        marks = with_rows(state.marks, rows)
        origin = f"{reader.journal_id}:{item.incarnation:x}:{item.seq}"
        state.sessions_unsure = self._changed = True
        if broken.kind == "elsewhere":
            before_ns = state.behind_ns if state.pending else item.header.written_ns
            state.behind_ns = min(before_ns, item.header.written_ns)
            held = {**state.unsure, **state.pending}  # these go on, and cover what this break would declare
            rest = {key: mark for key, mark in marks.items() if key not in held}
            gaps, going_on = pending_gaps(rest, rows, broken.reason, item.position, self._written_ns, origin)
            state.unsure = {key: gap for key, gap in state.unsure.items() if key in state.pending}
            for key, gap in held.items():
                own = marks[key].gap if key in marks else None
                if own is not None and own.gap_id != gap.gap_id:  # its recorder does not know it any more
                    state.unsure[key] = own
            state.pending = {**held, **going_on}
            return gaps
        state.unsure |= {key: mark.gap for key, mark in marks.items() if mark.gap is not None}
        starts = {key: row.ts_recv_ns for key, row in rows.items()}
        before = CorruptRange(item.position, broken.reason, list(marks.values()), self._written_ns, starts)
        return missing_gaps(before, item.header, origin)

    def _doubt_forgotten(self, header: BlockHeader) -> None:
        """Note open gaps that a new start of the recorder does not know: blocks were damaged after they were loaded."""
        state = self._state
        marks: dict[StreamKey, StreamCheckpoint] = {(mark.symbol, mark.channel): mark for mark in header.checkpoints}
        for key, before in state.marks.items():
            mark = marks.get(key)
            if before.gap is None or (mark is not None and _goes_on(before.gap, mark)):
                continue
            if key not in state.pending:
                state.unsure[key] = before.gap

    def _accept(self, draft: _Draft, item: StoredBlock) -> None:
        header, marks = item.header, self._state.marks
        if item.incarnation != self._history.head:
            self._state.sessions_unsure = True  # its recorder may have lost what it knew of a session
        if header.checkpoint:  # it names every stream
            self._exact = self._changed = True
            marks.clear()
            if self._state.sessions_unsure:
                draft.alive = set()
                self._state.sessions_unsure = False
                if header.sessions:  # their own rows may have been in a loss
                    item.parts.append(self._session_part(header.sessions))
        if draft.alive is not None:
            draft.alive |= {session.session_id for session in header.sessions}
        for mark in header.checkpoints:
            before = marks.get((mark.symbol, mark.channel))
            if before is None or before.watched != mark.watched or before.gap != mark.gap:
                self._changed = True
            marks[mark.symbol, mark.channel] = mark
        self._history.loaded(item.incarnation, item.seq)
        self._written_ns = header.written_ns
        draft.blocks.append(item)

    def _finish(self, draft: _Draft, end: Position) -> Batch | None:
        name, now_s = self.reader.folder.name, time.monotonic()
        for found in draft.damage:
            _log.error("journal.damaged", journal=name, reason=found.reason,
                       segment=found.position.segment, offset=found.position.offset)  # fmt: skip
            self._found.append((found.reason, now_s))
        if draft.repeated:
            _log.warning("journal.repeated", journal=name, blocks=draft.repeated, action="they are loaded once")
        if not draft.blocks and (end == self.place or self.stored is None):
            return None
        state: bytes | None = None
        if self._changed or now_s - self._encoded_s >= _STATE_EVERY_S:
            state = encode_state(self._state)
            self._changed, self._encoded_s = False, now_s
        return Batch(
            self.reader.journal_id,
            self.reader.recorder,
            self.stored,
            end,
            draft.blocks,
            draft.damage,
            self._history.head,
            self._written_ns,
            state,
            draft.breaks,
            None if draft.alive is None else EndedSessions(self.reader.recorder, sorted(draft.alive), _SESSION_LOST),
            draft.blocks[0].header.written_ns if draft.blocks else 0,
            draft.replaces if draft.blocks else "",
        )

    def _recall(self, end: Position) -> None:
        """Read the state of every stream at the last block loaded, where the journal still has that block."""
        if self._exact or self._history.replaces:
            return
        places = [end]
        if end.offset <= FILE_HEADER.size:
            places = [Position(number, 1 << 62) for number in segments(self.reader.folder) if number < end.segment][-1:]
        for place in places:
            marks, last = self.reader.recall(place)
            if last is not None and self._is_head(last):
                self._state.marks, self._exact = marks, True

    def _is_head(self, item: StoredBlock) -> bool:
        history = self._history
        return item.incarnation == history.head and history.last.get(item.incarnation) == item.seq

    def _ends(self, item: StoredBlock) -> list[Gap]:
        """Return the ends of gaps that this block shows to be over and whose own end is lost."""
        ends = []
        state, written_ns = self._state, item.header.written_ns
        for mark in item.header.checkpoints:
            key = (mark.symbol, mark.channel)
            gap = state.unsure.pop(key, None)
            if gap is not None and not _goes_on(gap, mark):
                ends.append(ended_in_damage(gap, written_ns, mark))
            pending = state.pending.get(key)
            if pending is None:
                continue
            ended = (
                None if _goes_on(pending, mark) else ended_by_data(pending, mark, self._brought(item, mark), written_ns)
            )
            if ended is not None or _goes_on(pending, mark):  # where its recorder has it too, that one ends it
                del state.pending[key]
                self._changed = True
            if ended is not None:
                ends.append(ended)
        return ends

    def _drop_superseded(self, item: StoredBlock) -> None:
        """Remove those gaps of a block that begin where rows are stored, and that a pending gap declares exactly."""
        state, venue = self._state, self.reader.venue
        pending: dict[tuple[int, str], Gap] = {}
        for gap in state.pending.values():
            pending[instrument_id(venue, gap.symbol), gap.channel] = gap
        for part in [part for part in item.parts if part.table == "gap"]:
            kept = []
            for row in decode.split(part.data):
                values = dict(zip(part.columns, decode.fields(row), strict=True))
                gap_id = decode.number(values["gap_id"])
                one = pending.get((decode.number(values["instrument_id"]), values["channel"][4:].decode()))
                began_us = decode.number(values["started_at"]) + scalars.PG_EPOCH_US
                if (
                    one is not None
                    and gap_id not in state.superseded
                    and supersedes(one, state.behind_ns, gap_id, began_us)
                ):
                    state.superseded.add(gap_id)
                    self._changed = True
                if gap_id not in state.superseded:
                    kept.append(row)
            item.parts.remove(part)
            if kept:
                item.parts.append(Part(part.table, part.columns, len(kept), b"".join(kept), part.days))

    def _brought(self, item: StoredBlock, mark: StreamCheckpoint) -> bool:
        """Return whether a block has data of a stream."""
        if mark.first_id is not None or mark.first_ts_event_ns is not None:
            return True
        # Data without number and time, such as the snapshot of a book: the stream was subscribed in an earlier block.
        before = self._state.marks.get((mark.symbol, mark.channel))
        here = any(section.table == mark.channel for section in item.header.sections)
        return here and before is not None and before.watched and before.session_id == mark.session_id

    @staticmethod
    def _session_part(sessions: Sequence[SessionRow]) -> Part:
        return Part("session", encode.COLUMNS["session"], len(sessions), encode.encode_sessions(sessions), ())

    def _gap_part(self, gaps: Sequence[Gap]) -> Part:
        ids = {gap.symbol: instrument_id(self.reader.venue, gap.symbol) for gap in gaps}
        return Part("gap", encode.COLUMNS["gap"], len(gaps), encode.encode_gaps(gaps, ids), ())


def _goes_on(gap: Gap, mark: StreamCheckpoint) -> bool:
    return mark.gap is not None and mark.gap.gap_id == gap.gap_id
