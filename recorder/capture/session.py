"""One open connection: subscriptions and replies, book resyncs, pings, and the idle timeout.

Only the link's thread uses it. A session lives and dies with its connection.
"""

import logging
import queue
from collections import deque
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple, Optional

import msgspec

from recorder.capture.buffer import WriteBuffer
from recorder.capture.counting import log_rows
from recorder.capture.handover.standby import Standby, StandbyIngest
from recorder.capture.ingest import ControlOutput, Decoded, Ingest
from recorder.capture.liveness.health_log import HealthLog
from recorder.capture.overlap import ControlRecord, Kind
from recorder.capture.requests import Subscriber
from recorder.capture.rest_fetcher import RestFetcher
from recorder.capture.resyncs import FIRST_S, Resyncs
from recorder.capture.websocket.connection import Connection
from recorder.capture.websocket.frames import Oversized
from recorder.clock import Clock
from recorder.errors import Closed, ConnectFailed, Silent
from recorder.events import (
    Accepted,
    Ending,
    Fetch,
    GapCause,
    Lost,
    Refused,
    Reply,
    Resync,
    SessionRow,
    Stream,
)
from recorder.process.log import get_logger
from recorder.settings import WebsocketSettings
from recorder.venues.base import BooksByRest, Conversation, CountsPings, Venue, requests_of
from recorder.venues.witness import SeenBook, ShowsBooks

TICK_S = 0.1
_REPORT_S = 60.0
_REASON_LENGTH = 200  # characters; a venue may send megabytes, and logs and health reports repeat them

_log = get_logger(__name__)


class Counts(msgspec.Struct):
    """What a session received so far."""

    frames: int = 0
    events: int = 0
    quarantined: int = 0
    unsubscribed: int = 0  # rows of streams that were never subscribed
    resyncs: int = 0  # books that the decoder declared broken


class _Batch(NamedTuple):
    """What leaves together: frames, or the requests that end streams and begin them again."""

    frames: tuple[str, ...] = ()
    again: tuple[Stream, ...] = ()  # the requests are made when they leave: an answer that comes before is an old one

    def without(self, dropped: Container[Stream]) -> "_Batch":
        """Return it without streams that are carried no more."""
        return _Batch(self.frames, tuple(stream for stream in self.again if stream not in dropped))


