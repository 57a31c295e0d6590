"""Journalled frames decoded again with the adapter as it is now, beside the rows the journal holds of them.

Pure but for the reading of the journal. `store_replay.py` applies what is found; `cli/replay.py` shows it.
Nothing is kept but the sessions that live, so memory does not grow with the journal.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from recorder import rows
from recorder.block import BlockHeader, Frame
from recorder.damage import gaps_of_sections
from recorder.errors import ConfigError, DecodeError
from recorder.events import Book, Quote, Trade
from recorder.journal_reader import Damaged, JournalReader, StoredBlock
from recorder.overlap import NOTE, Note, Overlap
from recorder.position import Position
from recorder.tape import Instruments, Quarantined, quarantined
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.tuples import conform, fields, is_null, number, readable, split
from recorder.venues import venue_class
from recorder.venues.base import Conversation, Session

TABLES = ("trade", "quote", "book")
_DERIVED = {"", *TABLES, "quarantine", "instrument"}  # sections that decoding gives again
_WHOLE_JOURNAL = 1 << 62
_SESSION_FORGOTTEN_NS = 900 * 10**9  # a link without a frame for seconds is dead; this is far beyond
_CLOCK_STEP_NS = 3600 * 10**9  # a block may be older than its predecessor by a corrected clock


class Span(msgspec.Struct, frozen=True):
    """Consecutive frames of one session in a block, and the times of receipt between which they came."""

    session_id: int
    first_seq: int
    last_seq: int
    low_ns: int
    high_ns: int


class TableDiff(msgspec.Struct):
    """Rows of one table: as the journal has them against as they are decoded now."""

    same: int = 0
    changed: list[tuple[bytes, bytes]] = []  # old and new of what is recognised as one row
    only_now: list[bytes] = []
    no_longer: list[bytes] = []

    @property
    def differs(self) -> bool:
        """Whether anything but `same` was found."""
        return bool(self.changed or self.only_now or self.no_longer)


class Redone(msgspec.Struct):
    """One block decoded again.

    Attributes:
        now: Tuples of each table as the adapter makes them today.
        before: Tuples of each table as the journal has them; a table whose section is damaged is missing.
        diffs: The two, compared.
        unread: Frames that cannot be decoded now, by their number in the block.
        unread_before: Those that could not be when they were recorded.
        names: instrument_id -> symbol, of all rows on both sides and more; shared between blocks.
        restores: Gaps that a damaged section opened and its intact frames close.
        beyond: Damaged sections that no decoding brings back.
    """

    position: Position
    frames: int
    spans: list[Span]
    now: dict[str, bytes]
    before: dict[str, bytes]
    diffs: dict[str, TableDiff]
    unread: dict[int, Quarantined]
    unread_sessions: dict[int, int]  # item -> session_id
    unread_before: set[int]
    names: dict[int, str]
    seen_ns: int
    restores: list[int]
    beyond: list[str]
    fresh_sessions: int = 0  # sessions whose beginning the journal no longer has

    @property
    def differs(self) -> bool:
        """Whether the frames say anything else than what the journal has of them."""
        changed = any(diff.differs for diff in self.diffs.values())
        return changed or self.unread.keys() != self.unread_before or bool(self.restores)


class Skipped(msgspec.Struct, frozen=True):
    """Frames that are lost to a replay."""

    position: Position
    reason: str


class Replayer:
    """Decodes the blocks of one journal again, in order, each session with a decoder of its own."""

    def __init__(self, venue: str, new_session: Callable[[], Session], journal_id: str) -> None:
        """
        Args:
            venue: Whose frames they are.
            new_session: Gives the decoder of a new connection.
            journal_id: Identity of the journal.
        """
        self._venue = venue
        self._new_session = new_session
        self._journal_id = journal_id
        self._ids = Instruments(venue)
        self._names: dict[int, str] = {}
        self._books = rows.BookEncoder()
        self._sessions: dict[int, _Replayed] = {}

    def block(self, stored: StoredBlock, frames: Sequence[Frame]) -> Redone:
        """Decode one block again.

        Args:
            stored: The block as it was read.
            frames: Its frames, all of them.
        """
        unread: dict[int, Quarantined] = {}
        unread_sessions: dict[int, int] = {}
        spans: list[Span] = []
        made: dict[str, list[bytes]] = {table: [] for table in TABLES}
        counts: Counter[str] = Counter()
        fresh = first = 0
        for run in stored.header.runs:
            chunk = frames[first : first + run.count]
            if not chunk:
                continue
            fresh += run.session_id not in self._sessions and run.first_seq != 1
            decoded = self._decode(self._session(run.session_id, chunk[-1].ts_recv_ns), chunk)
            for item, refused in decoded.refused:
                unread[first + item] = refused
                unread_sessions[first + item] = run.session_id
            made["trade"].append(rows.encode_trades(decoded.trades, self._ids))
            made["quote"].append(rows.encode_quotes(decoded.quotes, self._ids, run.session_id))
            made["book"].append(self._books.encode(decoded.books, self._ids, run.session_id))
            counts.update(trade=len(decoded.trades), quote=len(decoded.quotes), book=len(decoded.books))
            times = [frame.ts_recv_ns for frame in chunk]
            spans.append(Span(run.session_id, chunk[0].seq, chunk[-1].seq, min(times), max(times)))
            first += run.count
        before, unread_before = _before(stored)
        now = {table: b"".join(data) for table, data in made.items()}
        diffs = {
            table: TableDiff(counts[table])
            if before.get(table) == now[table]
            else compare(table, before.get(table, b""), now[table])
            for table in TABLES
        }
        self._forget(stored)
        # Symbols an older adapter told are among the marks.
        for mark in stored.header.marks:
            self._names[self._ids[mark.symbol]] = mark.symbol
        if len(self._names) < len(self._ids):
            self._names |= {number_: symbol for symbol, number_ in self._ids.items()}
        beyond = [table for table in stored.lost if table not in _DERIVED]
        return Redone(
            stored.position, len(frames), spans, now, before, diffs, unread, unread_sessions, unread_before,
            self._names, stored.header.written_ns,
            [] if unread else self._restores(stored.position, stored.header, stored.lost), beyond, fresh,
        )  # fmt: skip

    def _session(self, session_id: int, last_ns: int) -> "_Replayed":
        known = self._sessions.get(session_id)
        if known is None:
            known = self._sessions[session_id] = _Replayed(self._new_session())
        known.last_ns = last_ns
        return known

    def _decode(self, session: "_Replayed", frames: Sequence[Frame]) -> "_Decoded":
        """The same rules as recorder/intake.py, without what is only for a live connection."""
        decoded = _Decoded()
        decoder = session.decoder
        for item, frame in enumerate(frames):
            at_ns = frame.ts_recv_ns
            try:
                if frame.payload.startswith(NOTE):
                    session.follow(Note.decode(frame.payload))
                    continue
                outputs = session.overlap.keep(decoder.decode(frame.payload, at_ns))
            except DecodeError as error:
                decoded.refuse(item, None, frame, str(error)[:500])
                continue
            except Exception as error:  # a fault of the adapter: it costs this frame, as it does while recording
                decoded.refuse(item, None, frame, f"fault in the adapter: {error!r}"[:500])
                continue
            for output in outputs:
                if isinstance(output, Book):
                    output.frame_seq = frame.seq
                    decoded.books.append(output)
                elif isinstance(output, Quote):
                    output.frame_seq = frame.seq
                    decoded.quotes.append(output)
                elif isinstance(output, Trade):
                    if EARLIEST_NS <= output.ts_event_ns <= at_ns + NS_PER_DAY:
                        decoded.trades.append(output)
                    else:
                        decoded.refuse(item, output.symbol, frame, "event time out of range")
        decoder.audits.clear()
        return decoded

    def _restores(self, position: Position, header: BlockHeader, lost: Iterable[str]) -> list[int]:
        tables = [table for table in lost if table in TABLES]
        return [gap.gap_id for gap in gaps_of_sections(position, header, tables, self._journal_id, header.written_ns)]

    def _forget(self, stored: StoredBlock) -> None:
        """Let go of sessions that ended, or whose recorder was killed."""
        for part in stored.parts:
            if part.table == "session":
                for row in split(part.data):
                    named = dict(zip(part.columns, fields(row), strict=True))
                    if not is_null(named["ended_at"]):
                        self._sessions.pop(number(named["session_id"]), None)
        limit_ns = stored.header.written_ns - _SESSION_FORGOTTEN_NS
        for session_id in [key for key, session in self._sessions.items() if session.last_ns < limit_ns]:
            del self._sessions[session_id]


class _Replayed:
    """A session being decoded again."""

    def __init__(self, decoder: Session) -> None:
        self.decoder = decoder
        self.overlap = Overlap()
        self.last_ns = 0  # receipt of its last frame

    def follow(self, note: Note) -> None:
        """Do what the note says was done then."""
        self.overlap.take(note)
        if isinstance(self.decoder, Conversation):  # what it would send was sent then
            if note.tapedeck == "asked":
                self.decoder.subscribe(note.named)
            elif note.tapedeck == "dropped":
                self.decoder.unsubscribe(note.named)


class _Decoded:
    """What the frames of one run held."""

    def __init__(self) -> None:
        self.trades: list[Trade] = []
        self.quotes: list[Quote] = []
        self.books: list[Book] = []
        self.refused: list[tuple[int, Quarantined]] = []

    def refuse(self, item: int, symbol: str | None, frame: Frame, reason: str) -> None:
        """Nothing, or not all, could be made of a frame."""
        self.refused.append((item, quarantined(item, symbol, frame.ts_recv_ns, reason, frame.payload)))


def _before(stored: StoredBlock) -> tuple[dict[str, bytes], set[int]]:
    """Rows of the block as it was recorded, and the numbers of its quarantined frames."""
    before = {table: b"" for table in TABLES if table not in stored.lost}
    unread: set[int] = set()
    for part in stored.parts:
        if part.table in before:
            before[part.table] += conform(part.data, part.columns, rows.COLUMNS[part.table])
        elif part.table == "quarantine":
            place = part.columns.index("item")
            unread |= {int.from_bytes(fields(row)[place][4:], "big") for row in split(part.data)}
    return before, unread


def compare(table: str, before: bytes, now: bytes) -> TableDiff:
    """What is the same, what changed, what is only on one side. Equality is of encoded rows, hence exact.

    Rows that differ are paired when they are the same trade, or come from the same frame.
    """
    old, new = Counter(split(before)), Counter(split(now))
    diff = TableDiff((old & new).total())
    unpaired: dict[tuple[bytes, ...], deque[bytes]] = {}
    for row in (old - new).elements():
        unpaired.setdefault(_identity(table, row), deque()).append(row)
    for row in (new - old).elements():
        waiting = unpaired.get(_identity(table, row))
        if waiting:
            diff.changed.append((waiting.popleft(), row))
        else:
            diff.only_now.append(row)
    diff.no_longer = [row for rest in unpaired.values() for row in rest]
    return diff


def _identity(table: str, row: bytes) -> tuple[bytes, ...]:
    cells = fields(row)
    return (cells[0], cells[1]) if table == "trade" else (cells[0], cells[3], cells[4])


# ---- a whole journal ---------------------------------------------------------------------------------


def venue_of(reader: JournalReader) -> str:
    """The venue of a journal.

    Raises:
        ConfigError: nobody knows it, or the journal does not say.
    """
    next(reader.read(reader.first(), 1), None)
    if not reader.venue:
        raise ConfigError(f"the journal in {reader.folder} is empty or its beginning is damaged: its venue is unknown")
    try:
        venue_class(reader.venue)
    except ConfigError as error:
        raise ConfigError(f"the journal in {reader.folder} cannot be replayed: {error}") from None
    return reader.venue


def redo(
    reader: JournalReader, new_session: Callable[[], Session], from_ns: int = 0, until_ns: int | None = None
) -> Iterator[Redone | Skipped]:
    """Decode a journal again, block by block.

    Sessions are decoded from their beginning, also before `from_ns`: a decoder knows its connection's past.

    Args:
        reader: The journal.
        new_session: Gives the decoder of a new connection of the journal's venue.
        from_ns: Give only blocks written from then on.
        until_ns: Give only blocks written before.
    """
    replayer: Replayer | None = None
    written_ns = 0
    for item in reader.read(reader.first(), _WHOLE_JOURNAL, with_frames=True):
        if isinstance(item, Damaged):
            if written_ns >= from_ns and (until_ns is None or written_ns < until_ns):
                yield Skipped(item.position, f"{item.reason}: its frames are lost")
            continue
        written_ns = item.header.written_ns
        if until_ns is not None and written_ns >= until_ns + _CLOCK_STEP_NS:
            return
        wanted = written_ns >= from_ns and (until_ns is None or written_ns < until_ns)
        if "" in item.lost:
            if wanted:
                yield Skipped(item.position, f"its section of {item.frames} frames is damaged; its rows stay")
            continue
        if not item.frames:
            continue
        if replayer is None:
            replayer = Replayer(reader.venue, new_session, reader.journal_id)
        redone = replayer.block(item, reader.frames_of(item))
        if wanted:
            yield redone


# ---- the account of it -------------------------------------------------------------------------------


class Example(msgspec.Struct):
    """One row that differs, as text."""

    table: str
    what: str  # changed, only now, no longer
    at: str  # segment:offset of its block
    old: dict[str, str] | None
    new: dict[str, str] | None


class TableCount(msgspec.Struct):
    """Rows of one channel."""

    same: int = 0
    changed: int = 0
    only_now: int = 0
    no_longer: int = 0


class Account(msgspec.Struct):
    """What a replay of one journal found."""

    journal: str
    venue: str = ""
    blocks: int = 0
    differing_blocks: int = 0
    frames: int = 0
    tables: dict[str, TableCount] = {}
    quarantined_before: int = 0
    quarantined_now: int = 0
    restorable_gaps: int = 0
    sessions_without_beginning: int = 0
    examples: list[Example] = []
    unread: list[str] = []  # reasons of frames that cannot be decoded now
    skipped: int = 0
    skipped_examples: list[str] = []

    @property
    def differs(self) -> bool:
        """Whether the adapter of today makes other rows of the frames."""
        return self.differing_blocks > 0

    def add(self, item: Redone | Skipped, examples: int) -> bool:
        """Count one block in; True when it differs.

        Args:
            examples: Keep this many rows, for each table and kind of difference.
        """
        if isinstance(item, Skipped):
            self.skip(item)
            return False
        self.blocks += 1
        self.frames += item.frames
        self.sessions_without_beginning += item.fresh_sessions
        self.quarantined_before += len(item.unread_before)
        self.quarantined_now += len(item.unread)
        self.restorable_gaps += len(item.restores)
        if item.beyond:
            self.skip(Skipped(item.position, f"damaged rows of {', '.join(item.beyond)}: frames do not give them back"))
        for one in item.unread.values():
            if len(self.unread) < examples and one.reason not in self.unread:
                self.unread.append(one.reason)
        for table, diff in item.diffs.items():
            count = self.tables.setdefault(table, TableCount())
            count.same += diff.same
            for what, found in (("changed", diff.changed), ("only_now", diff.only_now), ("no_longer", diff.no_longer)):
                before = getattr(count, what)
                setattr(count, what, before + len(found))
                for row in found[: max(0, examples - before)]:
                    self.examples.append(_example(item, table, what, row))
        self.differing_blocks += item.differs
        return item.differs

    def skip(self, item: Skipped) -> None:
        """Count what could not be replayed."""
        self.skipped += 1
        if len(self.skipped_examples) < 20:
            self.skipped_examples.append(f"{item.position.segment}:{item.position.offset}: {item.reason}")


def _example(item: Redone, table: str, what: str, row: bytes | tuple[bytes, bytes]) -> Example:
    at = f"{item.position.segment}:{item.position.offset}"
    old, new = row if isinstance(row, tuple) else (row, None) if what == "no_longer" else (None, row)
    texts = [None if one is None else readable(table, one, item.names) for one in (old, new)]
    return Example(table, what.replace("_", " "), at, texts[0], texts[1])
