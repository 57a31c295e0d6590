"""Decodes journalled frames again with the current adapter, and compares the rows with those in the journal.

Pure except for reading the journal. apply.py stores the difference and cli/replay.py shows it. Only the decoders of
open sessions are kept, so memory does not grow with the journal.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from recorder.capture.batch import Instruments, Quarantined, quarantined
from recorder.capture.counting import OUT_OF_RANGE, Counted, decoder_fault, undecodable
from recorder.capture.overlap import ControlRecord, Overlap
from recorder.errors import ConfigError, DecodeError
from recorder.events import Book, Channel, Output, Quote, Stream, Trade
from recorder.journal.block import Frame
from recorder.journal.corruption import gaps_of_sections
from recorder.journal.reader import Damaged, JournalReader, StoredBlock, Unrepeated
from recorder.pgcopy import encode
from recorder.pgcopy.decode import fields, is_null, number, split
from recorder.position import Position
from recorder.replay.compare import TABLES, TableDiff, compare, rows_in_block
from recorder.venues import venue_class
from recorder.venues.base import Audit, Conversation, Decoder

_DERIVED = {"", *TABLES, "quarantine", "instrument"}  # sections that decoding restores
_ALL_BYTES = 1 << 62
_SESSION_EXPIRES_NS = 900 * 10**9  # a link without a frame for seconds is dead; this is far longer
_HOUR_NS = 3600 * 10**9
_CLOCK_STEP_NS = 3600 * 10**9  # a corrected clock may make a block older than its predecessor


class Span(msgspec.Struct, frozen=True):
    """Consecutive frames of one session in a block, and their first and last receipt times."""

    session_id: int
    first_seq: int
    last_seq: int
    low_ns: int
    high_ns: int


class HourlyAudit(NamedTuple):
    """What frames of one session that were received in one hour show of a book."""

    hour: int  # since 1970
    symbol: str
    audit: Audit


class RedecodedBlock(msgspec.Struct):
    """One block decoded again.

    Attributes:
        now: Tuples of each table as the current adapter makes them.
        before: Tuples of each table as the journal has them. A table whose section is damaged is missing.
        diffs: The differences between the two.
        undecodable: Frames that cannot be decoded now, by their number in the block.
        undecodable_before: Numbers of the frames that could not be decoded when they were recorded.
        names: instrument_id to symbol, of all rows on both sides and more; shared between blocks.
        written_ns: When the block was written.
        restorable_gaps: Gaps that a damaged section opened and its intact frames close.
        unrestorable: Damaged sections that decoding cannot restore.
        sessions_without_beginning: Sessions whose first frames the journal no longer has.
        audits: What the frames show of books, by symbol and by the hour in which they were received.
    """

    position: Position
    frames: int
    spans: list[Span]
    now: dict[str, bytes]
    before: dict[str, bytes]
    diffs: dict[str, TableDiff]
    undecodable: dict[int, Quarantined]
    undecodable_sessions: dict[int, int]  # number in the block to session_id
    undecodable_before: set[int]
    names: dict[int, str]
    written_ns: int
    restorable_gaps: list[int]
    unrestorable: list[str]
    sessions_without_beginning: int
    audits: list[HourlyAudit]

    @property
    def differs(self) -> bool:
        """Whether the frames give other rows than the journal has."""
        changed = any(diff.differs for diff in self.diffs.values())
        return changed or self.undecodable.keys() != self.undecodable_before or bool(self.restorable_gaps)


class Skipped(msgspec.Struct, frozen=True):
    """Frames that cannot be replayed."""

    position: Position
    reason: str


class Replayer:
    """Decodes the blocks of one journal again, in order, with one decoder per session."""

    def __init__(self, venue: str, new_decoder: Callable[[], Decoder], journal_id: str) -> None:
        """
        Args:
            venue: Venue of the frames.
            new_decoder: Returns the decoder of a new connection.
            journal_id: Identity of the journal.
        """
        self._venue = venue
        self._new_decoder = new_decoder
        self._journal_id = journal_id
        self._ids = Instruments(venue)
        self._names: dict[int, str] = {}
        self._books = encode.BookEncoder()
        self._sessions: dict[int, _Session] = {}

    def block(self, stored: StoredBlock, frames: Sequence[Frame]) -> RedecodedBlock:
        """Decode one block again.

        Args:
            stored: The block as it was read.
            frames: All of its frames.
        """
        undecodable: dict[int, Quarantined] = {}
        undecodable_sessions: dict[int, int] = {}
        spans: list[Span] = []
        made: dict[str, list[bytes]] = {table: [] for table in TABLES}
        counts: Counter[str] = Counter()
        audits: list[HourlyAudit] = []
        without_beginning = first = 0
        for run in stored.header.runs:
            chunk = frames[first : first + run.count]
            if not chunk:
                continue
            without_beginning += run.session_id not in self._sessions and run.first_seq != 1
            decoded = self._decode(self._session(run.session_id, chunk[-1].ts_recv_ns), chunk)
            audits += decoded.audits
            for item, refused in decoded.refused:
                undecodable[first + item] = refused
                undecodable_sessions[first + item] = run.session_id
            made["trade"].append(encode.encode_trades(decoded.trades, self._ids))
            made["quote"].append(encode.encode_quotes(decoded.quotes, self._ids, run.session_id))
            made["book"].append(self._books.encode(decoded.books, self._ids, run.session_id))
            counts.update(trade=len(decoded.trades), quote=len(decoded.quotes), book=len(decoded.books))
            times = [frame.ts_recv_ns for frame in chunk]
            spans.append(Span(run.session_id, chunk[0].seq, chunk[-1].seq, min(times), max(times)))
            first += run.count
        before, undecodable_before = rows_in_block(stored)
        now = {table: b"".join(data) for table, data in made.items()}
        diffs = {
            table: TableDiff(counts[table])
            if before.get(table) == now[table]
            else compare(table, before.get(table, b""), now[table])
            for table in TABLES
        }
        self._drop_sessions(stored)
        # The checkpoints also name the symbols that an older adapter decoded.
        for mark in stored.header.checkpoints:
            self._names[self._ids[mark.symbol]] = mark.symbol
        if len(self._names) < len(self._ids):
            self._names |= {number_: symbol for symbol, number_ in self._ids.items()}
        unrestorable = [table for table in stored.lost if table not in _DERIVED]
        return RedecodedBlock(
            position=stored.position,
            frames=len(frames),
            spans=spans,
            now=now,
            before=before,
            diffs=diffs,
            undecodable=undecodable,
            undecodable_sessions=undecodable_sessions,
            undecodable_before=undecodable_before,
            names=self._names,
            written_ns=stored.header.written_ns,
            restorable_gaps=[] if undecodable else self._restorable_gaps(stored),
            unrestorable=unrestorable,
            sessions_without_beginning=without_beginning,
            audits=audits,
        )

    def _session(self, session_id: int, last_ns: int) -> "_Session":
        known = self._sessions.get(session_id)
        if known is None:
            known = self._sessions[session_id] = _Session(self._new_decoder())
        known.last_ns = last_ns
        return known

    def _decode(self, session: "_Session", frames: Sequence[Frame]) -> "_Decoded":
        """Decode frames by the rule of recording; see capture/counting.py."""
        decoded = _Decoded()
        decoder = session.decoder
        hour = -1
        for item, frame in enumerate(frames):
            at_ns = frame.ts_recv_ns
            if at_ns // _HOUR_NS != hour:
                decoded.audited(hour, decoder)
                hour = at_ns // _HOUR_NS
            record = ControlRecord.decode(frame.payload)
            try:
                if record is not None:
                    session.follow(record)
                    continue
                outputs = session.subscribed(session.overlap.keep(decoder.decode(frame.payload, at_ns)))
            except DecodeError as error:
                decoded.refuse(item, None, frame, undecodable(error))
                continue
            except Exception as error:  # a fault of the adapter costs this frame only, as it does while recording
                decoded.refuse(item, None, frame, decoder_fault(error))
                continue
            implausible = decoded.add(outputs, frame.seq, at_ns)
            if implausible is not None:
                decoded.refuse(item, implausible, frame, OUT_OF_RANGE)
        decoded.audited(hour, decoder)
        return decoded

    def _restorable_gaps(self, stored: StoredBlock) -> list[int]:
        tables = [table for table in stored.lost if table in TABLES]
        header = stored.header
        origin = f"{self._journal_id}:{stored.incarnation:x}"
        gaps = gaps_of_sections(stored.position, header, tables, origin, header.written_ns)
        return [gap.gap_id for gap in gaps]

    def _drop_sessions(self, stored: StoredBlock) -> None:
        """Drop the decoders of sessions that ended or whose recorder was killed."""
        for part in stored.parts:
            if part.table == "session":
                for row in split(part.data):
                    named = dict(zip(part.columns, fields(row), strict=True))
                    if not is_null(named["ended_at"]):
                        self._sessions.pop(number(named["session_id"]), None)
        limit_ns = stored.header.written_ns - _SESSION_EXPIRES_NS
        for session_id in [key for key, session in self._sessions.items() if session.last_ns < limit_ns]:
            del self._sessions[session_id]


class _Session:
    """A session that is decoded again."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.overlap = Overlap()
        self.last_ns = 0  # receipt time of its last frame
        self._subscribed: set[Stream] = set()  # ever; empty where an earlier version wrote the journal

    def follow(self, note: ControlRecord) -> None:
        """Apply a control record as the live session did."""
        self.overlap.apply(note)
        if note.tapedeck == "subscribed":
            self._subscribed.update(note.named)
        if isinstance(self.decoder, Conversation):  # its requests were sent at that time
            if note.tapedeck == "subscribed":
                self.decoder.subscribe(note.named)
            elif note.tapedeck == "unsubscribed":
                self.decoder.unsubscribe(note.named)

    def subscribed(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """Return the outputs without rows of streams that the session never subscribed to: the recorder stored none."""
        if not self._subscribed:
            return outputs
        return [
            output
            for output in outputs
            if not isinstance(output, Trade | Quote | Book) or _stream_of(output) in self._subscribed
        ]


def _stream_of(event: Trade | Quote | Book) -> Stream:
    channel: Channel = "trade" if isinstance(event, Trade) else "quote" if isinstance(event, Quote) else "book"
    return Stream(channel, event.symbol)


class _Decoded(Counted):
    """The rows and refusals of the frames of one run, and what they show of books."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[tuple[int, Quarantined]] = []
        self.audits: list[HourlyAudit] = []

    def audited(self, hour: int, decoder: Decoder) -> None:
        """Take the verdicts of a decoder on the frames of one hour."""
        self.audits += [HourlyAudit(hour, symbol, audit) for symbol, audit in decoder.audits.items()]
        decoder.audits.clear()

    def refuse(self, item: int, symbol: str | None, frame: Frame, reason: str) -> None:
        """Keep a frame that could not be decoded, or not completely."""
        self.refused.append((item, quarantined(item, symbol, frame.ts_recv_ns, reason, frame.payload)))


def venue_of(reader: JournalReader) -> str:
    """Return the venue of a journal.

    Raises:
        ConfigError: The venue is unknown, or the journal does not name it.
    """
    next(reader.read(reader.first(), 1), None)
    if not reader.venue:
        reason = "it is empty, or damaged at its beginning"
        raise ConfigError(f"the venue of the journal in {reader.folder} is unknown: {reason}")
    try:
        venue_class(reader.venue)
    except ConfigError as error:
        raise ConfigError(f"the journal in {reader.folder} cannot be replayed: {error}") from None
    return reader.venue


def redecode(
    reader: JournalReader, new_decoder: Callable[[], Decoder], from_ns: int = 0, until_ns: int | None = None
) -> Iterator[RedecodedBlock | Skipped]:
    """Decode a journal again, and yield its blocks.

    Sessions are decoded from their beginning, even before `from_ns`, because a decoder depends on all earlier frames of
    its connection.

    Args:
        reader: The journal.
        new_decoder: Returns the decoder of a new connection of the journal's venue.
        from_ns: Yield only blocks written at or after this time.
        until_ns: Yield only blocks written before this time.
    """
    replayer: Replayer | None = None
    written_ns = 0
    unrepeated = Unrepeated()
    for item in reader.read(reader.first(), _ALL_BYTES, with_frames=True):
        if isinstance(item, Damaged):
            if written_ns >= from_ns and (until_ns is None or written_ns < until_ns):
                yield Skipped(item.position, f"{item.reason}: its frames are lost")
            continue
        if not unrepeated.first(item):
            continue
        written_ns = item.header.written_ns
        if until_ns is not None and written_ns >= until_ns + _CLOCK_STEP_NS:
            return
        in_range = written_ns >= from_ns and (until_ns is None or written_ns < until_ns)
        if "" in item.lost:
            if in_range:
                yield Skipped(item.position, f"its section of {item.frames} frames is damaged; its rows stay")
            continue
        if not item.frames:
            continue
        if replayer is None:
            replayer = Replayer(reader.venue, new_decoder, reader.journal_id)
        block = replayer.block(item, reader.frames_of(item))
        if in_range:
            yield block
