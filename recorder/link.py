"""One connection kept alive: connect, subscribe, take in, notice the end, wait, again.

    IDLE -> CONNECTING -> SUBSCRIBING -> LIVE
                 ^            |            |
                 +- BACKOFF <-+------------+        CLOSED is final

The link's thread reads, decodes and accounts; the tape's thread writes. Every end of a session opens a gap
for each of its streams; the first data of the next one closes it.
"""

import enum
import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from recorder.backoff import Backoff
from recorder.clock import Clock
from recorder.connection import Connection, Unwelcome
from recorder.errors import ConnectFailed, LinkError, Silent
from recorder.events import Accepted, Refused, Reply, Resync, Session, Stream
from recorder.frames import Oversized
from recorder.intake import Intake, Said, Taken
from recorder.log import get_logger
from recorder.resyncs import FIRST_S, Resyncs
from recorder.settings import WebsocketSettings
from recorder.subscriber import Subscriber
from recorder.tape import Tape
from recorder.venues.base import Plan, Venue

_TICK_S = 0.1
_REPORT_S = 60.0
_QUIET_S = 1800.0  # a market without data is asked for anew at most this often

_log = get_logger(__name__)


class State(enum.Enum):
    """Where a link is."""

    IDLE = "idle"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    BACKOFF = "backoff"
    CLOSED = "closed"


MOVES = {
    State.IDLE: {State.CONNECTING, State.CLOSED},
    State.CONNECTING: {State.SUBSCRIBING, State.BACKOFF, State.CLOSED},
    State.SUBSCRIBING: {State.LIVE, State.BACKOFF, State.CLOSED},  # LIVE once every stream is answered
    State.LIVE: {State.SUBSCRIBING, State.BACKOFF, State.CLOSED},  # back when streams are added
    State.BACKOFF: {State.CONNECTING, State.CLOSED},
    State.CLOSED: set(),
}


class LinkStatus(msgspec.Struct, frozen=True):
    """What a link says of itself; ages in seconds, None before the first."""

    link: int
    state: str
    streams: int
    refused: int
    last_frame_age_s: float | None
    last_data_age_s: float | None
    frames: int
    events: int
    quarantined: int
    sessions: int
    last_error: str


