"""The hot path: decode the frames of one session, account for them, and add them to the write buffer. No socket."""

import time
from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar, cast

import msgspec

from recorder.capture.batch import Batch, audit_rows, quarantined
from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity, StreamState
from recorder.capture.counting import OUT_OF_RANGE, decoder_fault, undecodable
from recorder.capture.evidence.attribution import concerned, only_symbol
from recorder.capture.evidence.gap_times import AHEAD_NS
from recorder.capture.evidence.late_rows import LateRows, stream_of
from recorder.capture.evidence.unsettled import Unsettled
from recorder.capture.overlap import ControlRecord, Overlap
from recorder.capture.websocket.frames import Oversized
from recorder.errors import DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    BookAudit,
    Channel,
    Ending,
    Fetch,
    GapCause,
    Lost,
    Output,
    Quote,
    Refused,
    Reply,
    Resync,
    SessionRow,
    Stream,
    Trade,
    Witness,
)
from recorder.process.log import Sparingly, get_logger
from recorder.timestamps import EARLIEST_NS, plausible
from recorder.venues.base import Audit, Decoder

ControlOutput = Accepted | Refused | Reply | Resync | Fetch | Lost | Ending
"""What a decoder returns besides data: the session acts on it."""

_Row = TypeVar("_Row", Quote, Book)

_log = get_logger(__name__)


class Decoded(NamedTuple):
    """What some frames held."""

    trades: list[Trade]
    quotes: list[Quote]
    books: list[Book]
    quarantined: int
    control: list[ControlOutput]


