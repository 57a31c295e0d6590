"""The hot path: messages of one session in, decoded and accounted for, onto the tape. No socket inside."""

import json
from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec

from recorder.errors import DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    BookAudit,
    Ending,
    Fetch,
    GapCause,
    Lost,
    Output,
    Quote,
    Refused,
    Reply,
    Resync,
    Session,
    Stream,
    Trade,
    Witness,
)
from recorder.frames import Oversized
from recorder.log import get_logger
from recorder.overlap import Note, Overlap
from recorder.tape import Batch, Tape, quarantined
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.venues.base import Audit
from recorder.venues.base import Session as Decoder

Said = Accepted | Refused | Reply | Resync | Fetch | Lost | Ending
"""What a session says besides data: the link acts on it."""

_log = get_logger(__name__)


class Taken(NamedTuple):
    """What some messages held."""

    trades: list[Trade]
    quotes: list[Quote]
    books: list[Book]
    quarantined: int
    said: list[Said]


class Intake:
    """Takes in what one session receives.

    Attributes:
        session: Its row, kept up to date.
        streams: What it carries.
        last_frame_ns: Receipt of the last message; what came before it is whole.
    """

    def __init__(self, session: Session, decoder: Decoder, tape: Tape, predecessor: "Intake | None" = None) -> None:
        """
        Args:
            session: Its row.
            decoder: Of this connection.
            tape: Gets everything.
            predecessor: The session it shall take over from; that one may still bring data.
        """
        self.session = session
        self.streams: set[Stream] = set()
        self.last_frame_ns = session.started_ns
        self._decoder = decoder
        self._tape = tape
        self._audit_from_ns = session.started_ns
        self._shedding = False
        self._predecessor = predecessor
        self._overlap: Overlap | None = None  # while, and only while, a stream is shared with another session
        self._gone: list[Stream] = []  # taken over by our successor, and not noted yet
        if predecessor is not None:
            self.note(Note("joins"))

    def take(self, messages: Sequence[bytes | Oversized], ts_ns: int) -> "Taken":
        """Decode and account for messages that arrived together, and hand them to the tape.

        Args:
            messages: In the order of the wire.
            ts_ns: Their time of receipt.

        Returns:
            What they held; the tape has it already.
        """
        tape, session = self._tape, self.session
        said: list[Said] = []
        if not tape.room():
            self._shed(len(messages))
            return Taken([], [], [], 0, said)
        self._shedding = False
        frames = cast("list[bytes]", list(messages))  # an Oversized is replaced by its beginning below
        trades: list[Trade] = []
        quotes: list[Quote] = []
        books: list[Book] = []
        decode = self._decoder.decode if self._overlap is None else self._decode_shared
        continuity = tape.continuity
        trade_states, gaps = continuity.trades, continuity.gaps
        latest_ns = ts_ns + NS_PER_DAY
        seen_quotes = seen_books = 0  # how many of them continuity knows

        def settle() -> None:
            """Let continuity know all that came before something that breaks it."""
            nonlocal seen_quotes, seen_books
            continuity.saw(continuity.quotes, quotes[seen_quotes:])
            continuity.saw(continuity.books, books[seen_books:])
            seen_quotes, seen_books = len(quotes), len(books)

        with tape.lock:
            if self._gone:
                self._note_gone()
                decode = self._decode_shared
            first_seq = session.frames + 1
            batch = Batch(session.session_id, first_seq)
            batch.last_ns = ts_ns
            for item, frame in enumerate(frames):
                try:
                    outputs = decode(frame, ts_ns)
                except DecodeError as error:
                    settle()
                    self._unreadable(batch, item, frame, ts_ns, str(error), error.symbol)
                    continue
                except Exception as error:
                    settle()
                    if isinstance(frame, Oversized):  # found here, so that the usual frame pays for no check
                        self._oversized(batch, item, frame, ts_ns)
                        frames[item] = frame.sample
                    else:  # a fault of the adapter: it costs this frame, never the connection
                        _log.exception("session.fault", venue=session.venue, link=session.link, frame=frame[:200])
                        self._unreadable(batch, item, frame, ts_ns, f"fault in the adapter: {error!r}")
                    continue
                for output in outputs:
                    if isinstance(output, Quote):
                        output.frame_seq = first_seq + item
                        quotes.append(output)
                        if gaps["quote"]:
                            continuity.quote(output)
                    elif isinstance(output, Book):
                        output.frame_seq = first_seq + item
                        books.append(output)
                        if gaps["book"]:
                            continuity.book(output)
                    elif isinstance(output, Trade):
                        time_ns = output.ts_event_ns
                        if not EARLIEST_NS <= time_ns <= latest_ns:
                            self._absurd(batch, item, output.symbol, ts_ns, frame)
                            continue
                        trades.append(output)
                        state = trade_states.get(output.symbol)
                        if state is not None and state.gap is None and state.last_id == output.trade_id - output.count:
                            state.last_id = output.trade_id
                            state.touched = True
                            if time_ns > (state.last_ts_event_ns or 0):
                                state.last_ts_event_ns = time_ns
                            if state.first_id is None:
                                state.first_id = output.trade_id - output.count + 1
                                state.first_ts_event_ns = time_ns
                        else:
                            continuity.trade(output)
                    elif isinstance(output, Witness):
                        if EARLIEST_NS <= output.ts_event_ns <= latest_ns:
                            continuity.witness(output, ts_ns)
                    elif isinstance(output, Resync):
                        settle()
                        stream = Stream("book", output.symbol)
                        continuity.lost((stream,), output.cause, self.last_frame_ns, session.session_id)
                        said.append(output)
                    elif isinstance(output, Accepted):
                        continuity.accepted(output.stream, ts_ns, session.session_id)
                        said.append(output)
                    elif isinstance(output, Alive):
                        if output.stream is not None:
                            continuity.alive(output.stream)
                    else:
                        if isinstance(output, Lost):
                            settle()
                            continuity.lost(self.streams, "sequence", self.last_frame_ns, session.session_id)
                        said.append(output)
                self.last_frame_ns = ts_ns
            settle()
            quarantined_here = len(batch.quarantined)
            session.frames += len(frames)
            session.bytes += batch.add_frames(frames, ts_ns)
            session.trades += len(trades)
            session.quotes += len(quotes)
            session.books += len(books)
            session.quarantined += quarantined_here
            batch.totals = session.totals
            tape.encode(batch, trades, quotes, books, ts_ns)
            tape.add(batch)
        return Taken(trades, quotes, books, quarantined_here, said)

    def report(self, *, ended_ns: int | None = None, reason: str | None = None, lost: GapCause | None = None) -> None:
        """Put the session's figures and its verdicts on books on the tape.

        Args:
            ended_ns: When it ended; None while it lives.
            reason: Why it ended.
            lost: The cause of the gap its end opens for each of its streams.
        """
        session = self.session
        session.ended_ns, session.end_reason = ended_ns, reason
        session.last_frame_ns = self.last_frame_ns
        session.revision += 1
        batch = Batch(session.session_id, session.frames + 1)
        batch.last_ns = self.last_frame_ns
        batch.totals = session.totals
        batch.sessions = [msgspec.structs.replace(session)]
        batch.audits = self._audits()
        with self._tape.lock:
            if lost is not None:
                self._tape.continuity.lost(self.streams, lost, self.last_frame_ns, session.session_id)
            self._tape.add(batch)

    def watch(self, streams: Sequence[Stream], now_ns: int) -> None:
        """Account for these streams from now on; those a predecessor still carries go on being its."""
        self.streams.update(streams)
        continuity, session_id = self._tape.continuity, self.session.session_id
        theirs = None if self._predecessor is None else self._predecessor.session.session_id
        with self._tape.lock:
            for stream in streams:
                if theirs is None or continuity.owner(stream) != theirs:
                    continuity.watch(stream, session_id, now_ns)

    def lose(self, streams: Sequence[Stream], cause: GapCause) -> None:
        """Declare that these streams may be missing data from now on."""
        with self._tape.lock:
            self._tape.continuity.lost(streams, cause, self.last_frame_ns, self.session.session_id)
        self._tape.touch()

    def interrupt(self, streams: Sequence[Stream]) -> None:
        """Declare that these streams are being ended and begun again."""
        with self._tape.lock:
            self._tape.continuity.interrupted(streams, self.last_frame_ns, self.session.session_id)
        self._tape.touch()

    # ---- streams shared with another session ---------------------------------------------------------------

    def note(self, note: Note) -> None:
        """Write a note of ours among the frames, and follow it."""
        with self._tape.lock:
            self._note(note)

    def carries(self, stream: Stream) -> bool:
        """Whether the stream is ours, and not still our predecessor's."""
        return self._tape.continuity.owner(stream) == self.session.session_id

    def gave_up(self, stream: Stream) -> bool:
        """Whether a successor has taken the stream over."""
        return self._overlap is not None and (self._overlap.over(stream) or stream in self._gone)

    def inherit(self) -> None:
        """The predecessor is done: what it still carried is ours. A book we have no snapshot of has a gap."""
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is None or self._overlap is None:
            return
        continuity, session_id = self._tape.continuity, self.session.session_id
        with self._tape.lock:
            for stream in self.streams:
                if continuity.owner(stream) == predecessor.session.session_id:
                    continuity.hand_over(stream, session_id)
                    if stream.channel == "book" and not self._overlap.begun(stream.symbol):
                        continuity.lost((stream,), "no_snapshot", self.last_frame_ns, session_id)
            self._note(Note("alone"))
            self._overlap = None
        self._tape.touch()

    def _note(self, note: Note) -> None:
        session = self.session
        batch = Batch(session.session_id, session.frames + 1)
        batch.last_ns = self.last_frame_ns
        session.frames += 1
        session.bytes += batch.add_frames([note.encode()], self.last_frame_ns)
        batch.totals = session.totals
        self._tape.add(batch)
        if note.tapedeck not in ("asked", "dropped"):  # those are for a replay alone
            self._overlap = self._overlap or Overlap()
            self._overlap.take(note)

    def _note_gone(self) -> None:
        gone, self._gone = self._gone, []
        self._note(Note.about("over", gone))

    def _decode_shared(self, frame: bytes, ts_ns: int) -> Sequence[Output]:
        """Decode, and take over what this session brings now. The caller holds the lock of the tape."""
        assert self._overlap is not None
        outputs = self._overlap.keep(self._decoder.decode(frame, ts_ns))
        predecessor = self._predecessor
        if predecessor is not None:
            for output in outputs:
                if isinstance(output, Quote):
                    self._take_over(Stream("quote", output.symbol), predecessor)
                elif isinstance(output, Book) and output.snapshot:
                    self._take_over(Stream("book", output.symbol), predecessor)
        return outputs

    def _take_over(self, stream: Stream, predecessor: "Intake") -> None:
        continuity = self._tape.continuity
        if stream in self.streams and continuity.owner(stream) == predecessor.session.session_id:
            continuity.hand_over(stream, self.session.session_id)
            predecessor._gone.append(stream)

    def resynced(self, symbol: str) -> None:
        """A fresh book is being asked for."""
        self._decoder.audits.setdefault(symbol, Audit()).resyncs += 1

    def _audits(self) -> list[BookAudit]:
        ended_ns = max(self.last_frame_ns, self._audit_from_ns + 1000)
        rows = [
            BookAudit(
                self.session.session_id, symbol, self._audit_from_ns, ended_ns,
                audit.checksums_passed, audit.checksums_failed, audit.crossed, audit.resyncs,
            )
            for symbol, audit in self._decoder.audits.items()
        ]  # fmt: skip
        self._decoder.audits.clear()
        self._audit_from_ns = ended_ns
        return rows

    # ---- what cannot be read, what cannot be kept ---------------------------------------------------------

    @staticmethod
    def _absurd(batch: Batch, item: int, symbol: str, ts_ns: int, frame: bytes) -> None:
        """Quarantine a frame with a trade of an impossible time; once, however many it holds."""
        if not batch.quarantined or batch.quarantined[-1].item != item:
            batch.quarantined.append(quarantined(item, symbol, ts_ns, "event time out of range", frame))

    def _unreadable(
        self, batch: Batch, item: int, frame: bytes, ts_ns: int, reason: str, symbol: str | None = None
    ) -> None:
        """Quarantine a frame, and declare a gap for the streams whose data it may have carried."""
        symbols = {stream.symbol for stream in self.streams if stream.symbol.encode() in frame}
        if symbol is not None:  # which the frame itself names by a number or an id
            symbols.add(symbol)
        named = min(symbols, default=None)
        batch.quarantined.append(quarantined(item, named, ts_ns, reason[:500], frame))
        if symbols:
            streams = [stream for stream in self.streams if stream.symbol in symbols]
        elif _is_json(frame):
            return  # whole, and of none of our symbols: an unknown notice
        else:
            streams = list(self.streams)
        self._tape.continuity.lost(streams, "unreadable", self.last_frame_ns, self.session.session_id)

    def _oversized(self, batch: Batch, item: int, frame: Oversized, ts_ns: int) -> None:
        reason = f"message of {frame.length} bytes, above the limit: only its beginning was kept"
        batch.quarantined.append(quarantined(item, None, ts_ns, reason, frame.sample))
        self._tape.continuity.lost(self.streams, "unreadable", self.last_frame_ns, self.session.session_id)

    def _shed(self, count: int) -> None:
        """The journal cannot take more: let these go, and say so."""
        cause: GapCause = "disk_full" if self._tape.full else "overflow"
        self.lose(list(self.streams), cause)
        self._tape.shed_frames += count
        self.session.frames += count
        if not self._shedding:
            self._shedding = True
            _log.error("link.shedding", venue=self.session.venue, link=self.session.link, cause=cause)


def _is_json(frame: bytes) -> bool:
    try:
        json.loads(frame)
    except (ValueError, RecursionError):
        return False
    return True
