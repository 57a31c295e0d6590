"""The journal of the poller: each answer before it is used, and the rows of a round with its line of the ledger.

An answer is a frame of the session of this process, in a block of its own. What a round made of its answers is one
later block: rows, the row of poll_run, and the state of the ledger. A kill leaves all of that block or nothing of it.
"""

import contextlib
import threading
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import msgspec

from recorder.clock import Clock
from recorder.errors import JournalError, JournalFull
from recorder.events import SessionRow
from recorder.journal.block import FILE_HEADER, BlockHeader, Run, Section, StreamCheckpoint, encode_frames
from recorder.journal.writer import Journal
from recorder.pgcopy.encode import encode_sessions
from recorder.pgcopy.polled import encode_rows
from recorder.poller.job import Kept, Mark
from recorder.poller.ledger import Ledger, Missed, OpenRound, Promise, State, new_id
from recorder.position import Position
from recorder.process.log import get_logger
from recorder.settings import JournalSettings

NAME = "poller"
"""Folder of the journal, and the venue of its sessions."""

_LEVEL = 1  # 250 books take a fifth of their JSON; level 3 takes as much, for three times the CPU
_FULL = "no space on the disk for its rows"
_RUNS_MAX = 100_000  # rows of the ledger that wait while the disk is full

_log = get_logger(__name__)


class Envelope(msgspec.Struct, array_like=True):
    """An answer as a frame of the journal; its time of receipt is that of the frame."""

    run_id: int
    job: str
    slot_ns: int
    service: str
    path: str
    request: bytes
    status: int
    body: bytes
    request_id: str

    def kept(self, received_ns: int) -> Kept:
        """Return the answer as a handler takes it."""
        return Kept(self.service, self.path, self.request, self.status, self.body, received_ns, self.request_id)


class RunRow(NamedTuple):
    """A row of poll_run, in the order of its columns."""

    run_id: int
    job: str
    slot: int
    slots: int
    state: str
    reason: str
    started_at: int | None = None
    duration_s: float | None = None
    rows: int = 0
    bytes: int = 0
    answers: int = 0
    attempts: int = 0
    odd: int = 0
    odd_samples: Sequence[str] = ()
    request_ids: Sequence[str] = ()
    traceback: str | None = None
    failures: Sequence[str] = ()


