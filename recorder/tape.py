"""Between the links and the journal: what arrived since the last flush, and the flush that makes it a block.

Each link fills a Batch of its own and hands it over when it has taken in a chunk; one thread turns all
batches into one block. Memory is bounded: above `pending_mb` a link waits a moment, then sheds, and what
is shed is a gap.
"""

import hashlib
import threading
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import msgspec

from recorder import rows
from recorder.block import BlockHeader, Mark, Receipt, Run, Section, counted, encode_frames
from recorder.clock import Clock
from recorder.continuity import Continuity
from recorder.errors import JournalFull
from recorder.events import Book, BookAudit, Quote, Session, Trade
from recorder.instruments import instrument_id
from recorder.journal import Journal
from recorder.log import get_logger
from recorder.position import Position
from recorder.timestamps import NS_PER_DAY

_URGENT_BYTES = 1 << 18
_SAMPLE = 1024
_WAIT_FOR_ROOM_S = 1.0

_log = get_logger(__name__)


class Quarantined(msgspec.Struct, gc=False):
    """A frame nothing could be made of."""

    item: int  # its place among the frames of the batch
    symbol: str | None
    ts_recv_ns: int
    reason: str
    sample: bytes
    payload_sha256: bytes


class Rows:
    """Encoded rows of one table."""

    __slots__ = ("count", "data", "days")

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.count = 0
        self.days: set[int] = set()

    def add(self, data: bytes, count: int, days: Iterable[int]) -> None:
        """Take in encoded rows."""
        self.data.append(data)
        self.count += count
        self.days.update(days)

    def extend(self, other: "Rows") -> None:
        """Take in another's rows."""
        self.data += other.data
        self.count += other.count
        self.days |= other.days


class Batch:
    """What one session received since the last flush.

    Rows are encoded as soon as a chunk is decoded, while it is in the processor's cache; encoding them at the
    flush cost a third more (tests/bench).
    """

    __slots__ = ("audits", "book", "first_seq", "frames", "last_ns", "lengths", "quarantined", "quote", "receipts",
                 "session_id", "sessions", "size", "totals", "trade")  # fmt: skip

    def __init__(self, session_id: int, first_seq: int) -> None:
        self.session_id = session_id
        self.first_seq = first_seq
        self.frames: list[bytes] = []  # several frames in each, one after the other
        self.lengths = array("I")  # of each frame
        self.receipts: list[Receipt] = []
        self.trade, self.quote, self.book = Rows(), Rows(), Rows()
        self.quarantined: list[Quarantined] = []
        self.sessions: list[Session] = []
        self.audits: list[BookAudit] = []
        self.last_ns = 0
        self.totals = (0, 0, 0, 0, 0)  # of the session: bytes, trades, quotes, books, quarantined
        self.size = 0  # bytes of memory, about

    def add_frames(self, frames: Sequence[bytes], ts_ns: int) -> int:
        """Take in frames that came together; returns their bytes."""
        joined = b"".join(frames)
        self.frames.append(joined)
        self.lengths.extend(map(len, frames))
        self.receipts.append((ts_ns, len(frames)))
        self.size += len(joined)
        return len(joined)

    def extend(self, other: "Batch") -> None:
        """Take in a later batch of the same session."""
        offset = len(self.lengths)
        for item in other.quarantined:
            item.item += offset
        self.quarantined += other.quarantined
        self.frames += other.frames
        self.lengths += other.lengths
        self.receipts += other.receipts
        self.trade.extend(other.trade)
        self.quote.extend(other.quote)
        self.book.extend(other.book)
        self.sessions += other.sessions
        self.audits += other.audits
        self.last_ns = max(self.last_ns, other.last_ns)
        self.totals = other.totals
        self.size += other.size


class Instruments(dict[str, int]):
    """symbol -> instrument_id of one venue; remembers which are new, so that their names are stored too."""

    def __init__(self, venue: str) -> None:
        super().__init__()
        self.venue = venue
        self.fresh: list[tuple[int, str, str]] = []

    def __missing__(self, symbol: str) -> int:
        number = self[symbol] = instrument_id(self.venue, symbol)
        self.fresh.append((number, self.venue, symbol))
        return number