class Link:
    """Keeps one connection of a venue and puts what it brings on the tape."""

    def __init__(
        self,
        number: int,
        venue: Venue,
        plan: Plan,
        tape: Tape,
        settings: WebsocketSettings,
        clock: Clock,
        rng: random.Random,
        recorder: str,
    ) -> None:
        self.number = number
        self._venue = venue
        self._url = plan.url
        self._tape = tape
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._recorder = recorder
        self._backoff = Backoff(settings.reconnect_delay_s, settings.reconnect_cap_s, rng)
        self._wanted: frozenset[Stream] = frozenset(plan.streams)  # replaced whole by `change`, from any thread
        self._state = State.IDLE
        self._last_error = ""
        self._frames = self._events = self._quarantined = self._sessions = 0
        self._quiet_since_s = float("-inf")  # when we last reconnected for want of data
        self._last_frame_s: float | None = None
        self._last_data_s: float | None = None
        # of the session
        self._connection: Connection | None = None
        self._subscriber = Subscriber(venue)
        self._resyncs = Resyncs()
        self._outbox: deque[str] = deque()
        self._intake: Intake  # made with each connection
        self._next_tick_s = self._next_send_s = self._next_ping_s = self._next_report_s = self._next_check_s = 0.0

    # ---- asked from other threads -----------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the link is now."""
        return self._state

    @property
    def streams(self) -> frozenset[Stream]:
        """What it is to carry."""
        return self._wanted

    def change(self, streams: Iterable[Stream]) -> None:
        """Carry these streams from now on; those it carries already are not disturbed."""
        self._wanted = frozenset(streams)

    def status(self) -> LinkStatus:
        """Figures for health."""
        now_s = self._clock.monotonic_s()
        last_frame_s, last_data_s = self._last_frame_s, self._last_data_s
        return LinkStatus(
            self.number,
            self._state.name,
            len(self._wanted),
            len(self._subscriber.refused),
            None if last_frame_s is None else max(0.0, now_s - last_frame_s),
            None if last_data_s is None else max(0.0, now_s - last_data_s),
            self._frames,
            self._events,
            self._quarantined,
            self._sessions,
            self._last_error,
        )

    # ---- the thread -------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Keep the connection until told to stop.

        Raises:
            LinkError: `max_retries` attempts in a row brought no data.
        """
        stagger_s = self.number * 60.0 / self._venue.limits.connects_per_minute * self._rng.random()
        stop.wait(stagger_s)
        while not stop.is_set():
            try:
                self._move(State.CONNECTING)
                self._connect()
                self._move(State.SUBSCRIBING)
                while not stop.is_set():
                    self._step()
            except LinkError as error:
                self._end(error)
                retry_s = self._retry_after(error)
                self._move(State.BACKOFF)
                _log.warning(
                    "link.down", venue=self._venue.name, link=self.number, reason=type(error).__name__.lower(),
                    error=str(error)[:200], retry_s=round(retry_s, 2), attempt=self._backoff.attempts,
                )  # fmt: skip
                stop.wait(retry_s)
        if self._connection is not None:
            self._end(None)
        self._move(State.CLOSED)

    def _move(self, state: State) -> None:
        if state not in MOVES[self._state]:
            raise AssertionError(f"link {self.number} cannot go from {self._state} to {state}")
        _log.debug("link.state", venue=self._venue.name, link=self.number, state=state.value)
        self._state = state

    def _retry_after(self, error: LinkError) -> float:
        limit = self._settings.max_retries
        if 0 <= limit <= self._backoff.attempts:
            raise LinkError(f"gave up after {limit} attempts without data; the last: {error}") from error
        self._last_error = str(error)[:200]
        delay_s = self._backoff.next_s()
        return max(delay_s, error.retry_after_s) if isinstance(error, Unwelcome) else delay_s

    def _connect(self) -> None:
        self._connection = Connection(
            self._url, int(self._settings.max_frame_mb * (1 << 20)), self._settings.user_agent
        )
        now_ns, now_s = self._clock.wall_ns(), self._clock.monotonic_s()
        self._sessions += 1
        session = Session(
            self._rng.getrandbits(63), self._venue.name, self._recorder, self.number, self._url, now_ns,
            None, None, None, 0, 0, 0, 0, 0, 0, 1,
        )  # fmt: skip
        self._intake = Intake(session, self._venue.session(), self._tape)
        self._subscriber = Subscriber(self._venue)
        self._resyncs.clear()
        self._outbox.clear()
        self._last_frame_s = self._last_data_s = now_s
        self._next_tick_s = self._next_send_s = self._next_check_s = now_s
        self._next_ping_s, self._next_report_s = now_s + self._ping_every_s(), now_s + _REPORT_S
        _log.info("link.up", venue=self._venue.name, link=self.number, url=self._url, session=session.session_id)
        self._ask(self._wanted)

    def _ask(self, streams: Iterable[Stream]) -> None:
        """Subscribe. The intent is journalled first: whatever the venue sends from now on is ours to account for."""
        streams = sorted(streams, key=lambda stream: (stream.channel, stream.symbol))
        if not streams:
            return
        self._intake.streams.update(streams)
        now_ns = self._clock.wall_ns()
        with self._tape.lock:
            for stream in streams:
                self._tape.continuity.watch(stream, self._intake.session.session_id, now_ns)
        self._intake.report()
        if not self._tape.flush():
            raise ConnectFailed("the journal is full: nothing is asked for that could not be kept")
        self._outbox += self._subscriber.ask(streams, self._clock.monotonic_s())

    def _end(self, error: LinkError | None) -> None:
        """The session is over: declare the gap, keep its figures."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        self._intake.report(
            ended_ns=self._clock.wall_ns(),
            reason="stopped" if error is None else str(error)[:200],
            lost="restart" if error is None else "disconnect",
        )

    # ---- one step of a session ----------------------------------------------------------------------------

    def _step(self) -> None:
        connection = self._connection
        assert connection is not None
        messages = connection.receive(_TICK_S)
        now_s = self._clock.monotonic_s()
        if messages is not None:
            self._last_frame_s = now_s
            if messages:
                self._take(messages)
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + _TICK_S
            self._tick(connection, now_s)

    def _tick(self, connection: Connection, now_s: float) -> None:
        self._follow_wishes()
        frames, unanswered = self._subscriber.tick(now_s)
        self._outbox += frames
        for refusal in unanswered:
            self._refused(refusal)
        self._outbox += self._resync_frames(now_s)
        while self._outbox and now_s >= self._next_send_s:
            connection.send(self._outbox.popleft())
            self._next_send_s = now_s + 1.0 / self._venue.limits.frames_per_s
            now_s = self._clock.monotonic_s()
        if self._subscriber.settled and not self._outbox:
            if self._state is State.SUBSCRIBING:
                self._move(State.LIVE)
                _log.info("link.live", venue=self._venue.name, link=self.number, streams=len(self._intake.streams))
        elif self._state is State.LIVE:
            self._move(State.SUBSCRIBING)
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_S
            self._intake.report()
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + self._settings.health_check_interval_s
            self._check_alive(connection, now_s)

    def _ping_every_s(self) -> float:
        return min(self._venue.heartbeat.every_s, self._settings.heartbeat_interval_s)

    def _check_alive(self, connection: Connection, now_s: float) -> None:
        assert self._last_frame_s is not None
        assert self._last_data_s is not None
        silence_s = now_s - self._last_frame_s
        limit_s = min(self._venue.heartbeat.silence_s, self._ping_every_s() + self._settings.heartbeat_timeout_s)
        if silence_s >= limit_s:
            raise Silent(f"nothing at all for {silence_s:.1f} s, pings unanswered")
        if now_s >= self._next_ping_s:
            self._next_ping_s = now_s + self._ping_every_s()
            if self._venue.heartbeat.frame is None:
                connection.ping()
            else:
                connection.send(self._venue.heartbeat.frame)
        no_data_s = now_s - self._last_data_s
        if (
            self._intake.streams
            and no_data_s >= self._settings.max_no_data_s
            and now_s - self._quiet_since_s >= _QUIET_S
        ):
            self._quiet_since_s = now_s
            raise Silent(f"no market data for {no_data_s:.0f} s, though the connection answers")

    def _follow_wishes(self) -> None:
        wanted, carried = self._wanted, self._intake.streams
        if wanted == carried:
            return
        gone = carried - wanted
        if gone:
            with self._tape.lock:
                for stream in gone:
                    self._tape.continuity.unwatch(stream, self._intake.last_frame_ns)
            self._tape.touch()
            carried -= gone
            self._outbox += self._subscriber.drop(gone)
        self._ask(wanted - carried)

    def _resync_frames(self, now_s: float) -> list[str]:
        """Requests for fresh books that are due: those a decoder asked for, and those a gap waits for."""
        with self._tape.lock:
            # The venue may confirm what was dropped in the meantime: that is not asked for again.
            for stream in self._subscriber.accepted & self._intake.streams:
                if stream.channel == "book":
                    state = self._tape.continuity.books.get(stream.symbol)
                    if state is not None and state.gap is not None:
                        self._resyncs.want(stream.symbol, now_s, FIRST_S)  # the first snapshot may be on its way
                    else:
                        self._resyncs.done(stream.symbol, now_s)
        due = [Stream("book", symbol) for symbol in self._resyncs.due(now_s)]
        streams = [stream for stream in due if stream in self._intake.streams]
        if not streams:
            return []
        for stream in streams:
            self._intake.resynced(stream.symbol)
        return self._venue.unsubscribe(streams) + self._venue.subscribe(streams)

    def _take(self, messages: Sequence[bytes | Oversized]) -> None:
        taken = self._intake.take(messages, self._clock.wall_ns())
        self._frames += len(messages)
        self._quarantined += taken.quarantined
        events = len(taken.trades) + len(taken.quotes) + len(taken.books)
        if events:
            self._events += events
            self._last_data_s = self._clock.monotonic_s()
            self._quiet_since_s = float("-inf")
            if self._backoff.attempts:
                self._backoff.reset()
            if not self._subscriber.settled:
                self._data_answers(taken)
        for output in taken.said:
            self._answer(output)

    def _data_answers(self, taken: Taken) -> None:
        """Data of a stream says that it was accepted."""
        streams = {Stream("trade", trade.symbol) for trade in taken.trades}
        streams |= {Stream("quote", quote.symbol) for quote in taken.quotes}
        streams |= {Stream("book", book.symbol) for book in taken.books}
        for stream in streams:
            self._subscriber.live(stream)

    def _answer(self, output: Said) -> None:
        match output:
            case Accepted():
                self._subscriber.take(output)
            case Refused():
                refusal = self._subscriber.take(output)
                if refusal is not None:
                    self._refused(refusal)
                else:
                    _log.warning("link.refusal", venue=self._venue.name, link=self.number, reason=output.reason)
            case Reply(frame):
                self._outbox.append(frame)
            case Resync(symbol, cause, reason):
                _log.warning("book.resync", venue=self._venue.name, symbol=symbol, cause=cause, reason=reason)
                self._resyncs.want(symbol, self._clock.monotonic_s())

    def _refused(self, refusal: Refused) -> None:
        stream = refusal.stream
        assert stream is not None
        _log.error(
            "stream.refused",
            venue=self._venue.name,
            channel=stream.channel,
            symbol=stream.symbol,
            reason=refusal.reason,
        )
        self._subscriber.put_off(refusal, self._clock.monotonic_s())
        self._intake.lose([stream], "refused")
