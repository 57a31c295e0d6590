"""One connection kept alive: connect, subscribe, receive, notice the end, wait, connect again.

    IDLE -> CONNECTING -> SUBSCRIBING -> LIVE
                 ^            |            |
                 +- BACKOFF <-+------------+        CLOSED is final

The link's thread reads, decodes and accounts; the flush thread of the write buffer writes. The end of a session opens
a gap for each of its streams; the first data of the next session closes it. A planned end opens no gap: a successor
link takes over first (make before break), and then retires this one.
"""

import enum
import queue
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Optional

from recorder.backoff import Backoff
from recorder.capture.buffer import WriteBuffer
from recorder.capture.handover.standby import Standby
from recorder.capture.rest_fetcher import RestFetcher
from recorder.capture.session import Counts, Session
from recorder.capture.websocket.connect_budget import ConnectBudget
from recorder.capture.websocket.connection import Connection
from recorder.capture.websocket.upgrade import HandshakeRejected
from recorder.clock import Clock
from recorder.errors import LinkError, Silent
from recorder.events import GapCause, SessionRow, Stream
from recorder.printable import masked_url
from recorder.process.health import LinkFailure, LinkFigures
from recorder.process.log import get_logger
from recorder.settings import WebsocketSettings
from recorder.venues.base import Venue

_RENEW_AT_AGE = 0.85, 0.92  # a session is replaced between these parts of the age at which the venue ends it
_HANDOVER_LIMIT_S = 15.0  # a book that has not come by then does not delay the handover
_OVERLAP_S = 2.0  # both sessions go on for a moment: what is on its way to the old one is not lost

_SYMBOLS_LOGGED, _SYMBOL_LENGTH = 20, 80

_log = get_logger(__name__)


class State(enum.Enum):
    """The state of a link."""

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