class Tape:
    """The pending batches of all links of a recorder, their shared continuity, and the flush.

    Attributes:
        lock: Held while pending batches or the continuity are touched.
        shed_frames: Frames received and not kept, each inside a declared gap.
    """

    def __init__(self, journal: Journal, continuity: Continuity, venue: str, pending_bytes: int, clock: Clock) -> None:
        self.lock = threading.Lock()
        self.continuity = continuity
        self.shed_frames = 0
        self.blocks = 0
        self.full = False  # the disk is at its reserve
        self._journal = journal
        self._clock = clock
        self._limit = pending_bytes
        self._ids = Instruments(venue)
        self._books = rows.BookEncoder()
        self._pending: list[Batch] = []
        self._size = 0
        self._room = threading.Condition(self.lock)
        self._filled = threading.Event()
        self._urgent = threading.Event()
        self._flushing = threading.Lock()  # one flush at a time: the thread's, or the one a link asks for
        self._live: dict[int, Session] = {}  # sessions that have not ended, as the journal has them
        self._refused: list[Batch] = []  # rows without frames that a full disk did not take; they are few

    # ---- the links' side --------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Bytes of frames not yet in the journal."""
        return self._size

    def room(self) -> bool:
        """Whether a link may hand over more; waits a moment for the flush to catch up before it says no."""
        if self.full:
            return False
        if self._size < self._limit:
            return True
        with self._room:
            return self._room.wait_for(lambda: self._size < self._limit, _WAIT_FOR_ROOM_S)

    def encode(
        self, batch: Batch, trades: Sequence[Trade], quotes: Sequence[Quote], books: Sequence[Book], ts_ns: int
    ) -> None:
        """Encode what a chunk held into its batch. The caller holds `lock`."""
        ids, day = self._ids, (ts_ns // NS_PER_DAY,)
        if trades:
            days = {trade.ts_event_ns // NS_PER_DAY for trade in trades}
            batch.trade.add(rows.encode_trades(trades, ids), len(trades), days)
        if quotes:
            batch.quote.add(rows.encode_quotes(quotes, ids, batch.session_id), len(quotes), day)
        if books:
            encoded = self._books.encode(books, ids, batch.session_id)
            batch.book.add(encoded, len(books), day)
            batch.size += len(encoded)

    def close_sessions(self, sessions: Iterable[Session], now_ns: int) -> None:
        """Say of the sessions of an earlier process that they are over; what they counted is known exactly."""
        with self.lock:
            for session in sessions:
                batch = Batch(session.session_id, session.frames + 1)
                batch.last_ns = session.last_frame_ns or session.started_ns
                batch.totals = session.totals
                ended_ns = min(batch.last_ns, now_ns)
                reason = "the recorder ended without a word"
                batch.sessions = [
                    msgspec.structs.replace(
                        session, ended_ns=ended_ns, end_reason=reason, revision=session.revision + 1
                    )
                ]
                self.add(batch)

    def add(self, batch: Batch) -> None:
        """Hand a batch over. The caller holds `lock`, and has told `continuity` of its events."""
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

    def touch(self) -> None:
        """Something besides frames changed (a gap, a subscription): flush soon."""
        self._filled.set()

    # ---- the flush --------------------------------------------------------------------------------------

    def flush_loop(self, flush_s: float) -> Callable[[threading.Event], None]:
        """A part that flushes until it is told to stop, then once more."""

        def body(stop: threading.Event) -> None:
            while not stop.is_set():
                if self._filled.wait(0.5):
                    self._urgent.wait(flush_s)
                    self.flush()
            self.flush()

        return body

    def sync_loop(self, sync_s: float) -> Callable[[threading.Event], None]:
        """A part that brings the journal to the disk until it is told to stop."""

        def body(stop: threading.Event) -> None:
            while not stop.wait(sync_s):
                self._journal.sync()

        return body

    def flush(self) -> bool:
        """Write everything pending as one block.

        Returns:
            Whether the journal took it; False when the disk is full, and what had to go is declared.

        Raises:
            JournalError: the disk failed; the process must end.
        """
        with self._flushing:
            try:
                position = self._journal.next_position(self._checkpoint)
            except JournalFull as error:
                self._shed(error)
                return False
            if self.full:
                self.full = False
                _log.warning("journal.resumed", journal=self._journal.name, shed_frames=self.shed_frames)
            with self.lock:
                self._filled.clear()
                self._urgent.clear()
                batches, self._pending, self._size = self._pending, [], 0
                batches, self._refused = self._refused + batches, []
                gaps = self.continuity.take_gaps()
                marks = self.continuity.marks(everything=False)
                self._room.notify_all()
            if not (batches or gaps or marks):
                return True
            sections = self._sections(batches, position)
            if gaps:
                sections.append(self._journal.section("gap", len(gaps), rows.encode_gaps(gaps, self._ids), ()))
            now_ns = self._clock.wall_ns()
            with self.lock:  # last: the encoders above are what finds them
                fresh, self._ids.fresh = self._ids.fresh, []
            if fresh:
                encoded = rows.encode_instruments(fresh, now_ns)
                sections.append(self._journal.section("instrument", len(fresh), encoded, ()))
            sessions = [session for batch in batches for session in batch.sessions]
            runs = [
                Run(batch.session_id, batch.first_seq, len(batch.lengths), batch.last_ns, batch.totals)
                for batch in batches
            ]
            try:
                self._journal.append(BlockHeader(now_ns, runs, [], marks, sessions), sections)
            except JournalFull as error:
                with self.lock:
                    self._pending = batches + self._pending
                    self.continuity.give_back(gaps, marks)
                    self._ids.clear()  # their names were in the block that failed
                self._shed(error)
                return False
            self.blocks += 1
            for session in sessions:
                self._live[session.session_id] = session
                if session.ended_ns is not None:
                    del self._live[session.session_id]
            for run in runs:
                if run.session_id in self._live:
                    self._live[run.session_id] = counted(self._live[run.session_id], run)
            return True

    def _checkpoint(self) -> tuple[list[Mark], list[Session]]:
        with self.lock:
            return self.continuity.marks(everything=True), list(self._live.values())

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
        quarantined = self._quarantine(batches, position)
        if quarantined:
            sections.append(section("quarantine", len(quarantined), b"".join(quarantined), ()))
        sessions = [session for batch in batches for session in batch.sessions]
        if sessions:
            sections.append(section("session", len(sessions), rows.encode_sessions(sessions), ()))
        audits = [audit for batch in batches for audit in batch.audits]
        if audits:
            sections.append(section("book_audit", len(audits), rows.encode_audits(audits, ids), ()))
        return sections

    def _quarantine(self, batches: Iterable[Batch], position: Position) -> list[bytes]:
        encoded = []
        offset = 0
        for batch in batches:
            encoded += [
                rows.tuple_of(
                    rows.text(self._journal.journal_id), rows.int4(position.segment), rows.int8(position.offset),
                    rows.int4(offset + item.item), rows.text("frame"), rows.text(None),
                    rows.int8(self._ids[item.symbol] if item.symbol else None), rows.int8(batch.session_id),
                    rows.instant(item.ts_recv_ns), rows.text(item.reason), rows.binary(item.sample),
                    rows.binary(item.payload_sha256),
                )
                for item in batch.quarantined
            ]  # fmt: skip
            offset += len(batch.lengths)
        return encoded

    # ---- a full disk --------------------------------------------------------------------------------------

    def _shed(self, error: JournalFull) -> None:
        """Let go of the frames that wait; keep what declares their absence."""
        with self.lock:
            batches, self._pending, self._size = self._pending, [], 0
            self._filled.clear()
            self._urgent.clear()
            for batch in batches:
                self.shed_frames += len(batch.lengths)
                if batch.receipts:
                    self.continuity.shed(batch.session_id, "disk_full", batch.receipts[0][0])
                if batch.sessions or batch.audits:
                    bare = Batch(batch.session_id, batch.first_seq)
                    bare.sessions, bare.audits, bare.last_ns = batch.sessions, batch.audits, batch.last_ns
                    self._refused.append(bare)
            self._room.notify_all()
        if not self.full:
            self.full = True
            _log.error("journal.full", journal=self._journal.name, error=str(error), action="shedding, gaps declared")


def quarantined(item: int, symbol: str | None, ts_recv_ns: int, reason: str, payload: bytes) -> Quarantined:
    """The record of a frame nothing could be made of."""
    return Quarantined(item, symbol, ts_recv_ns, reason, payload[:_SAMPLE], hashlib.sha256(payload).digest())
