"""The write buffer between the links and the journal, and the flush that turns its content into a block.

Each link fills a batch of its own and adds it when a chunk of frames is decoded; one thread turns all batches into
one block. Memory is bounded: above `pending_mb` a link waits a moment, then sheds frames, and a gap declares them.
"""

import contextlib
import threading
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain
from types import TracebackType

import msgspec

from recorder.capture.batch import Batch, Instruments, Rows, quarantine_rows
from recorder.capture.continuity import Continuity
from recorder.capture.handover.state import RowTails, given_up
from recorder.clock import Clock
from recorder.errors import JournalError, JournalFull
from recorder.events import Book, Gap, GapCause, Quote, SessionRow, Stream, Trade, WitnessRow
from recorder.journal.block import (
    BlockHeader,
    Run,
    Section,
    StreamCheckpoint,
    counted,
    encode_frames,
    note_checkpoints,
)
from recorder.journal.writer import Journal
from recorder.pgcopy import encode
from recorder.position import Position
from recorder.process.log import get_logger
from recorder.timestamps import NS_PER_DAY

_URGENT_BYTES = 1 << 19
_WAIT_FOR_ROOM_S = 1.0
_WITNESSES_MAX = 1000  # rows that wait while the disk is full
_STEP_NS = 500_000_000  # a clock that moves by more than this against the monotonic one was set

_log = get_logger(__name__)


