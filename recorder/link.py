"""One connection kept alive: connect, subscribe, take in, notice the end, wait, again.

    IDLE -> CONNECTING -> SUBSCRIBING -> LIVE
                 ^            |            |
                 +- BACKOFF <-+------------+        CLOSED is final

The link's thread reads, decodes and accounts; the tape's thread writes. Every end of a session opens a gap
for each of its streams; the first data of the next one closes it. An end that is known beforehand opens none: a
successor, a link of its own, takes over first (make before break), and then retires this one.
"""

import enum
import queue
import random
import threading
from collections.abc import Callable, Iterable
from typing import Optional

import msgspec

from recorder.backoff import Backoff
from recorder.clock import Clock
from recorder.connection import Connection, Unwelcome
from recorder.dialogue import Dialogue
from recorder.errors import LinkError, Silent
from recorder.events import GapCause, Session, Stream
from recorder.fetches import Fetches
from recorder.intake import Intake
from recorder.log import get_logger
from recorder.settings import WebsocketSettings
from recorder.tape import Tape
from recorder.venues.base import Venue

_TICK_S = 0.1
_REPORT_S = 60.0
_AGED = 0.85, 0.92  # a session is replaced at about this part of the age at which the venue ends it
_TAKEN_OVER_S = 15.0  # a book that has not come by then does not hold the handover up
_BOTH_S = 2.0  # both sessions go on for a moment: what the old one still has on its way is not lost

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
        streams: Iterable[Stream],
        tape: Tape,
        fetches: Fetches,
        settings: WebsocketSettings,
        clock: Clock,
        rng: random.Random,
        recorder: str,
        *,
        renew: Callable[["Link"], None],
        predecessor: Optional["Link"] = None,
    ) -> None:
        """
        Args:
            number: Place of the connection among those of the recorder.
            venue: Whose.
            streams: To carry; `change` replaces them.
            tape: Gets everything.
            fetches: REST for sessions that need it.
            settings: Of all websockets.
            clock: Wall and monotonic.
            rng: For jitter and session ids.
            recorder: Name of the process.
            renew: Asked, from our thread, to start a successor; called once a session at most.
            predecessor: The link whose streams this one takes over.
        """
        self.number = number
        self._venue = venue
        self._tape = tape
        self._fetches = fetches
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._recorder = recorder
        self._renew = renew
        self._predecessor = predecessor
        self._retired = threading.Event()
        self._renewing = False  # a successor was asked for
        self._backoff = Backoff(settings.reconnect_delay_s, settings.reconnect_cap_s, rng)
        self._wanted: frozenset[Stream] = frozenset(streams)  # replaced whole by `change`, from any thread
        self._state = State.IDLE
        self._last_error = ""
        self._frames = self._events = self._quarantined = self._sessions = 0
        self._anew: queue.SimpleQueue[Stream] = queue.SimpleQueue()  # to be asked for once more
        self._fault: str | None = None  # why the connection is to be made anew
        self._dialogue: Dialogue | None = None
        self._ages_s = 0.0
        self._both_since_s: float | None = None  # when everything of the predecessor was taken over
        self._settled_s: float | None = None
        self._next_tick_s = self._next_report_s = self._next_check_s = 0.0

    # ---- asked from other threads -----------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where the link is now."""
        return self._state

    @property
    def streams(self) -> frozenset[Stream]:
        """What it is to carry."""
        return self._wanted

    @property
    def accepted(self) -> frozenset[Stream]:
        """Streams the venue has accepted on the open connection."""
        dialogue = self._dialogue
        return frozenset() if dialogue is None else frozenset(dialogue.subscriber.accepted.copy())

    @property
    def dialogue(self) -> Dialogue | None:
        """What is said on its connection; None while there is none."""
        return self._dialogue

    def change(self, streams: Iterable[Stream]) -> None:
        """Carry these streams from now on; those it carries already are not disturbed."""
        self._wanted = frozenset(streams)
        predecessor = self._predecessor
        if predecessor is not None:
            predecessor.change(predecessor.streams & self._wanted)

    def supersede(self) -> None:
        """Have the present session replaced by a new one, without a gap."""
        self._ages_s = 0.0

    def ask_anew(self, stream: Stream) -> None:
        """Subscribe to a stream once more: it is silent while others live."""
        self._anew.put(stream)

    def reconnect(self, reason: str) -> None:
        """Make the connection anew."""
        self._fault = reason

    def retire(self) -> None:
        """A successor carries everything: end, without a gap."""
        self._retired.set()

    def status(self) -> LinkStatus:
        """Figures for health."""
        now_s = self._clock.monotonic_s()
        dialogue = self._dialogue
        return LinkStatus(
            self.number,
            self._state.name,
            len(self._wanted),
            0 if dialogue is None else len(dialogue.subscriber.refused),
            None if dialogue is None else max(0.0, now_s - dialogue.last_frame_s),
            None if dialogue is None else max(0.0, now_s - dialogue.last_data_s),
            self._frames,
            self._events,
            self._quarantined,
            self._sessions,
            self._last_error,
        )

    # ---- the thread -------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Keep the connection until told to stop, or retired.

        Raises:
            LinkError: `max_retries` attempts in a row brought no data.
        """
        stagger_s = self.number * 60.0 / self._venue.limits.connects_per_minute * self._rng.random()
        stop.wait(stagger_s)
        while not (stop.is_set() or self._retired.is_set()):
            try:
                self._move(State.CONNECTING)
                dialogue = self._connect()
                self._move(State.SUBSCRIBING)
                while not (stop.is_set() or self._retired.is_set()):
                    self._step(dialogue)
            except LinkError as error:
                self._end("disconnect", str(error)[:200])
                retry_s = self._retry_after(error)
                self._move(State.BACKOFF)
                _log.warning(
                    "link.down", venue=self._venue.name, link=self.number, reason=type(error).__name__.lower(),
                    error=str(error)[:200], retry_s=round(retry_s, 2), attempt=self._backoff.attempts,
                )  # fmt: skip
                if self._renewing:
                    break  # the successor is about to connect: it goes on
                stop.wait(retry_s)
        if self._retired.is_set():
            self._end(None, "handed over")
        else:
            self._end("restart", "stopped")
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

    def _connect(self) -> Dialogue:
        url = self._venue.endpoint
        connection = Connection(url, int(self._settings.max_frame_mb * (1 << 20)), self._settings.user_agent)
        now_ns, now_s = self._clock.wall_ns(), self._clock.monotonic_s()
        self._sessions += 1
        session = Session(
            self._rng.getrandbits(63), self._venue.name, self._recorder, self.number, url, now_ns,
            None, None, None, 0, 0, 0, 0, 0, 0, 1,
        )  # fmt: skip
        before = None if self._predecessor is None else self._predecessor.dialogue
        decoder = self._venue.session()
        intake = Intake(session, decoder, self._tape, None if before is None else before.intake)
        self._next_tick_s = self._next_check_s = now_s
        self._next_report_s = now_s + _REPORT_S
        self._ages_s = now_s + (self._venue.limits.session_s or float("inf")) * self._rng.uniform(*_AGED)
        self._renewing, self._both_since_s, self._settled_s, self._fault = False, None, None, None
        dialogue = self._dialogue = Dialogue(
            self.number,
            connection,
            intake,
            decoder,
            self._venue,
            self._tape,
            self._fetches,
            self._settings,
            self._clock,
        )
        _log.info(
            "link.up", venue=self._venue.name, link=self.number, url=url, session=session.session_id,
            takes_over=before is not None,
        )  # fmt: skip
        dialogue.ask(self._wanted)
        return dialogue

    def _end(self, lost: GapCause | None, reason: str) -> None:
        """The session is over: declare the gap if there is one, keep its figures."""
        dialogue, self._dialogue = self._dialogue, None
        if dialogue is None:
            return
        dialogue.close()
        dialogue.intake.report(ended_ns=self._clock.wall_ns(), reason=reason, lost=lost)

    # ---- one step of a session ----------------------------------------------------------------------------

    def _step(self, dialogue: Dialogue) -> None:
        messages = dialogue.receive(_TICK_S)
        if messages:
            taken = dialogue.intake.take(messages, self._clock.wall_ns())
            self._frames += len(messages)
            self._quarantined += taken.quarantined
            events = len(taken.trades) + len(taken.quotes) + len(taken.books)
            self._events += events
            dialogue.heard(taken)
            if events and self._backoff.attempts:
                self._backoff.reset()
        now_s = self._clock.monotonic_s()
        if now_s >= self._next_tick_s:
            self._next_tick_s = now_s + _TICK_S
            self._tick(dialogue, now_s)

    def _tick(self, dialogue: Dialogue, now_s: float) -> None:
        if self._fault is not None:
            raise Silent(self._fault)
        dialogue.follow(self._wanted)
        while not self._anew.empty():
            dialogue.ask_anew(self._anew.get())
        dialogue.tick(now_s)
        if dialogue.settled:
            if self._state is State.SUBSCRIBING:
                self._move(State.LIVE)
                _log.info("link.live", venue=self._venue.name, link=self.number, streams=len(dialogue.intake.streams))
        elif self._state is State.LIVE:
            self._move(State.SUBSCRIBING)
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + _REPORT_S
            dialogue.intake.report()
        if now_s >= self._next_check_s:
            self._next_check_s = now_s + self._settings.health_check_interval_s
            dialogue.check(now_s)
        if self._predecessor is not None:
            self._take_over(dialogue, self._predecessor, now_s)
        elif (dialogue.ending or now_s >= self._ages_s) and not self._renewing:
            self._renewing = True
            self._renew(self)

    def _take_over(self, dialogue: Dialogue, predecessor: "Link", now_s: float) -> None:
        """Retire the predecessor once all it carried comes here, or at once when it has ended."""
        if predecessor.state is not State.CLOSED:
            if self._state is not State.LIVE:
                self._settled_s = None
                return
            self._settled_s = self._settled_s or now_s
            books = [stream for stream in dialogue.intake.streams if stream.channel == "book"]
            whole = all(map(dialogue.intake.carries, books))
            if not whole and now_s - self._settled_s < _TAKEN_OVER_S:
                return
            self._both_since_s = self._both_since_s or now_s
            if now_s - self._both_since_s < _BOTH_S:
                return
            predecessor.retire()
            _log.info("link.took_over", venue=self._venue.name, link=self.number, whole=whole)
        dialogue.intake.inherit()
        self._frames += predecessor._frames  # what was counted goes on as if it were one link
        self._events += predecessor._events
        self._quarantined += predecessor._quarantined
        self._sessions += predecessor._sessions
        self._predecessor = None