class Session:
    """One connection from the handshake to its end.

    Attributes:
        counts: What was received so far.
        subscriber: The subscriptions, and what the venue answered.
        ending: Whether the venue announced that it will end the connection soon.
        last_frame_s, last_data_s: Monotonic; of the last frame of any kind, and of market data.
    """

    def __init__(
        self,
        row: SessionRow,
        connection: Connection,
        venue: Venue,
        buffer: WriteBuffer,
        fetcher: RestFetcher,
        settings: WebsocketSettings,
        clock: Clock,
        predecessor: Optional["Session"],
        standby: Standby | None = None,
        *,
        heartbeat_failures: int,
    ) -> None:
        """
        Args:
            row: Of this session.
            connection: Open.
            venue: Whose.
            buffer: Gets everything that arrives.
            fetcher: Gets REST answers for venues that need them.
            settings: Of all websockets.
            clock: Wall and monotonic.
            predecessor: The session to take over from, without a gap.
            standby: Keeps what arrives until the process takes over from another.
            heartbeat_failures: Sessions in a row before this one that an unanswered ping ended; for the log.
        """
        decoder = venue.decoder()
        now_s = clock.monotonic_s()
        self.counts = Counts()
        self.ending = False
        self.last_frame_s = self.last_data_s = now_s
        self._link = row.link
        self._connection = connection
        self._venue = venue
        self._buffer = buffer
        self._fetcher = fetcher
        self._settings = settings
        self._clock = clock
        self._ingest: Ingest
        words, counted = venue.channel_words, venue.connection_sequences
        if standby is not None and predecessor is None:
            self._ingest = StandbyIngest(row, decoder, buffer, standby, words, connection_sequences=counted)
        else:
            before = None if predecessor is None else predecessor._ingest
            self._ingest = Ingest(row, decoder, buffer, before, words, connection_sequences=counted)
        self._requests = requests_of(venue, decoder)
        # The decoder makes the requests itself: what its frames mean depends on what it asked for.
        self._conversing = isinstance(decoder, Conversation)
        self._counts_pings = decoder if isinstance(decoder, CountsPings) else None
        self._shows_books = decoder if isinstance(decoder, ShowsBooks) else None
        # One subscription carries all channels of a symbol: another request of that symbol begins it again.
        self._shared = venue.limits.symbols_per_link is not None
        self._requested: set[str] = set()  # symbols of such subscriptions that were requested on this connection
        self.subscriber = Subscriber()
        self._resyncs = Resyncs()
        self._outbox: deque[_Batch] = deque()
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # of REST, as frames
        self._fetching: set[str] = set()
        self._next_send_s = 0.0
        self._next_tick_s = self._next_check_s = now_s
        self._next_report_s = now_s + _REPORT_S
        self._next_ping_s = now_s + self._ping_every_s()
        self._debug = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        self._health_log = HealthLog(
            venue.name, row.link, by_text=venue.heartbeat.frame is not None, heartbeat_failures=heartbeat_failures
        )

    # ---- what the link asks for ------------------------------------------------------------------------------

    @property
    def streams(self) -> set[Stream]:
        """The streams that the session accounts for."""
        return self._ingest.streams

    @property
    def settled(self) -> bool:
        """Whether every stream is answered and nothing is left to be sent."""
        return self.subscriber.settled and not self._outbox

    def step(self, wanted: frozenset[Stream]) -> bool:
        """Receive for at most TICK_S, decode, act on replies, and do what is scheduled for now.

        Args:
            wanted: The streams to carry.

        Returns:
            Whether the schedule was checked, which happens every TICK_S.

        Raises:
            Closed: the connection is over, or only a new one would be complete.
            Silent: nothing arrived for too long.
            ConnectFailed: the journal is full.
        """
        messages = self._receive(TICK_S)
        if messages:
            decoded = self._ingest.take(messages, self._clock.wall_ns())
            counts = self.counts
            counts.frames += len(messages)
            counts.events += len(decoded.trades) + len(decoded.quotes) + len(decoded.books)
            counts.quarantined += decoded.quarantined
            counts.unsubscribed = self._ingest.unsubscribed
            self._act_on(decoded)
        now_s = self._clock.monotonic_s()
        if now_s < self._next_tick_s:
            return False
        self._next_tick_s = now_s + TICK_S
        now_ns = self._clock.wall_ns()
        if not self._connection.readable():
            self._ingest.drained_ns = now_ns
        self._tick(wanted, now_s)
        return True

    def subscribe(self, streams: Iterable[Stream]) -> None:
        """Subscribe. The intent is journalled first: from now on all that the venue sends is accounted for.

        Raises:
            ConnectFailed: the journal takes no more.
        """
        streams = sorted(streams, key=lambda stream: (stream.channel, stream.symbol))
        if not streams:
            return
        self._ingest.watch(streams, self._clock.wall_ns())
        self._record("subscribed", streams)
        self._ingest.report()
        if not self._buffer.flush():
            raise ConnectFailed("the journal is full: nothing is subscribed that could not be kept")
        # Data of an older subscription may still be on its way: it does not show that the new one has begun.
        again = [stream for stream in streams if stream.symbol in self._requested]
        if again:
            self._ingest.declare_interrupted(again, books_unasked=True)
        self.subscriber.ask(streams, self._clock.monotonic_s())
        self._request(streams)

    def resubscribe(self, stream: Stream) -> None:
        """End a stream that is silent and subscribe to it again; a gap declares the time between."""
        if stream in self.subscriber.accepted and stream in self._ingest.streams:
            self._subscribe_again([stream])
            if self._shared:  # where no book is recorded, nothing else asks again if this brings nothing
                self.subscriber.ask([stream], self._clock.monotonic_s())

    @property
    def session_id(self) -> int:
        """The id of the session."""
        return self._ingest.row.session_id

    def carries(self, stream: Stream) -> bool:
        """Return whether the venue delivers a stream here, and no other session carries it."""
        return stream in self.subscriber.accepted and stream in self._ingest.streams and self._ingest.carries(stream)

    def keep(self, record: ControlRecord) -> None:
        """Write a record among the frames."""
        self._ingest.record(record)

    def book_of(self, symbol: str) -> SeenBook | None:
        """Return the best levels of a book; None where the decoder shows none, or has none without a gap."""
        stream = Stream("book", symbol)
        if self._shows_books is None or not self.carries(stream) or self._ingest.books_with_gap({stream}).get(symbol):
            return None
        return self._shows_books.book_of(symbol)

    def needs_no_predecessor(self) -> bool:
        """Return whether a snapshot of every book came and every subscription has begun."""
        return not self._ingest.unbegun and all(
            self._ingest.carries(stream) for stream in self._ingest.streams if stream.channel == "book"
        )

    @property
    def drained_ns(self) -> int:
        """When the connection last had nothing more to read."""
        return self._ingest.drained_ns

    def lacks(self) -> set[Stream]:
        """Return what a session that keeps its rows back has not received: books, and subscriptions' beginnings."""
        return self._ingest.lacks() if isinstance(self._ingest, StandbyIngest) else set()

    @property
    def predecessor_caught_up(self) -> bool:
        """Whether the predecessor has received what the venue sent before this session subscribed."""
        return self._ingest.predecessor_caught_up

    def inherit(self) -> None:
        """Take over all that the predecessor still carries."""
        self._ingest.inherit(self.subscriber.refused)

    def looping(self, now_s: float) -> list[str]:
        """Return the symbols of books that do not come right, of those that are subscribed."""
        return [one for one in self._resyncs.looping(now_s) if Stream("book", one) in self._ingest.streams]

    def close(self, reason: str, lost: GapCause | None) -> None:
        """End the connection, and report the end of the session.

        Args:
            reason: Why it ended.
            lost: The cause of the gap that the end opens for each stream; None opens none.
        """
        self._connection.close()
        self._ingest.report(ended_ns=self._clock.wall_ns(), reason=reason, lost=lost)

    # ---- what arrives ----------------------------------------------------------------------------------------

    def _receive(self, timeout_s: float) -> Sequence[bytes | Oversized]:
        """Return what the venue sent, and REST answers that are there."""
        messages = self._connection.receive(timeout_s)
        if messages is not None:
            self.last_frame_s = self._clock.monotonic_s()
        if self._answers.empty():
            return messages or ()
        return [*(messages or ()), *self._rest_answers()]

    def _rest_answers(self) -> Iterable[bytes]:
        while not self._answers.empty():
            yield self._answers.get()

    def _act_on(self, decoded: Decoded) -> None:
        if decoded.trades or decoded.quotes or decoded.books:
            self.last_data_s = self._clock.monotonic_s()
            if self._debug:
                log_rows(self._venue.name, decoded.trades, decoded.quotes, decoded.books)
            if self.subscriber.waiting:
                self._data_answers(decoded)
        for output in decoded.control:
            self._answer(output)

    def _data_answers(self, decoded: Decoded) -> None:
        """Note that a stream is accepted when its data comes."""
        streams = {Stream("trade", trade.symbol) for trade in decoded.trades}
        streams |= {Stream("quote", quote.symbol) for quote in decoded.quotes}
        streams |= {Stream("book", book.symbol) for book in decoded.books}
        for stream in streams - self._ingest.unbegun:
            self.subscriber.live(stream)

    def _answer(self, output: ControlOutput) -> None:
        match output:
            case Accepted():
                self.subscriber.take(output)
            case Refused(stream, reason):
                output = Refused(stream, reason[:_REASON_LENGTH])
                refusal = self.subscriber.take(output)
                if refusal is not None:
                    self._refused(refusal)
                else:
                    _log.warning("link.refusal", venue=self._venue.name, link=self._link, reason=output.reason)
            case Reply(frame):
                self._send([frame])
            case Resync(symbol=symbol) | Fetch(symbol=symbol) if Stream("book", symbol) not in self._ingest.streams:
                pass  # it was unsubscribed meanwhile, or never subscribed: the venue's limits are for what is
            case Resync(symbol, cause, reason):
                _log.warning("book.resync", venue=self._venue.name, symbol=symbol, cause=cause, reason=reason)
                self.counts.resyncs += 1
                self._resyncs.request(symbol, self._clock.monotonic_s())
            case Fetch():
                self._fetch(output)
            case Ending(reason):
                _log.warning("link.ending", venue=self._venue.name, link=self._link, reason=reason[:_REASON_LENGTH])
                self.ending = True
            case Lost(reason):
                raise Closed(f"incomplete: {reason}")

    def _refused(self, refusal: Refused, *, unanswered: bool = False) -> None:
        stream = refusal.stream
        assert stream is not None
        log = _log.debug if stream in self.subscriber.refused else _log.error  # once, not at each retry
        retry_s = self.subscriber.put_off(refusal, self._clock.monotonic_s(), unanswered=unanswered)
        log(
            "stream.refused",
            venue=self._venue.name,
            channel=stream.channel,
            symbol=stream.symbol,
            reason=refusal.reason,
            retry_s=retry_s,
        )
        self._ingest.declare_lost([stream], "refused")

    # ---- what is scheduled -----------------------------------------------------------------------------------

    def _tick(self, wanted: frozenset[Stream], now_s: float) -> None:
        self._follow(wanted)
        streams, unanswered = self.subscriber.tick(now_s)
        self._request(streams)
        for refusal in unanswered:
            self._refused(refusal, unanswered=True)
        self._resync_books(now_s)
        self._empty_outbox(now_s)
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_S
            self._ingest.report()
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + self._settings.health_check_interval_s
            self._check_alive(now_s)

    def _follow(self, wanted: frozenset[Stream]) -> None:
        """Carry exactly these streams; those carried already are not disturbed."""
        carried = self._ingest.streams
        if wanted == carried:
            return
        removed = carried - wanted
        if removed:
            self._ingest.unwatch(removed)
            self._record("unsubscribed", removed)
            self.subscriber.drop(removed)
            self._outbox = deque(batch.without(removed) for batch in self._outbox)
            self._send(self._requests.unsubscribe(removed))
        self.subscribe(wanted - self._ingest.streams)

    def _empty_outbox(self, now_s: float) -> None:
        """Send what the venue's pace allows."""
        while self._outbox and now_s >= self._next_send_s:
            batch = self._outbox.popleft()
            frames = self._interrupt(batch.again) if batch.again else batch.frames
            for frame in frames:
                self._connection.send(frame)
            self._next_send_s = now_s + len(frames) / self._venue.limits.frames_per_s
            now_s = self._clock.monotonic_s()

    def _check_alive(self, now_s: float) -> None:
        """End a session that has been idle for too long; send a ping when one is scheduled."""
        silence_s = now_s - self.last_frame_s
        limit_s = min(self._venue.heartbeat.silence_s, self._ping_every_s() + self._settings.heartbeat_timeout_s)
        if silence_s >= limit_s:
            raise Silent(f"nothing at all for {silence_s:.1f} s, pings unanswered", unanswered=True)
        if self._debug:
            self._health_log.passed(silence_s, self.last_frame_s, self._connection.pongs, data=self.counts.events > 0)
        if now_s >= self._next_ping_s:
            self._next_ping_s = now_s + self._ping_every_s()
            self._health_log.pinged(now_s)
            if self._venue.heartbeat.frame is None:
                self._connection.ping()
            else:
                self._connection.send(self._venue.heartbeat.frame)
                if self._counts_pings is not None:
                    self._counts_pings.pinged()

    def _ping_every_s(self) -> float:
        return min(self._venue.heartbeat.every_s, self._settings.heartbeat_interval_s)

    def _resync_books(self, now_s: float) -> None:
        """Request the fresh books that are scheduled: those a decoder asked for, and those a gap waits for."""
        # The venue may still confirm a stream that was dropped in the meantime: its book is not requested.
        for symbol, has_gap in self._ingest.books_with_gap(self.subscriber.accepted).items():
            if has_gap:
                self._resyncs.request(symbol, now_s, FIRST_S)  # the first snapshot may be on its way
            else:
                self._resyncs.done(symbol, now_s)
        scheduled = [Stream("book", symbol) for symbol in self._resyncs.due(now_s)]
        for stream in scheduled:
            if stream not in self._ingest.streams:  # it was dropped before its book came
                self._resyncs.forget(stream.symbol)
        streams = [one for one in scheduled if one in self._ingest.streams and not self._ingest.handed_over(one)]
        for stream in streams:
            self._ingest.count_resync(stream.symbol)
        if isinstance(self._venue, BooksByRest):
            for stream in streams:
                self._fetch(Fetch(stream.symbol, self._venue.snapshot_path(stream.symbol)))
        elif streams:
            self._subscribe_again(streams)

    def _subscribe_again(self, streams: Sequence[Stream]) -> None:
        """Unsubscribe and subscribe again in one batch; messages sent in between are lost, so a gap is declared.

        Where one subscription carries all channels of a symbol, all of them are interrupted.
        """
        # A decoder that makes the requests itself makes one for each stream: those leave at the venue's pace.
        for some in [[stream] for stream in streams] if self._conversing else [streams]:
            self._outbox.append(_Batch(again=tuple(some)))

    def _interrupt(self, streams: Sequence[Stream]) -> tuple[str, ...]:
        """Declare that streams are interrupted from now on, and return the requests that interrupt them.

        A gap that began when they were queued may have ended by data since.
        """
        interrupted = set(streams)
        if self._shared:
            symbols = {stream.symbol for stream in streams}
            interrupted |= {stream for stream in self._ingest.streams if stream.symbol in symbols}
        streams_in_order = sorted(interrupted, key=lambda stream: (stream.channel, stream.symbol))
        self._ingest.declare_interrupted(streams_in_order, books_unasked=self._shared)
        ends = () if self._shared else self._requests.unsubscribe(streams)
        return (*ends, *self._requests.subscribe(streams))

    def _record(self, kind: Kind, streams: Iterable[Stream]) -> None:
        """Write requests among the frames: a replay needs them to decode what follows, and to know what is stored."""
        self._ingest.record(ControlRecord.about(kind, streams))

    def _request(self, streams: Sequence[Stream]) -> None:
        """Queue the requests of streams; where a symbol was requested before, its subscription begins again."""
        if not streams:
            return
        again = tuple(stream for stream in streams if stream.symbol in self._requested)
        if self._shared:
            self._requested.update(stream.symbol for stream in streams)
        self._send(self._requests.subscribe([stream for stream in streams if stream not in again]))
        if again:
            self._outbox.append(_Batch(again=again))

    def _send(self, frames: Iterable[str]) -> None:
        """Send these when the venue's pace allows."""
        self._outbox += [_Batch((frame,)) for frame in frames]

    def _fetch(self, fetch: Fetch) -> None:
        """Have a REST answer fetched, unless it is on its way."""
        if fetch.path in self._fetching:
            return
        self._fetching.add(fetch.path)

        def deliver(frame: bytes) -> None:
            self._fetching.discard(fetch.path)
            self._answers.put(frame)

        self._fetcher.fetch(fetch.path, deliver)