class WriteBuffer:
    """The pending batches of all links of a recorder, the continuity of their streams, and the flush.

    Both change together, under one lock: a block must hold exactly the rows that its checkpoints describe. A session
    that decodes a chunk holds the lock for the whole chunk:

        with buffer as continuity:
            ...  # account for the events in `continuity`
            buffer.encode(batch, trades, quotes, books, ts_ns)
            buffer.add(batch)

    Every other method takes the lock itself.

    Attributes:
        shed_frames: Frames received and not kept, each inside a declared gap.
        blocks: Blocks written.
        full: Whether the disk is at its reserve.
        set_back_ns: By how much our clock was set back since the process began.
        owns: Whether this process records. Before it takes over and after its end nothing is accepted and written.
        tails: Notes the newest rows while a successor waits.
    """

    def __init__(
        self, journal: Journal, continuity: Continuity, venue: str, pending_bytes: int, clock: Clock, *,
        owns: bool = True,
    ) -> None:  # fmt: skip
        self.owns = owns
        self.tails: RowTails | None = None
        self._unclaimed: set[Stream] = set()  # of the process that we take over from
        self.shed_frames = 0
        self.blocks = 0
        self.full = False
        self.set_back_ns = 0
        self._lock = threading.Lock()
        self._continuity = continuity
        self._journal = journal
        self._clock = clock
        self._wall_ahead_ns = self._wall_ahead()
        self._limit = pending_bytes
        self._ids = Instruments(venue)
        self._books = encode.BookEncoder()
        self._pending: list[Batch] = []
        self._size = 0
        self._room = threading.Condition(self._lock)
        self._filled = threading.Event()
        self._urgent = threading.Event()
        self._flushing = threading.Lock()  # one flush at a time: by the flush thread, or by a link that needs one
        # Sessions that have not ended, as the journal has them; those of an earlier process too, until they are closed.
        self._live = {session.session_id: session for session in journal.recovered.sessions}
        # Streams as the journal has them: a checkpoint must not know what is pending, which a crash may still lose.
        self._stored: dict[tuple[str, str], StreamCheckpoint] = {}
        note_checkpoints(self._stored, journal.recovered.checkpoints)
        self._witnesses: list[WitnessRow] = []
        self._refused: list[Batch] = []  # rows without frames that a full disk did not take; they are few

    def __enter__(self) -> Continuity:
        self._lock.acquire()
        return self._continuity

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._lock.release()

    # ---- while a session holds the buffer -----------------------------------------------------------------

    def encode(
        self, batch: Batch, trades: Sequence[Trade], quotes: Sequence[Quote], books: Sequence[Book], ts_ns: int
    ) -> None:
        """Encode the events of a chunk into its batch."""
        ids, day = self._ids, (ts_ns // NS_PER_DAY,)
        if trades:
            days = {trade.ts_event_ns // NS_PER_DAY for trade in trades}
            batch.trade.add(encode.encode_trades(trades, ids), len(trades), days)
        if self.tails is not None and self.owns:
            self.tails.note("quote", quotes)
            self.tails.note("book", books)
        if quotes:
            batch.quote.add(encode.encode_quotes(quotes, ids, batch.session_id), len(quotes), day)
        if books:
            encoded = self._books.encode(books, ids, batch.session_id)
            batch.book.add(encoded, len(books), day)
            batch.size += len(encoded)

    def add(self, batch: Batch) -> None:
        """Add a batch whose events `continuity` has accounted for."""
        if not self.owns:
            return
        pending = self._pending
        self._size += batch.size
        if pending and pending[-1].session_id == batch.session_id:
            pending[-1].extend(batch)
        else:
            pending.append(batch)
        if not self._filled.is_set():
            self._filled.set()
        if self._size > _URGENT_BYTES:
            self._urgent.set()

    # ---- frames and sessions --------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames that are not yet in the journal."""
        return self._size

    def room(self) -> bool:
        """Return whether a link may add more; wait a moment for the flush to catch up before saying no."""
        if self.full:
            return False
        if self._size < self._limit:
            return True
        with self._room:
            return self._room.wait_for(lambda: self._size < self._limit, _WAIT_FOR_ROOM_S)

    def close_sessions(self, sessions: Iterable[SessionRow]) -> None:
        """Close sessions that a previous process left open; their counters come from the journal."""
        for session in sessions:
            batch = Batch(session.session_id, session.frames + 1, session.last_frame_ns or session.started_ns)
            batch.totals = session.totals
            # Both times are of the process that was killed, whose clock may have been set back or be ahead of ours.
            batch.sessions = [
                msgspec.structs.replace(
                    session,
                    started_ns=min(session.started_ns, batch.last_ns),
                    ended_ns=batch.last_ns,
                    end_reason="the recorder was killed",
                    revision=session.revision + 1,
                )
            ]
            with self._lock:
                self.add(batch)

    # ---- our clock ------------------------------------------------------------------------------------------

    def check_clock(self) -> None:
        """Notice that our clock was set back, and move the begin of open gaps along.

        A clock that was set forward changes nothing: a machine that was suspended looks the same, and what a venue sent
        meanwhile is in the gap only if its begin stays.
        """
        with self._lock:
            ahead_ns = self._wall_ahead()
            step_ns, self._wall_ahead_ns = ahead_ns - self._wall_ahead_ns, ahead_ns
            if step_ns < -_STEP_NS:
                self.set_back_ns -= step_ns
                self._continuity.clock_set(step_ns)
        if abs(step_ns) > _STEP_NS:
            _log.warning("clock.step", journal=self._journal.name, seconds=round(step_ns / 1e9, 3))

    def _wall_ahead(self) -> int:
        """Return by how much the wall clock is ahead of the monotonic one; only differences mean anything."""
        return self._clock.wall_ns() - int(self._clock.monotonic_s() * 1e9)

    # ---- streams ----------------------------------------------------------------------------------------------

    def watch(self, streams: Iterable[Stream], session_id: int, now_ns: int, *, predecessor_id: int | None) -> None:
        """Account for streams in a session from now on, except those that its predecessor still carries."""
        with self._lock:
            for stream in streams:
                if stream in self._unclaimed:
                    continue
                if predecessor_id is None or self._continuity.owner(stream) != predecessor_id:
                    self._continuity.watch(stream, session_id, now_ns)

    def unwatch(self, streams: Iterable[Stream], session_id: int, since_ns: int) -> None:
        """Note that subscriptions of a session ended; the range without data is a gap."""
        with self._lock:
            for stream in streams:
                if self._continuity.owner(stream) == session_id:
                    self._continuity.unwatch(stream, since_ns)
        self._flush_soon()

    def declare_lost(self, streams: Iterable[Stream], cause: GapCause, since_ns: int, session_id: int) -> None:
        """Declare that streams of a session may be missing data since a time."""
        with self._lock:
            self._continuity.lost(streams, cause, since_ns, session_id)
        self._flush_soon()

    def declare_interrupted(
        self, streams: Iterable[Stream], since_ns: int, session_id: int, *, books_unasked: bool
    ) -> None:
        """Declare that streams of a session are being unsubscribed and subscribed again."""
        with self._lock:
            self._continuity.interrupted(streams, since_ns, session_id, books_unasked=books_unasked)
        self._flush_soon()

    def declare_silent(self, streams: Iterable[Stream], since_ns: int) -> None:
        """Declare that streams may be missing data since a time: they are silent beyond doubt."""
        with self._lock:
            self._continuity.silent(streams, since_ns)
        self._flush_soon()

    def declare_unplaced(self, streams: Sequence[Stream], now_ns: int) -> None:
        """Declare that streams are subscribed and that no connection has room for them."""
        with self._lock:
            for stream in streams:
                self._continuity.watch(stream, None, now_ns)
            self._continuity.lost(streams, "overflow", now_ns, None)
        self._flush_soon()

    def carries(self, stream: Stream, session_id: int) -> bool:
        """Return whether a stream belongs to a session."""
        with self._lock:
            return self._continuity.owner(stream) == session_id

    def books_with_gap(self, streams: Iterable[Stream], session_id: int) -> dict[str, bool]:
        """Return, for each book among some streams of a session, whether it has an open gap; by symbol."""
        states = self._continuity.books
        with self._lock:
            return {
                stream.symbol: state.gap is not None
                for stream in streams
                if stream.channel == "book"
                and (state := states.get(stream.symbol)) is not None
                and state.session_id == session_id
            }

    def active_streams(self) -> list[Stream]:
        """Return the watched streams that delivered something since the last call."""
        with self._lock:
            return self._continuity.active_streams()

    def newest(self, stream: Stream) -> tuple[int | None, int | None]:
        """Return the newest id of a stream and the venue's time of its newest data; None where there is none."""
        with self._lock:
            state = self._continuity.state(stream)
            return (None, None) if state is None else (state.last_id, state.last_ts_event_ns)

    def add_witness(self, row: WitnessRow) -> None:
        """Add what a venue's REST service said about a stream."""
        with self._lock:
            self._witnesses = [*self._witnesses[-_WITNESSES_MAX:], row]
        self._flush_soon()

    def open_gaps(self) -> int:
        """Return how many watched streams have a gap now."""
        with self._lock:
            return self._continuity.open_gaps()

    def oldest_gap_ns(self, ignored: Container[str]) -> int | None:
        """Return when the oldest gap began, as `Continuity.oldest_gap_ns` does."""
        with self._lock:
            return self._continuity.oldest_gap_ns(ignored)

    def _flush_soon(self) -> None:
        """Have a flush even though no frame arrived: a gap or a subscription changed."""
        self._filled.set()

    # ---- the flush --------------------------------------------------------------------------------------

    def flush_loop(self, flush_s: float) -> Callable[[threading.Event], None]:
        """Return a part that flushes until it is stopped, then once more."""

        def body(stop: threading.Event) -> None:
            while not stop.is_set():
                if self._filled.wait(0.5):
                    self._urgent.wait(flush_s)
                    self.flush()
                self.check_clock()
            self.flush()

        return body

    def sync_loop(self, sync_s: float) -> Callable[[threading.Event], None]:
        """Return a part that syncs the journal to the disk until it is stopped."""

        def body(stop: threading.Event) -> None:
            while not stop.wait(sync_s):
                self._journal.sync()

        return body

    def flush(self) -> bool:
        """Write everything pending as one block.

        Returns:
            Whether the journal took it. False when the disk is full; what was dropped then is declared.

        Raises:
            JournalError: the disk failed; the process must end.
        """
        with self._flushing:
            return self._flush() if self.owns else True

    def _flush(self, *, last: bool = False) -> bool:
        try:
            position = self._journal.next_position(self._checkpoint)
        except JournalFull as error:
            self._shed(error)
            return False
        if self.full:
            self.full = False
            _log.warning("journal.resumed", journal=self._journal.name, shed_frames=self.shed_frames)
        with self._lock:
            self.owns = not last
            self._filled.clear()
            self._urgent.clear()
            batches, self._pending, self._size = self._pending, [], 0
            batches, self._refused = self._refused + batches, []
            witnesses, self._witnesses = self._witnesses, []
            gaps = self._continuity.take_gaps()
            checkpoints = self._continuity.take_checkpoints()
            self._room.notify_all()
        if not (batches or gaps or checkpoints or witnesses):
            return True
        return self._write(position, batches, gaps, checkpoints, witnesses)

    # ---- from one process to another --------------------------------------------------------------------------

    def hand_over(self, state: Callable[[list[StreamCheckpoint]], bytes]) -> None:
        """Stop: write what is pending, and a last block that offers the streams to a successor.

        Args:
            state: Returns the state of the last block, given the checkpoints of all streams.

        Raises:
            JournalError: the disk is full or failed; the process must end.
        """
        with self._flushing:
            if not self._flush(last=True):
                raise JournalError(f"the journal {self._journal.name} does not take what is pending")
            checkpoints, now_ns = list(self._stored.values()), self._clock.wall_ns()
            sessions = [
                msgspec.structs.replace(one, ended_ns=now_ns, end_reason="handed over", revision=one.revision + 1)
                for one in self._live.values()
            ]
            section = self._journal.section("session", len(sessions), encode.encode_sessions(sessions), ())
            left = [given_up(one) for one in checkpoints]
            header = BlockHeader(now_ns, [], [], left, sessions, state=state(checkpoints))
            self._journal.append(header, [section] if sessions else [])
            self._journal.sync()

    @contextlib.contextmanager
    def taking_over(self, checkpoints: Sequence[StreamCheckpoint]) -> Iterator[set[Stream]]:
        """Continue the streams of another process, all in one block.

        Yields:
            Those that no session of ours has claimed yet.
        """
        with self._flushing:
            self._journal.next_position(self._checkpoint)  # a new segment names what our journal had
            with self._lock:
                self._unclaimed = self._continuity.take_over(checkpoints, self._clock.wall_ns())
                self._stored.clear()
                note_checkpoints(self._stored, checkpoints)
                self.owns = True
            limit, self._limit = self._limit, 1 << 62  # all that was kept belongs into this block
            yield self._unclaimed
            self._unclaimed = set()
            self._flush()
            self._limit = limit

    def _write(
        self,
        position: Position,
        batches: list[Batch],
        gaps: list[Gap],
        checkpoints: list[StreamCheckpoint],
        witnesses: list[WitnessRow],
    ) -> bool:
        sections = self._sections(batches, position)
        if witnesses:
            encoded = encode.encode_witnesses(witnesses, self._ids)
            sections.append(self._journal.section("witness", len(witnesses), encoded, ()))
        if gaps:  # twice, and names too: no later row repeats what a damaged section lost
            sections += [self._journal.section("gap", len(gaps), encode.encode_gaps(gaps, self._ids), ())] * 2
        now_ns = self._clock.wall_ns()
        with self._lock:  # last: the encoders above find the new names
            fresh, self._ids.fresh = self._ids.fresh, []
        if fresh:
            encoded = encode.encode_instruments(fresh, now_ns)
            sections += [self._journal.section("instrument", len(fresh), encoded, ())] * 2
        sessions = [session for batch in batches for session in batch.sessions]
        runs = [
            Run(batch.session_id, batch.first_seq, len(batch.lengths), batch.last_ns, batch.totals) for batch in batches
        ]
        try:
            self._journal.append(BlockHeader(now_ns, runs, [], checkpoints, sessions), sections)
        except JournalFull as error:
            with self._lock:
                self._pending = batches + self._pending
                self._witnesses = [*witnesses, *self._witnesses]
                self._continuity.give_back(gaps, checkpoints)
                self._ids.clear()  # their names were in the block that failed
            self._shed(error)
            return False
        self.blocks += 1
        note_checkpoints(self._stored, checkpoints)
        for session in sessions:
            self._live[session.session_id] = session
            if session.ended_ns is not None:
                del self._live[session.session_id]
        for run in runs:
            if run.session_id in self._live:
                self._live[run.session_id] = counted(self._live[run.session_id], run)
        return True

    def _checkpoint(self) -> tuple[list[StreamCheckpoint], list[SessionRow]]:
        stored = self._stored.values()
        checkpoints = [msgspec.structs.replace(one, first_id=None, first_ts_event_ns=None) for one in stored]
        return checkpoints, list(self._live.values())

    def _sections(self, batches: list[Batch], position: Position) -> list[tuple[Section, bytes]]:
        ids, section = self._ids, self._journal.section
        sections = []
        count = sum(len(batch.lengths) for batch in batches)
        if count:
            raw = encode_frames(
                chain.from_iterable(batch.frames for batch in batches),
                b"".join(batch.lengths.tobytes() for batch in batches),
                [receipt for batch in batches for receipt in batch.receipts],
            )
            sections.append(section("", count, raw, ()))
        for table in ("trade", "quote", "book"):
            together = Rows()
            for batch in batches:
                together.extend(getattr(batch, table))
            if together.count:
                days = tuple(sorted(together.days))
                sections.append(section(table, together.count, b"".join(together.data), days))
        quarantined = quarantine_rows(batches, self._journal.journal_id, position, ids)
        if quarantined:
            sections.append(section("quarantine", len(quarantined), b"".join(quarantined), ()))
        sessions = [session for batch in batches for session in batch.sessions]
        if sessions:
            sections.append(section("session", len(sessions), encode.encode_sessions(sessions), ()))
        audits = [audit for batch in batches for audit in batch.audits]
        if audits:
            sections.append(section("book_audit", len(audits), encode.encode_audits(audits, ids), ()))
        return sections

    # ---- a full disk --------------------------------------------------------------------------------------

    def _shed(self, error: JournalFull) -> None:
        """Drop the frames that wait; keep the rows that declare their absence."""
        with self._lock:
            batches, self._pending, self._size = self._pending, [], 0
            self._filled.clear()
            self._urgent.clear()
            for batch in batches:
                self.shed_frames += len(batch.lengths)
                if batch.receipts:
                    self._continuity.shed(batch.session_id, "disk_full", batch.receipts[0][0])
                if batch.sessions or batch.audits:
                    bare = Batch(batch.session_id, batch.first_seq, batch.last_ns)
                    bare.sessions, bare.audits = batch.sessions, batch.audits
                    self._refused.append(bare)
            self._room.notify_all()
        if not self.full:
            self.full = True
            _log.error("journal.full", journal=self._journal.name, error=str(error), action="shedding, gaps declared")