class Link:
    """Keeps one connection of a venue open, and has its sessions record what arrives."""

    def __init__(
        self,
        number: int,
        venue: Venue,
        streams: Iterable[Stream],
        buffer: WriteBuffer,
        fetcher: RestFetcher,
        settings: WebsocketSettings,
        clock: Clock,
        rng: random.Random,
        recorder: str,
        budget: ConnectBudget,
        *,
        ca_file: Path | None = None,
        renew: Callable[["Link"], None],
        predecessor: Optional["Link"] = None,
        standby: Standby | None = None,
    ) -> None:
        """
        Args:
            number: Of the connection among those of the recorder.
            venue: Whose.
            streams: To carry; `change` replaces them.
            buffer: Gets everything that arrives.
            fetcher: Gets REST answers for sessions that need them.
            settings: Of all websockets.
            clock: Wall and monotonic.
            rng: For jitter and session ids.
            recorder: Name of the process.
            budget: Connects that the venue allows, shared by all links.
            ca_file: PEM file of the authorities to trust; None: those of the system.
            renew: Starts a successor; called in our thread, at most once for each session.
            predecessor: The link whose streams this one takes over.
            standby: Keeps what arrives until the process takes over from another.
        """
        self.number = number
        self._venue = venue
        self._buffer = buffer
        self._fetcher = fetcher
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._recorder = recorder
        self._budget = budget
        self._ca_file = ca_file
        self._renew = renew
        self._predecessor = predecessor
        self._standby = standby
        self._retired = threading.Event()
        self._renewing = False  # a successor was requested
        self._backoff = Backoff(settings.reconnect_delay_s, settings.reconnect_cap_s, rng)
        self._delay_s = 0.0  # before the next connect
        self._fruitless = 0  # attempts in a row without data
        self._unanswered = 0  # sessions in a row that an unanswered ping ended, without data in between
        self._settled_at_s = float("inf")  # monotonic; the backoff forgets then, if there was data
        if predecessor is not None:
            # A venue that announces the end of each new session must not be called more often for that.
            self._backoff.attempts = predecessor._backoff.attempts
            self._delay_s = self._backoff.next_s() if self._backoff.attempts else 0.0
        self._wanted: frozenset[Stream] = frozenset(streams)  # `change` replaces it, from any thread
        self._state = State.IDLE
        self._was_live = False  # in the present session
        self._last_error: LinkFailure | None = None
        self._sessions = 0
        self._errors = 0  # connections that failed or were lost
        self._up_since_s = 0.0  # monotonic; of the present session
        self._earlier = Counts()  # of the sessions that ended, and of the predecessor
        self._tasks: queue.SimpleQueue[Callable[[Session], None]] = queue.SimpleQueue()
        self._reconnect_reason: str | None = None  # set from any thread; the session ends for it
        self._session: Session | None = None
        self._renew_at_s = 0.0
        self._live_since_s: float | None = None  # while the predecessor is not gone
        self._overlap_since_s: float | None = None  # since when everything comes here as well

    # ---- called from other threads ------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state of the link now."""
        return self._state

    @property
    def streams(self) -> frozenset[Stream]:
        """The streams that the link shall carry."""
        return self._wanted

    @property
    def delivers(self) -> bool:
        """Whether the open connection was live; streams that were added since may not be answered yet."""
        return self._state is State.LIVE or (self._state is State.SUBSCRIBING and self._was_live)

    @property
    def accepted(self) -> frozenset[Stream]:
        """The streams that the venue has accepted on the open connection."""
        session = self._session
        return frozenset() if session is None else frozenset(session.subscriber.accepted.copy())

    @property
    def refused(self) -> dict[Stream, str]:
        """The streams that the venue refuses on the open connection, and its reasons."""
        session = self._session
        refused = {} if session is None else session.subscriber.refused.copy()
        return {stream: refusal.reason for stream, refusal in refused.items()}

    @property
    def looping(self) -> list[str]:
        """The symbols of books that do not come right on the open connection."""
        session = self._session
        return [] if session is None else session.looping(self._clock.monotonic_s())

    @property
    def session(self) -> Session | None:
        """The session on the open connection; None while there is none."""
        return self._session

    def change(self, streams: Iterable[Stream]) -> None:
        """Carry these streams from now on; those it carries already are not disturbed."""
        self._wanted = frozenset(streams)
        predecessor = self._predecessor
        if predecessor is not None:
            predecessor.change(predecessor.streams & self._wanted)

    def supersede(self) -> None:
        """Have the present session replaced by a new one, without a gap."""
        self._renew_at_s = 0.0

    def resubscribe(self, stream: Stream) -> None:
        """Subscribe to a stream again: it is silent while others live."""
        self.with_session(lambda session: session.resubscribe(stream))

    def with_session(self, task: Callable[[Session], None]) -> None:
        """Have our thread call a function with the session, at its next tick; never, if the session ends before."""
        self._tasks.put(task)

    def reconnect(self, reason: str) -> None:
        """End the connection and make a new one."""
        self._reconnect_reason = reason

    def retire(self) -> None:
        """End, without a gap: a successor carries everything."""
        self._retired.set()

    def figures(self) -> LinkFigures:
        """Return the figures for the health report."""
        now_s = self._clock.monotonic_s()
        session, earlier = self._session, self._earlier
        counts = Counts() if session is None else session.counts
        return LinkFigures(
            link=self.number,
            state=self._state.name,
            streams=len(self._wanted),
            refused=0 if session is None else len(session.subscriber.refused),
            last_frame_age_s=None if session is None else max(0.0, now_s - session.last_frame_s),
            last_data_age_s=None if session is None else max(0.0, now_s - session.last_data_s),
            frames=earlier.frames + counts.frames,
            events=earlier.events + counts.events,
            quarantined=earlier.quarantined + counts.quarantined,
            unsubscribed=earlier.unsubscribed + counts.unsubscribed,
            sessions=self._sessions,
            failures=self._fruitless,
            heartbeat_failures=self._unanswered,
            errors=self._errors,
            uptime_s=None if session is None else max(0.0, now_s - self._up_since_s),
            resyncs=earlier.resyncs + counts.resyncs,
            last_error=self._last_error,
        )

    # ---- the thread -----------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Keep the connection open until it is stopped or retired.

        Raises:
            LinkError: `max_retries` attempts in a row brought no data.
        """
        while self._await_turn(stop):
            try:
                self._move(State.CONNECTING)
                session = self._connect(stop)
                self._was_live = False
                self._move(State.SUBSCRIBING)
                while not (stop.is_set() or self._retired.is_set()):
                    self._step(session)
            except LinkError as error:
                self._end("disconnect", str(error)[:200])
                if stop.is_set():
                    break
                self._errors += 1
                self._delay_s = self._retry_after(error)
                self._move(State.BACKOFF)
                _log.warning(
                    "link.down",
                    venue=self._venue.name,
                    link=self.number,
                    reason=type(error).__name__.lower(),
                    error=str(error)[:200],
                    retry_s=round(self._delay_s, 2),
                    attempt=self._backoff.attempts,
                )
                if self._renewing:
                    break  # the successor is about to connect, and carries on
        if self._retired.is_set():
            self._end(None, "handed over")
        else:
            self._end("restart", "stopped")
        self._move(State.CLOSED)

    def _await_turn(self, stop: threading.Event) -> bool:
        """Return once the delay is over and the venue allows a connect.

        Returns:
            False when the link is stopped or retired instead.
        """
        stop.wait(self._delay_s)
        first = self._state is State.IDLE and self._predecessor is None
        apart_s = self._settings.start_interval_s if first else self._settings.reconnect_interval_s
        while not (stop.is_set() or self._retired.is_set()):
            wait_s = self._budget.take(apart_s)
            if not wait_s:
                return True
            stop.wait(wait_s)
        return False

    def _move(self, state: State) -> None:
        if state not in MOVES[self._state]:
            raise AssertionError(f"link {self.number} cannot go from {self._state} to {state}")
        _log.debug("link.state", venue=self._venue.name, link=self.number, state=state.value)
        self._state = state

    def _retry_after(self, error: LinkError) -> float:
        """Return the seconds until the next attempt."""
        limit = self._settings.max_retries
        if 0 <= limit <= self._fruitless:
            raise LinkError(f"gave up after {limit} attempts without data; the last: {error}") from error
        self._fruitless += 1
        self._unanswered += isinstance(error, Silent) and error.unanswered
        self._last_error = LinkFailure(str(error)[:200], self._clock.wall_ns() / 1e9)
        delay_s = self._backoff.next_s()
        if not isinstance(error, HandshakeRejected):
            return delay_s
        if error.retry_after_s:
            self._budget.pause(error.retry_after_s)  # the limit is that of the address, so it holds for all links
        return max(delay_s, error.retry_after_s)

    def _connect(self, stop: threading.Event) -> Session:
        url = self._venue.endpoint
        settings = self._settings
        limit = int(settings.max_frame_mb * (1 << 20))
        connection = Connection(url, limit, settings.user_agent, self._ca_file, self._clock, stop)
        row = SessionRow(
            session_id=self._rng.getrandbits(63),
            venue=self._venue.name,
            recorder=self._recorder,
            link=self.number,
            url=masked_url(url),
            started_ns=self._clock.wall_ns(),
        )
        before = None if self._predecessor is None else self._predecessor.session
        session = Session(
            row,
            connection,
            self._venue,
            self._buffer,
            self._fetcher,
            self._settings,
            self._clock,
            before,
            self._standby,
            heartbeat_failures=self._unanswered,
        )
        self._session = session
        self._sessions += 1
        max_age_s = self._venue.limits.session_s or float("inf")
        now_s = self._up_since_s = self._clock.monotonic_s()
        self._renew_at_s = now_s + max_age_s * self._rng.uniform(*_RENEW_AT_AGE)
        self._settled_at_s = now_s + settings.settled_after_s
        self._renewing, self._overlap_since_s, self._live_since_s = False, None, None
        self._reconnect_reason = None
        _log.info(
            "link.up",
            venue=self._venue.name,
            link=self.number,
            url=masked_url(url),
            session=row.session_id,
            takes_over=before is not None,
        )
        session.subscribe(self._wanted)
        return session

    def _end(self, lost: GapCause | None, reason: str) -> None:
        """End the session, if there is one, and declare the gap that this opens."""
        session, self._session = self._session, None
        if session is not None:
            self._count(session.counts)
            session.close(reason, lost)
        while not self._tasks.empty():
            self._tasks.get()

    def _count(self, more: Counts) -> None:
        self._earlier = Counts(
            self._earlier.frames + more.frames,
            self._earlier.events + more.events,
            self._earlier.quarantined + more.quarantined,
            self._earlier.unsubscribed + more.unsubscribed,
            self._earlier.resyncs + more.resyncs,
        )

    def _step(self, session: Session) -> None:
        ticked = session.step(self._wanted)
        if ticked:
            self._tick(session)

    def _tick(self, session: Session) -> None:
        if self._reconnect_reason is not None:
            raise Silent(self._reconnect_reason)
        for _ in range(self._tasks.qsize()):  # a task may add itself again
            self._tasks.get()(session)
        if session.settled:
            if self._state is State.SUBSCRIBING:
                self._move(State.LIVE)
                self._was_live = True
                _log.info("link.live", venue=self._venue.name, link=self.number, streams=len(session.streams))
                self._log_subscribed(session)
        elif self._state is State.LIVE:
            self._move(State.SUBSCRIBING)
        now_s = self._clock.monotonic_s()
        if session.counts.events:
            self._fruitless = self._unanswered = 0
            if now_s >= self._settled_at_s:
                self._backoff.reset()
        if self._predecessor is not None:
            self._take_over(session, self._predecessor, now_s)
        elif (session.ending or now_s >= self._renew_at_s) and not self._renewing:
            self._renewing = True
            self._renew(self)

    def _log_subscribed(self, session: Session) -> None:
        """Log which streams the venue delivers now, one line for each channel."""
        symbols: dict[str, list[str]] = {}
        for stream in sorted(session.subscriber.accepted & session.streams, key=str):
            symbols.setdefault(stream.channel, []).append(stream.symbol)
        for channel, names in symbols.items():
            _log.info(
                "link.subscribed",
                venue=self._venue.name,
                link=self.number,
                channel=channel,
                count=len(names),
                symbols=",".join(name[:_SYMBOL_LENGTH] for name in names[:_SYMBOLS_LOGGED]),
            )

    def _take_over(self, session: Session, predecessor: "Link", now_s: float) -> None:
        """Retire the predecessor once everything it carried comes here, or at once when it has ended."""
        if predecessor.state is not State.CLOSED:
            if self._state is not State.LIVE:
                self._live_since_s = None
                return
            self._live_since_s = self._live_since_s or now_s
            complete = session.needs_no_predecessor()
            if not complete and now_s - self._live_since_s < _HANDOVER_LIMIT_S:
                return
            self._overlap_since_s = self._overlap_since_s or now_s
            overlap_s = now_s - self._overlap_since_s
            if overlap_s < _OVERLAP_S or (overlap_s < _HANDOVER_LIMIT_S and not session.predecessor_caught_up):
                return
            predecessor.retire()
            _log.info("link.took_over", venue=self._venue.name, link=self.number, complete=complete)
        session.inherit()
        # The figures go on as if it were one link.
        figures = predecessor.figures()
        self._count(Counts(figures.frames, figures.events, figures.quarantined, figures.unsubscribed, figures.resyncs))
        self._sessions += figures.sessions
        self._errors += figures.errors
        self._predecessor = None