class Ingest:
    """Decodes and accounts for what one session receives.

    Attributes:
        row: The session's row, kept up to date.
        streams: The streams that it carries.
        last_frame_ns: Receipt of the latest frame; everything before it is accounted for.
        drained_ns: When the connection last had nothing more to read: all that had arrived is accounted for.
        unbegun: Streams subscribed again whose new subscription has not begun: what comes may be of the old one.
        unsubscribed: How many rows of streams that the session never subscribed to came, and were not stored.
    """

    def __init__(
        self,
        row: SessionRow,
        decoder: Decoder,
        buffer: WriteBuffer,
        predecessor: "Ingest | None" = None,
        channel_words: Mapping[str, Channel] | None = None,
        *,
        connection_sequences: bool = False,
    ) -> None:
        """
        Args:
            row: Of the session.
            decoder: Of this connection.
            buffer: Gets everything.
            predecessor: The session to take over from, which may still deliver data.
            channel_words: What the venue writes in the frames of a channel, see `Venue.channel_words`.
            connection_sequences: See `Venue.connection_sequences`.
        """
        self.row = row
        self.streams: set[Stream] = set()
        self.unbegun: set[Stream] = set()
        self.last_frame_ns = self.drained_ns = row.started_ns
        self.unsubscribed = 0
        self._decoder = decoder
        self._buffer = buffer
        self._channel_words = channel_words or {}
        # Of the streams that this session subscribed to, now or earlier.
        self._trades: dict[str, StreamState] = {}
        self._quotes: dict[str, StreamState] = {}
        self._books: dict[str, StreamState] = {}
        self._set_back_ns = self._begun_set_back_ns = buffer.set_back_ns
        self._audit_from_ns = row.started_ns
        self._shedding = False
        self._failures = Sparingly()  # to log
        self._predecessor = predecessor
        self._overlap: Overlap | None = None  # only while a stream is shared with another session
        self._handed_over: list[Stream] = []  # our successor carries these, and no control record says so yet
        self._late_rows: LateRows | None = None  # of our predecessor, and of our successor
        self._successor_late_rows: LateRows | None = None
        if predecessor is not None:
            self._late_rows = predecessor._successor_late_rows = LateRows(connection_sequences=connection_sequences)
            self.record(ControlRecord("overlap_start"))

    def take(self, messages: Sequence[bytes | Oversized], ts_ns: int) -> Decoded:
        """Decode frames that arrived together, account for them, and add them to the write buffer.

        Args:
            messages: In the order of the wire.
            ts_ns: Their time of receipt.

        Returns:
            What they held; the write buffer has it already.
        """
        buffer, row = self._buffer, self.row
        control: list[ControlOutput] = []
        if not buffer.room():
            self._shed(len(messages))
            return Decoded([], [], [], 0, control)
        self._shedding = False
        if ts_ns < self.last_frame_ns:
            buffer.check_clock()
        if self._set_back_ns != buffer.set_back_ns:
            self._follow_clock()
        frames = cast("list[bytes]", list(messages))  # an Oversized is replaced by its beginning below
        trades: list[Trade] = []
        quotes: list[Quote] = []
        books: list[Book] = []
        soon_ns = ts_ns + AHEAD_NS
        with buffer as continuity:
            trade_states, gaps = self._trades, continuity.gaps
            unsettled = Unsettled(continuity, (self._quotes, quotes), (self._books, books))
            if self._handed_over:
                self._record_handed_over()
            decode = self._decoder.decode if self._overlap is None else partial(self._decode_shared, continuity)
            first_seq = row.frames + 1
            batch = Batch(row.session_id, first_seq, ts_ns)
            for seq, frame in enumerate(frames, first_seq):
                try:
                    outputs = decode(frame, ts_ns)
                except DecodeError as error:
                    unsettled.settle()
                    of = self._concerned(frame, error)
                    self._unreadable(continuity, batch, seq - first_seq, frame, ts_ns, undecodable(error), of)
                    continue
                except Exception as error:
                    unsettled.settle()
                    if isinstance(frame, Oversized):  # tested here, so that the usual frame needs no test
                        self._oversized(continuity, batch, seq - first_seq, frame, ts_ns)
                        frames[seq - first_seq] = frame.sample
                    else:
                        left_out = self._failures.turn(time.monotonic())
                        if left_out is not None:
                            _log.exception(
                                "decoder.failed", venue=row.venue, link=row.link, frame=frame[:200], left_out=left_out
                            )
                        of = self._concerned(frame, error)
                        self._unreadable(continuity, batch, seq - first_seq, frame, ts_ns, decoder_fault(error), of)
                    continue
                # The rule of capture/counting.py, inlined; identity of the class costs less than isinstance.
                for output in outputs:
                    if type(output) is Quote:
                        output.frame_seq = seq
                        quotes.append(output)
                        if gaps["quote"]:
                            continuity.quote(output, self._quotes)
                    elif type(output) is Book:
                        output.frame_seq = seq
                        books.append(output)
                        if gaps["book"]:
                            continuity.book(output, self._books)
                    elif type(output) is Trade:
                        time_ns = output.ts_event_ns
                        if not EARLIEST_NS <= time_ns <= soon_ns:
                            if not plausible(time_ns, ts_ns):
                                self._implausible(continuity, batch, seq - first_seq, output.symbol, ts_ns, frame)
                                continue
                            trades.append(output)
                            if output.symbol in trade_states:
                                continuity.trade(output)
                            else:
                                self._not_subscribed("trade", trades.pop().symbol)
                            continue
                        trades.append(output)
                        state = trade_states.get(output.symbol)
                        if state is None:
                            self._not_subscribed("trade", trades.pop().symbol)
                        elif (state.gap or state.reset_id) is None and state.last_id == output.trade_id - output.count:
                            state.last_id = output.trade_id
                            state.touched = True
                            if time_ns > (state.last_ts_event_ns or 0):
                                state.last_ts_event_ns = time_ns
                            if state.first_id is None:
                                state.first_id = output.trade_id - output.count + 1
                                state.first_ts_event_ns = time_ns
                        else:
                            continuity.trade(output)
                    else:
                        self._account(continuity, unsettled, output, ts_ns)
                        if not isinstance(output, (Alive, Witness)):
                            control.append(output)
                self.last_frame_ns = ts_ns
            unsettled.settle()
            if unsettled.strangers:
                quotes = self._subscribed("quote", quotes, self._quotes)
                books = self._subscribed("book", books, self._books)
            quarantined_here = len(batch.quarantined)
            row.frames += len(frames)
            row.bytes += batch.add_frames(frames, ts_ns)
            row.trades += len(trades)
            row.quotes += len(quotes)
            row.books += len(books)
            row.quarantined += quarantined_here
            batch.totals = row.totals
            buffer.encode(batch, trades, quotes, books, ts_ns)
            buffer.add(batch)
        return Decoded(trades, quotes, books, quarantined_here, control)

    def _account(
        self, continuity: Continuity, unsettled: "Unsettled", output: ControlOutput | Alive | Witness, ts_ns: int
    ) -> None:
        """Account for an output that is no row."""
        match output:
            case Witness():
                if plausible(output.ts_event_ns, ts_ns):
                    continuity.witness(output, ts_ns)
            case Alive(stream):
                if stream is not None:
                    continuity.alive(stream)
            case Accepted(stream):
                self.unbegun.discard(stream)
                continuity.accepted(stream, ts_ns, self.row.session_id)
            case Resync(symbol, cause):
                unsettled.settle()
                continuity.lost((Stream("book", symbol),), cause, self.last_frame_ns, self.row.session_id)
            case Lost():
                unsettled.settle()
                continuity.lost(self.streams, "sequence", self.last_frame_ns, self.row.session_id)

    def report(self, *, ended_ns: int | None = None, reason: str | None = None, lost: GapCause | None = None) -> None:
        """Add the session's row and its book audits to the write buffer.

        Args:
            ended_ns: When the session ended; None while it lives.
            reason: Why it ended.
            lost: The cause of the gap that its end opens for each of its streams.
        """
        row = self.row
        self._follow_clock()
        row.ended_ns, row.end_reason = ended_ns, reason
        row.last_frame_ns = self.last_frame_ns
        first_ns = min(self.last_frame_ns, ended_ns or self.last_frame_ns)
        if first_ns < row.started_ns:  # our clock was set back: the session began earlier by the clock of now
            began_ns = row.started_ns - (self._set_back_ns - self._begun_set_back_ns)
            self._begun_set_back_ns = self._set_back_ns
            row.started_ns = min(began_ns, first_ns)
        row.revision += 1
        batch = Batch(row.session_id, row.frames + 1, self.last_frame_ns)
        batch.totals = row.totals
        batch.sessions = [msgspec.structs.replace(row)]
        batch.audits = self._audits()
        with self._buffer as continuity:
            if lost is not None:
                continuity.lost(self.streams, lost, self.last_frame_ns, row.session_id)
            if ended_ns is not None and self._predecessor is not None:  # it ends before it could inherit
                self._declare_late(continuity, self._predecessor)
            self._buffer.add(batch)

    def watch(self, streams: Sequence[Stream], now_ns: int) -> None:
        """Account for these streams from now on; those that a predecessor still carries remain its own."""
        self.streams.update(streams)
        predecessor_id = None if self._predecessor is None else self._predecessor.row.session_id
        self._buffer.watch(streams, self.row.session_id, now_ns, predecessor_id=predecessor_id)
        states = {"trade": self._trades, "quote": self._quotes, "book": self._books}
        with self._buffer as continuity:
            for stream in streams:
                state = continuity.state(stream)
                assert state is not None
                states[stream.channel][stream.symbol] = state

    def unwatch(self, streams: frozenset[Stream] | set[Stream]) -> None:
        """Stop accounting for these streams: their subscriptions ended."""
        self._buffer.unwatch(streams, self.row.session_id, self.last_frame_ns)
        self.streams -= streams
        self.unbegun -= streams

    def declare_lost(self, streams: Sequence[Stream], cause: GapCause) -> None:
        """Declare that these streams may be missing data from now on."""
        self._buffer.declare_lost(streams, cause, self.last_frame_ns, self.row.session_id)

    def declare_interrupted(self, streams: Sequence[Stream], *, books_unasked: bool) -> None:
        """Declare that these streams are being unsubscribed and subscribed again."""
        if books_unasked:
            self.unbegun.update(streams)
        self._buffer.declare_interrupted(streams, self.last_frame_ns, self.row.session_id, books_unasked=books_unasked)

    def _subscribed(self, channel: Channel, rows: list[_Row], states: Mapping[str, StreamState]) -> list[_Row]:
        """Return the rows of streams that the session subscribed to, and count the others."""
        kept = []
        for row in rows:
            if row.symbol in states:
                kept.append(row)
            else:
                self._not_subscribed(channel, row.symbol)
        return kept

    def _not_subscribed(self, channel: Channel, symbol: str) -> None:
        """Count a row that is not stored: it would make an instrument that no subscription asked for."""
        if not self.unsubscribed:
            _log.warning(
                "link.unsubscribed_data", venue=self.row.venue, link=self.row.link, stream=f"{channel} {symbol[:80]}"
            )
        self.unsubscribed += 1

    def _follow_clock(self) -> None:
        """Express the time of the latest frame by the clock of now, which may have been set back since."""
        step_ns = self._buffer.set_back_ns - self._set_back_ns
        self._set_back_ns += step_ns
        self.last_frame_ns -= step_ns
        self.drained_ns -= step_ns

    # ---- streams shared with another session ---------------------------------------------------------------

    def record(self, record: ControlRecord) -> None:
        """Write a control record among the frames, and follow it."""
        with self._buffer:
            self._record(record)

    def carries(self, stream: Stream) -> bool:
        """Return whether the stream belongs to this session and no longer to its predecessor."""
        return self._buffer.carries(stream, self.row.session_id)

    def handed_over(self, stream: Stream) -> bool:
        """Return whether the successor carries the stream."""
        return self._overlap is not None and (self._overlap.handed_over(stream) or stream in self._handed_over)

    def inherit(self, refused: Container[Stream]) -> None:
        """Take over all that the predecessor still carries.

        A stream that the venue refused to this session has a gap, and so has a book of which no snapshot came, and what
        the predecessor received too late to be stored.

        Args:
            refused: Streams that this session does not deliver.
        """
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is None or self._overlap is None:
            return
        session_id = self.row.session_id
        with self._buffer as continuity:
            for stream in self.streams:
                if continuity.owner(stream) == predecessor.row.session_id:
                    self._claim(continuity, stream, min(self.last_frame_ns, predecessor.last_frame_ns))
                    if stream in refused:
                        continuity.lost((stream,), "refused", self.last_frame_ns, session_id)
                    elif stream.channel == "book" and not self._overlap.has_snapshot(stream.symbol):
                        continuity.lost((stream,), "no_snapshot", self.last_frame_ns, session_id)
            self._declare_late(continuity, predecessor)
            self._record(ControlRecord("overlap_end"))
            self._overlap = None

    @property
    def predecessor_caught_up(self) -> bool:
        """Whether the predecessor has received what the venue sent before this session subscribed."""
        late_rows, predecessor = self._late_rows, self._predecessor
        return late_rows is None or predecessor is None or late_rows.caught_up(predecessor.drained_ns)

    def _declare_late(self, continuity: Continuity, predecessor: "Ingest") -> None:
        late_rows, self._late_rows = self._late_rows, None
        if late_rows is None:
            return
        for lost in (*late_rows.lost(), *late_rows.unread(predecessor.last_frame_ns, predecessor.drained_ns)):
            continuity.declare(lost, "overtaken", predecessor.row.session_id)

    def _record(self, record: ControlRecord) -> None:
        row = self.row
        batch = Batch(row.session_id, row.frames + 1, self.last_frame_ns)
        row.frames += 1
        row.bytes += batch.add_frames([record.encode()], self.last_frame_ns)
        batch.totals = row.totals
        self._buffer.add(batch)
        if record.tapedeck not in ("subscribed", "unsubscribed", "witness"):  # those matter to a replay alone
            self._overlap = self._overlap or Overlap()
            self._overlap.apply(record)

    def _record_handed_over(self) -> None:
        streams, self._handed_over = self._handed_over, []
        self._record(ControlRecord.about("handed_over", streams))

    def _decode_shared(self, continuity: Continuity, frame: bytes, ts_ns: int) -> Sequence[Output]:
        """Decode a frame while streams are shared, and take over the streams that this session now delivers."""
        assert self._overlap is not None
        outputs = self._decoder.decode(frame, ts_ns)
        self.unbegun.difference_update(output.stream for output in outputs if isinstance(output, Accepted))
        if self._successor_late_rows is not None:
            for output in outputs:
                if isinstance(output, Quote | Book) and self._overlap.handed_over(stream := stream_of(output)):
                    self._successor_late_rows.late(stream, output)
        outputs = self._overlap.keep(outputs)
        if self._predecessor is not None and self._late_rows is not None:
            for output in outputs:
                if isinstance(output, Quote | Book) and (stream := stream_of(output)) in self.streams:
                    self._late_rows.brought(stream, output)
                    if isinstance(output, Quote) or output.snapshot:
                        self._take_over(continuity, stream, self._predecessor, self._late_rows, ts_ns)
        return outputs

    def _take_over(
        self, continuity: Continuity, stream: Stream, predecessor: "Ingest", late_rows: LateRows, now_ns: int
    ) -> None:
        if continuity.owner(stream) == predecessor.row.session_id:
            self._claim(continuity, stream, self.last_frame_ns)
            predecessor._handed_over.append(stream)
            late_rows.switched(stream, now_ns)

    def _claim(self, continuity: Continuity, stream: Stream, since_ns: int) -> None:
        """Carry a stream from now on; one that this session is subscribing again is interrupted since then."""
        continuity.hand_over(stream, self.row.session_id)
        if stream in self.unbegun:
            continuity.interrupted((stream,), since_ns, self.row.session_id, books_unasked=True)

    # ---- books -----------------------------------------------------------------------------------------------

    def books_with_gap(self, streams: set[Stream]) -> dict[str, bool]:
        """Return, for each book of this session among some streams, whether it has an open gap; by symbol."""
        return self._buffer.books_with_gap(streams & self.streams, self.row.session_id)

    def count_resync(self, symbol: str) -> None:
        """Count a request for a fresh book."""
        self._decoder.audits.setdefault(symbol, Audit()).resyncs += 1

    def _audits(self) -> list[BookAudit]:
        ended_ns = max(self.last_frame_ns, self._audit_from_ns + 1000)
        rows = audit_rows(self.row.session_id, self._audit_from_ns, ended_ns, self._decoder.audits)
        self._decoder.audits.clear()
        self._audit_from_ns = ended_ns
        return rows

    # ---- frames that cannot be decoded, frames that cannot be kept ------------------------------------------

    def _concerned(self, frame: bytes, error: Exception) -> list[Stream]:
        """Return the streams whose data a frame may have carried that cannot be decoded."""
        if isinstance(error, DecodeError) and error.no_data:
            return []
        symbol, channel = (error.symbol, error.channel) if isinstance(error, DecodeError) else (None, None)
        return concerned(frame, self.streams, self._channel_words, symbol, channel)

    def _unreadable(
        self,
        continuity: Continuity,
        batch: Batch,
        item: int,
        frame: bytes,
        ts_ns: int,
        reason: str,
        streams: Sequence[Stream],
    ) -> None:
        """Quarantine a frame, and declare a gap for the streams whose data it may have carried."""
        batch.quarantined.append(quarantined(item, only_symbol(streams), ts_ns, reason, frame))
        continuity.lost(streams, "unreadable", self.last_frame_ns, self.row.session_id)

    def _implausible(
        self, continuity: Continuity, batch: Batch, item: int, symbol: str, ts_ns: int, frame: bytes
    ) -> None:
        """Quarantine a frame with a trade of an implausible time; once, however many such trades it holds."""
        if symbol not in self._trades:
            self._not_subscribed("trade", symbol)
            return
        continuity.lost((Stream("trade", symbol),), "unreadable", self.last_frame_ns, self.row.session_id)
        if not batch.quarantined or batch.quarantined[-1].item != item:
            batch.quarantined.append(quarantined(item, symbol, ts_ns, OUT_OF_RANGE, frame))

    def _oversized(self, continuity: Continuity, batch: Batch, item: int, frame: Oversized, ts_ns: int) -> None:
        reason = f"message of {frame.length} bytes, above the limit: only its beginning was kept"
        batch.quarantined.append(quarantined(item, None, ts_ns, reason, frame.sample))
        continuity.lost(self.streams, "unreadable", self.last_frame_ns, self.row.session_id)

    def _shed(self, count: int) -> None:
        """Drop frames because the journal cannot take more, and declare the gap."""
        cause: GapCause = "disk_full" if self._buffer.full else "overflow"
        self.declare_lost(list(self.streams), cause)
        self._buffer.shed_frames += count
        self.row.frames += count
        if not self._shedding:
            self._shedding = True
            _log.error("link.shedding", venue=self.row.venue, link=self.row.link, cause=cause)
