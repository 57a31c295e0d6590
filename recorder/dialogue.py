"""What is said on one open connection: requests and their answers, fresh books, pings; and its end by silence.

Only the link's thread uses it. It lives and dies with the connection.
"""

import queue
from collections import deque
from collections.abc import Iterable, Sequence

from recorder.clock import Clock
from recorder.connection import Connection
from recorder.errors import Closed, ConnectFailed, Silent
from recorder.events import Accepted, Ending, Fetch, Lost, Refused, Reply, Resync, Stream
from recorder.fetches import Fetches
from recorder.frames import Oversized
from recorder.intake import Intake, Said, Taken
from recorder.log import get_logger
from recorder.overlap import Note
from recorder.resyncs import FIRST_S, Resyncs
from recorder.settings import WebsocketSettings
from recorder.subscriber import Subscriber
from recorder.tape import Tape
from recorder.venues.base import BooksByRest, Conversation, Session, Venue, requests_of

_log = get_logger(__name__)


class Dialogue:
    """One connection from the handshake to its end.

    Attributes:
        intake: What the connection brings goes there.
        subscriber: What was asked for and answered.
        ending: The venue said that it will end the connection soon.
        last_frame_s, last_data_s: Monotonic, of the last frame of any kind, and of market data.
    """

    def __init__(
        self,
        number: int,
        connection: Connection,
        intake: Intake,
        decoder: Session,
        venue: Venue,
        tape: Tape,
        fetches: Fetches,
        settings: WebsocketSettings,
        clock: Clock,
    ) -> None:
        self.intake = intake
        self.ending = False
        self.last_frame_s = self.last_data_s = clock.monotonic_s()
        self._number = number
        self._connection = connection
        self._venue = venue
        self._tape = tape
        self._fetches = fetches
        self._settings = settings
        self._clock = clock
        self._requests = requests_of(venue, decoder)
        self._noted = isinstance(decoder, Conversation)  # what its frames mean depends on what it asked for
        self.subscriber = Subscriber(self._requests)
        self._resyncs = Resyncs()
        self._outbox: deque[tuple[str, ...]] = deque()  # frames of one entry leave together
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()  # of REST, as frames
        self._fetching: set[str] = set()
        self._next_send_s = 0.0
        self._next_ping_s = self.last_frame_s + self._ping_every_s()

    @property
    def settled(self) -> bool:
        """Whether every stream is answered and nothing is left to be sent."""
        return self.subscriber.settled and not self._outbox

    # ---- what we want ------------------------------------------------------------------------------------

    def follow(self, wanted: frozenset[Stream]) -> None:
        """Carry exactly these streams; those carried already are not disturbed."""
        carried = self.intake.streams
        if wanted == carried:
            return
        gone = carried - wanted
        if gone:
            with self._tape.lock:
                for stream in gone:
                    if self.intake.carries(stream):
                        self._tape.continuity.unwatch(stream, self.intake.last_frame_ns)
            self._tape.touch()
            carried -= gone
            if self._noted:
                self.intake.note(Note.about("dropped", gone))
            self._send(self.subscriber.drop(gone))
        self.ask(wanted - carried)

    def ask(self, streams: Iterable[Stream]) -> None:
        """Subscribe. The intent is journalled first: whatever the venue sends from now on is ours to account for.

        Raises:
            ConnectFailed: the journal takes no more.
        """
        streams = sorted(streams, key=lambda stream: (stream.channel, stream.symbol))
        if not streams:
            return
        self.intake.watch(streams, self._clock.wall_ns())
        if self._noted:
            self.intake.note(Note.about("asked", streams))
        self.intake.report()
        if not self._tape.flush():
            raise ConnectFailed("the journal is full: nothing is asked for that could not be kept")
        self._send(self.subscriber.ask(streams, self._clock.monotonic_s()))

    def ask_anew(self, stream: Stream) -> None:
        """End a stream that is silent and begin it again; what the venue had to say in between is in a gap."""
        if stream in self.subscriber.accepted and stream in self.intake.streams:
            self._begin_again([stream])

    # ---- what comes --------------------------------------------------------------------------------------

    def receive(self, timeout_s: float) -> Sequence[bytes | Oversized]:
        """What the venue sent, after at most `timeout_s`; answers of REST once they are there.

        Raises:
            Closed: the connection is over.
        """
        messages = self._connection.receive(timeout_s)
        if messages is not None:
            self.last_frame_s = self._clock.monotonic_s()
        if self._answers.empty():
            return messages or ()
        return [*(messages or ()), *self._fetched()]

    def _fetched(self) -> Iterable[bytes]:
        while not self._answers.empty():
            yield self._answers.get()

    def heard(self, taken: Taken) -> None:
        """Act on what the session said.

        Raises:
            Closed: something of this connection is missing, and only a new one is whole again.
        """
        if taken.trades or taken.quotes or taken.books:
            self.last_data_s = self._clock.monotonic_s()
            if not self.subscriber.settled:
                self._data_answers(taken)
        for output in taken.said:
            self._answer(output)

    def _data_answers(self, taken: Taken) -> None:
        """Data of a stream says that it was accepted."""
        streams = {Stream("trade", trade.symbol) for trade in taken.trades}
        streams |= {Stream("quote", quote.symbol) for quote in taken.quotes}
        streams |= {Stream("book", book.symbol) for book in taken.books}
        for stream in streams:
            self.subscriber.live(stream)

    def _answer(self, output: Said) -> None:
        match output:
            case Accepted():
                self.subscriber.take(output)
            case Refused():
                refusal = self.subscriber.take(output)
                if refusal is not None:
                    self._refused(refusal)
                else:
                    _log.warning("link.refusal", venue=self._venue.name, link=self._number, reason=output.reason)
            case Reply(frame):
                self._send([frame])
            case Resync(symbol, cause, reason):
                _log.warning("book.resync", venue=self._venue.name, symbol=symbol, cause=cause, reason=reason)
                self._resyncs.want(symbol, self._clock.monotonic_s())
            case Fetch():
                self._fetch(output)
            case Ending(reason):
                _log.warning("link.ending", venue=self._venue.name, link=self._number, reason=reason)
                self.ending = True
            case Lost(reason):
                raise Closed(f"incomplete: {reason}")

    def _refused(self, refusal: Refused) -> None:
        stream = refusal.stream
        assert stream is not None
        _log.error(
            "stream.refused", venue=self._venue.name, channel=stream.channel, symbol=stream.symbol,
            reason=refusal.reason,
        )  # fmt: skip
        self.subscriber.put_off(refusal, self._clock.monotonic_s())
        self.intake.lose([stream], "refused")

    # ---- what is due ---------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Ask for what is due, and send what the venue's pace allows.

        Raises:
            Closed: the connection is over.
        """
        frames, unanswered = self.subscriber.tick(now_s)
        self._send(frames)
        for refusal in unanswered:
            self._refused(refusal)
        self._want_books(now_s)
        while self._outbox and now_s >= self._next_send_s:
            frames_now = self._outbox.popleft()
            for frame in frames_now:
                self._connection.send(frame)
            self._next_send_s = now_s + len(frames_now) / self._venue.limits.frames_per_s
            now_s = self._clock.monotonic_s()

    def check(self, now_s: float) -> None:
        """Send the ping that is due.

        Raises:
            Silent: nothing at all came for too long.
            Closed: the connection is over.
        """
        silence_s = now_s - self.last_frame_s
        limit_s = min(self._venue.heartbeat.silence_s, self._ping_every_s() + self._settings.heartbeat_timeout_s)
        if silence_s >= limit_s:
            raise Silent(f"nothing at all for {silence_s:.1f} s, pings unanswered")
        if now_s >= self._next_ping_s:
            self._next_ping_s = now_s + self._ping_every_s()
            if self._venue.heartbeat.frame is None:
                self._connection.ping()
            else:
                self._connection.send(self._venue.heartbeat.frame)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ping_every_s(self) -> float:
        return min(self._venue.heartbeat.every_s, self._settings.heartbeat_interval_s)

    def _want_books(self, now_s: float) -> None:
        """Ask for the fresh books that are due: those a decoder asked for, and those a gap waits for."""
        with self._tape.lock:
            # The venue may confirm what was dropped in the meantime: that is not asked for again.
            for stream in self.subscriber.accepted & self.intake.streams:
                if stream.channel == "book" and self.intake.carries(stream):
                    state = self._tape.continuity.books.get(stream.symbol)
                    if state is not None and state.gap is not None:
                        self._resyncs.want(stream.symbol, now_s, FIRST_S)  # the first snapshot may be on its way
                    else:
                        self._resyncs.done(stream.symbol, now_s)
        due = [Stream("book", symbol) for symbol in self._resyncs.due(now_s)]
        streams = [stream for stream in due if stream in self.intake.streams and not self.intake.gave_up(stream)]
        for stream in streams:
            self.intake.resynced(stream.symbol)
        if isinstance(self._venue, BooksByRest):
            for stream in streams:
                self._fetch(Fetch(stream.symbol, self._venue.snapshot_path(stream.symbol)))
        elif streams:
            self._begin_again(streams)

    def _begin_again(self, streams: Sequence[Stream]) -> None:
        """End streams and ask for them again, at one go: what the venue has to say in between it says to nobody.

        Where one subscription carries a whole symbol, all of it is interrupted.
        """
        interrupted = set(streams)
        if self._venue.limits.symbols_per_link is not None:
            symbols = {stream.symbol for stream in streams}
            interrupted |= {stream for stream in self.intake.streams if stream.symbol in symbols}
        self.intake.interrupt(sorted(interrupted, key=lambda stream: (stream.channel, stream.symbol)))
        # A session that makes its requests itself makes one for each stream: those go at the venue's pace.
        for some in [[stream] for stream in streams] if self._noted else [streams]:
            self._outbox.append((*self._requests.unsubscribe(some), *self._requests.subscribe(some)))

    def _send(self, frames: Iterable[str]) -> None:
        """Send these when the venue's pace allows."""
        self._outbox += [(frame,) for frame in frames]

    def _fetch(self, fetch: Fetch) -> None:
        """Have a REST answer fetched, unless it is on its way."""
        if fetch.path in self._fetching:
            return
        self._fetching.add(fetch.path)

        def deliver(frame: bytes) -> None:
            self._fetching.discard(fetch.path)
            self._answers.put(frame)

        self._fetches.ask(fetch.path, deliver)