class Rows:
    """Encoded rows of one table."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.days: set[int] = set()  # since 1970, where the table is partitioned by day

    def add(self, encoded: bytes, day: int | None = None) -> None:
        """Add one row."""
        self.data.append(encoded)
        if day is not None:
            self.days.add(day)


_encode = msgspec.msgpack.Encoder().encode
decode_state = msgspec.msgpack.Decoder(State).decode
decode_envelope = msgspec.msgpack.Decoder(Envelope).decode


class PollJournal:
    """The journal and the ledger, which change together. Threads may share it.

    Attributes:
        lock: Held while the ledger is read or changed.
        ledger: The marks and the rounds that run.
        full: Whether the disk is at its reserve.
        blocks: Blocks written.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self.lock = threading.RLock()
        self.full = False
        self.blocks = 0
        self.journal = journal
        self._clock = clock
        recovered = journal.recovered
        self.ledger = Ledger(_state_of(recovered.state), recovered.written_ns)
        self.recovered_rounds = list(self.ledger.state.open.values())
        self.never = threading.Event()  # the stop of rounds that wait for nothing
        now_ns = clock.wall_ns()
        self._session = SessionRow(new_id(), NAME, NAME, 0, "", now_ns)
        # Rows that are not in the journal yet: of this session and those that a kill left open, and of the ledger.
        self._sessions = [*map(_closed, recovered.sessions), self._session]
        self._schedules: list[tuple[object, ...]] = []
        self._runs: list[RunRow] = []
        self._closed = False
        self._written_state = recovered.state  # as of the last block

    @classmethod
    def open(cls, folder: Path, settings: JournalSettings, clock: Clock) -> Self:
        """Open or create the journal in a folder of journals.

        Raises:
            ConfigError: another process holds it, or it cannot be written.
            JournalError: the disk fails, or the state of the last process cannot be read.
        """
        return cls(Journal.open(folder / NAME, NAME, settings, clock, level=_LEVEL), clock)

    @property
    def session_id(self) -> int:
        """The session of this process."""
        return self._session.session_id

    def answer(self, opened: OpenRound, kept: Kept, attempts: int) -> None:
        """Write an answer.

        Raises:
            JournalFull: the disk is at its reserve.
            JournalError: the disk failed.
        """
        payload = _encode(
            Envelope(
                opened.run_id, opened.job, opened.slot_ns, kept.service, kept.path, kept.request, kept.status,
                kept.body, kept.request_id,
            )
        )  # fmt: skip
        raw = encode_frames([payload], array("I", [len(payload)]).tobytes(), [(kept.received_ns, 1)])
        with self.lock:
            session = self._session
            totals = (session.bytes + len(payload), *session.totals[1:])
            run = Run(session.session_id, session.frames + 1, 1, kept.received_ns, totals)
            position = self._room()
            before = opened.first_segment, opened.answers, opened.bytes, opened.attempts
            opened.first_segment = opened.first_segment or position.segment
            opened.answers += 1
            opened.bytes += len(kept.body)
            opened.attempts += attempts
            try:
                self._write([run], [self.journal.section("", 1, raw, ())])
            except JournalError:
                opened.first_segment, opened.answers, opened.bytes, opened.attempts = before
                raise
            session.frames += 1
            session.bytes += len(payload)
            session.last_frame_ns = kept.received_ns

    def account(self, promises: Iterable[Promise] = (), missed: Iterable[Missed] = ()) -> None:
        """Write rows of the ledger; on a full disk they wait.

        Raises:
            JournalError: the disk failed.
        """
        with self.lock:
            self._schedules += [
                (one.job, one.since_ns, one.period_s, one.offset_s, self.session_id, one.continues) for one in promises
            ]
            for one in missed:
                _log.warning("poll.missed", job=one.job, slots=one.slots, reason=one.reason)
                self._add(RunRow(new_id(), one.job, one.slot_ns, one.slots, "missed", one.reason))
            self.flush()

    def finish(self, run: RunRow, rows: Mapping[str, Rows]) -> None:
        """Write the rows of a round and what became of it, as one block.

        Raises:
            JournalFull: the disk is at its reserve: the rows are lost, and the row of the ledger says so later.
            JournalError: the disk failed.
        """
        with self.lock:
            self.ledger.close(run.run_id)
            sections = [
                self.journal.section(table, len(of.data), b"".join(of.data), tuple(sorted(of.days)))
                for table, of in rows.items()
                if of.data
            ]
            self._add(run)
            try:
                self._room()
                self._write([], sections, [run.run_id])
            except JournalFull:
                self._runs[-1] = run._replace(state="failed", rows=0, reason=_FULL)
                raise

    def flush(self) -> None:
        """Write the rows of the ledger and of sessions that wait; on a full disk they wait on."""
        with self.lock:
            if self._schedules or self._runs or self._sessions:
                with contextlib.suppress(JournalFull):
                    self._room()
                    self._write([], [])

    def count_session(self) -> None:
        """Write how many answers the session has brought so far."""
        with self.lock:
            self._session.revision += 1
            self._sessions.append(msgspec.structs.replace(self._session))
            self.flush()

    def close(self, reason: str) -> None:
        """End the session, and release the journal."""
        with self.lock:
            session = self._session
            session.ended_ns = max(self._clock.wall_ns(), session.last_frame_ns or session.started_ns)
            session.end_reason = reason
            session.revision += 1
            self._sessions.append(session)
            self.flush()
            self._closed = True
            self.journal.close()

    def cut(self, jobs: Collection[str], note: Callable[[], None]) -> Mark | None:
        """Call a function while none of these jobs has an answer whose rows are not in the journal.

        Returns:
            The place of the next answer; everything before it is on the disk. None: there is such an answer.
        """
        with self.lock:
            if any(opened.answers and opened.job in jobs for opened in self.ledger.state.open.values()):
                return None
            note()
            at = self.journal.position
        self.sync()
        return Mark(self.journal.journal_id, at.segment, max(at.offset, FILE_HEADER.size))

    def sync(self) -> None:
        """Sync what is written to the disk."""
        self.journal.sync()

    def _add(self, run: RunRow) -> None:
        self._runs.append(run)
        del self._runs[:-_RUNS_MAX]

    def _room(self) -> Position:
        """Return where the next block will be.

        Raises:
            JournalFull, JournalError: as for `Journal.next_position`.
        """
        if self._closed:  # by the end of the program, which a round has outlived
            raise JournalError("the journal of the poller is closed")
        try:
            position = self.journal.next_position(self._checkpoint, self._written_state)
        except JournalFull as error:
            self._note_full(error)
            raise
        if self.full:
            self.full = False
            _log.warning("journal.resumed", journal=NAME)
        return position

    def _checkpoint(self) -> tuple[list[StreamCheckpoint], list[SessionRow]]:
        session = self._session
        return [], [] if session.ended_ns is not None else [msgspec.structs.replace(session)]

    def _write(self, runs: list[Run], sections: list[tuple[Section, bytes]], finished: Sequence[int] = ()) -> None:
        """Write a block with the rows that wait, and with the state of the ledger as it is now."""
        ledger = self.ledger.state
        state = _encode(State(ledger.marks, ledger.open, list(finished)))
        for table, rows in (("poll_schedule", self._schedules), ("poll_run", self._runs)):
            if rows:
                sections.append(self.journal.section(table, len(rows), encode_rows(table, rows), ()))
        sessions = [msgspec.structs.replace(session) for session in self._sessions]
        if sessions:
            sections.append(self.journal.section("session", len(sessions), encode_sessions(sessions), ()))
        try:
            self.journal.append(BlockHeader(self._clock.wall_ns(), runs, [], [], sessions, state=state), sections)
        except JournalFull as error:
            self._note_full(error)
            raise
        self.blocks += 1
        self._written_state = state
        self._schedules, self._runs, self._sessions = [], [], []

    def _note_full(self, error: JournalFull) -> None:
        if not self.full:
            self.full = True
            _log.error("journal.full", journal=NAME, error=str(error), action="answers are dropped, and slots fail")


def _state_of(encoded: bytes) -> State:
    if not encoded:
        return State()
    try:
        return decode_state(encoded)
    except msgspec.MsgspecError as error:
        raise JournalError(f"the state of the last poller cannot be read: {error}") from None


def _closed(session: SessionRow) -> SessionRow:
    """Return the row of a session whose process was killed; its counters come from the journal."""
    ended_ns = session.last_frame_ns or session.started_ns
    return msgspec.structs.replace(
        session,
        started_ns=min(session.started_ns, ended_ns),
        ended_ns=ended_ns,
        end_reason="the poller was killed",
        revision=session.revision + 1,
    )
