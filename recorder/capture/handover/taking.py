"""A successor takes over from the process that records: it is ready first, and then all changes at one moment."""

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from recorder.capture.buffer import WriteBuffer
from recorder.capture.handover.giving import POLL_S
from recorder.capture.handover.lag import LAG_MAX_S, Lag, Progress, progress_of_checkpoints
from recorder.capture.handover.standby import Standby
from recorder.capture.handover.state import HandedOver, RowTail, left_by
from recorder.capture.link import Link, State
from recorder.clock import Clock
from recorder.errors import HandoverFailed, JournalError
from recorder.events import SessionRow, Stream
from recorder.journal.writer import recover
from recorder.process.log import get_logger
from recorder.process.slots import Slot, Slots

OVERLAP_S = 1.0
"""Everything comes to both processes for at least this long."""

_OFFER_S = 30.0  # the other process stops within 5 s and writes what is pending
_TAIL_S = 5.0  # it may have received a row that is on its way to us
_EARLY_NS = 500_000_000  # what it had received by this long after our subscriptions includes all that came before them
_UNKNOWN_LATE_NS = 10 * 10**9  # so late it may receive where nothing shows how late; later, it is taken for dead
_AGREE_NS = 500_000_000
_SHOWN = 3

_log = get_logger(__name__)


class Taking:
    """The side of the successor.

    Attributes:
        detail: What it waits for, in a few words.
    """

    def __init__(
        self,
        slots: Slots,
        slot: Slot,
        old_journal: Path,
        standby: Standby,
        buffer: WriteBuffer,
        links: Callable[[], Sequence[Link]],
        clock: Clock,
        *,
        connection_sequences: bool,
    ) -> None:
        """
        Args:
            slots: Of the recorder.
            slot: Of this process.
            old_journal: Folder of the journal of the process that records.
            standby: The sessions of this process.
            buffer: Of this process.
            links: Returns its links.
            clock: Wall and monotonic.
            connection_sequences: See `Venue.connection_sequences`.
        """
        self.detail = ""
        self._slots = slots
        self._slot = slot
        self._old_journal = old_journal
        self._standby = standby
        self._buffer = buffer
        self._links = links
        self._clock = clock
        self._connection_sequences = connection_sequences
        self._assigned: frozenset[Stream] | None = None
        self._unproven: set[str] = set()  # symbols of which the old process may not have read all from before us
        self._old_late_ns = 0  # how much later than us the old process receives
        self._starts: int | None = None  # how often the old process had started when our first session began
        self._required: frozenset[Stream] | None = None  # what the old process has without a gap

    def assign(self, streams: Sequence[Stream]) -> None:
        """Note which streams this process shall record, before its sessions begin."""
        if self._starts is None:
            self._starts = self._slots.read().starts
        self._assigned = frozenset(streams)
        self._required = None

    def wait(self, stop: threading.Event) -> tuple[HandedOver, dict[Stream, tuple[int, int]]] | None:
        """Return what the old process left, and which of the rows kept here it stored, by stream.

        From then on this process must record.

        Returns:
            None when stopped.

        Raises:
            HandoverFailed: It is not wanted any more, or cannot keep more.
        """
        lag: Lag | None = None  # since everything is ready
        noted_s = 0.0
        while not stop.wait(POLL_S):
            self._require_wanted()
            missing = self._missing()
            if missing is not None:
                self.detail, lag = f"not ready: {missing}", None
                continue
            now_s = self._clock.monotonic_s()
            if lag is None:
                lag, noted_s = Lag(), now_s
            self.detail = "ready"
            if now_s - noted_s >= OVERLAP_S and not lag.aims:
                lag.note(self._progress_of_the_old(), now_s)
                noted_s = now_s
            if not lag.small(self._progress(), [one for link in self._links() for one in link.streams], now_s):
                if lag.behind_s > LAG_MAX_S:
                    self.detail = f"not ready: what comes to it is {lag.behind_s:.0f} s behind"
                continue
            token = secrets.token_hex(8)
            if not self._slots.ask(self._slot, token):
                continue
            self.detail = "asked the recorder to stop"
            left = self._offer(token, stop)
            if left is None:
                lag = None
                continue
            stored = self._stored(left.tails, stop)
            if not self._slots.accept(self._slot, token):
                raise HandoverFailed("the old process went on before its streams could be accepted")
            return left, stored
        return None

    def begin(self, left: HandedOver, stored: dict[Stream, tuple[int, int]], sessions: Sequence[SessionRow]) -> None:
        """Record from now on: write all that was kept, and whatever of the old process has no session here.

        Args:
            left: What the old process left.
            stored: Which of the rows kept here it stored, by stream.
            sessions: Of an earlier process of this slot, which did not end them.
        """
        links = self._links()
        wanted = {stream for link in links for stream in link.streams}
        began_ns = self._began_ns()
        released = self._standby.end()
        with self._buffer.taking_over(left.checkpoints) as unclaimed:
            self._buffer.close_sessions(sessions)
            # It may not have read what was sent before we subscribed.
            behind = left.drained_ns < began_ns + _EARLY_NS
            with self._buffer as continuity:
                late = [stream for stream in unclaimed if behind or stream.symbol in self._unproven]
                since_ns = min(left.drained_ns, began_ns) - self._old_late_ns  # what it lacks was sent this early
                continuity.lost(late, "overtaken", since_ns, None)
            for session in released:
                session.release(stored, unclaimed)
            with self._buffer as continuity:
                continuity.lost(unclaimed & wanted, "disconnect", left.drained_ns, None)  # a session ended meanwhile
                for one in left.checkpoints:
                    stream = Stream(one.channel, one.symbol)
                    if one.watched and stream not in wanted:
                        continuity.unwatch(stream, left.drained_ns)
        _log.info("handover.took_over", recorder=self._slots.recorder, streams=len(left.checkpoints))

    def _require_wanted(self) -> None:
        state = self._slots.read()
        if state.active == self._slot:
            raise HandoverFailed("this slot was made the one that records; it starts again as such")
        if state.successor(time.time()) != self._slot:
            raise HandoverFailed("this successor is not wanted any more; the old process records")
        if self._starts is not None and state.starts != self._starts:
            # What it stored before is not known, and what we keep may be the same.
            raise HandoverFailed("the recorder started again while this successor waited, which begins again, too")
        if self._standby.full:
            raise HandoverFailed("more came than can be kept in memory before all streams were ready")

    def _progress_of_the_old(self) -> dict[Stream, Progress]:
        try:
            checkpoints = recover(self._old_journal)[0].checkpoints
        except (OSError, JournalError):  # `_missing` says so if it stays like this; the lag is measured once more
            return {}
        return progress_of_checkpoints(checkpoints, connection_sequences=self._connection_sequences)

    def _progress(self) -> dict[Stream, Progress]:
        return {stream: one for session in self._standby.all() for stream, one in session.progress.items()}

    def _missing(self) -> str | None:
        """Return what is not ready yet; None when everything is."""
        if self._assigned is None:
            return "the list of streams"
        links = self._links()
        for link in links:
            session = link.session
            if link.streams and (link.state is not State.LIVE or session is None):
                return f"connection {link.number} of {len(links)} ({link.state.value})"
            if session is not None and (lacks := session.lacks()):
                return _named(lacks)
        if self._required is None:
            try:
                checkpoints = recover(self._old_journal)[0].checkpoints
            except (OSError, JournalError) as error:
                return f"the journal of the recorder ({error})"
            self._required = frozenset(
                Stream(one.channel, one.symbol) for one in checkpoints if one.watched and one.gap is None
            )
        accepted = {stream for link in links for stream in link.accepted}
        absent = (self._required & self._assigned) - accepted
        if absent:
            self._required = None  # the old process may have lost one meanwhile
        return _named(absent) if absent else None

    def _offer(self, token: str, stop: threading.Event) -> HandedOver | None:
        """Return what the old process left once it has stopped; None when it did not."""
        limit_s = self._clock.monotonic_s() + _OFFER_S
        while not stop.wait(POLL_S / 4):
            state = self._slots.read()
            if state.token != token:
                return None
            if state.starts != self._starts:
                break
            if state.phase == "given":
                left = left_by(recover(self._old_journal)[0])
                if left is None or left.token != token:
                    raise HandoverFailed(f"the journal {self._old_journal.name} does not end with an offer to us")
                return left
            if self._clock.monotonic_s() > limit_s:
                break
        self._slots.withdraw(token)
        return None

    def _stored(self, tails: Sequence[RowTail], stop: threading.Event) -> dict[Stream, tuple[int, int]]:
        """Return which of the rows that are kept the old process stored, by stream: from a place up to another."""
        began_ns = self._began_ns()
        limit_s = self._clock.monotonic_s() + _TAIL_S
        while True:
            stored: dict[Stream, tuple[int, int]] = {}
            late: set[str] = set()
            self._unproven = set()
            sessions = self._standby.all()
            later = {session: [one for one in map(session.later_by, tails) if one is not None] for session in sessions}
            later_ns = {session: _agreed(known) for session, known in later.items()}
            for tail in tails:
                places = (session.stored_already(tail, later_ns[session]) for session in sessions)
                found = next((one for one in places if one is not None), None)
                if found is not None:
                    stored[Stream(tail.channel, tail.symbol)] = found
                elif tail.last_recv_ns >= began_ns:  # on its way to us, or sent before we subscribed and read late
                    self._unproven.add(tail.symbol)
                    late.update([tail.symbol] if tail.channel == "quote" else ())
            unknown_ns = [_UNKNOWN_LATE_NS] if self._unproven else []
            self._old_late_ns = max([0, *unknown_ns, *(-one for known in later.values() for one in known)])
            if not late or self._clock.monotonic_s() > limit_s or stop.wait(POLL_S / 4):
                return stored

    def _began_ns(self) -> int:
        """Return when the newest of our sessions began."""
        return max((session.row.started_ns for session in self._standby.all()), default=0)


def _agreed(later_ns: Sequence[int]) -> int | None:
    """Return the median of what streams say; None where they differ: the old process may have them by other links."""
    known = sorted(later_ns)
    return known[len(known) // 2] if known and known[-1] - known[0] < _AGREE_NS else None


def _named(streams: set[Stream] | frozenset[Stream]) -> str:
    names = sorted(map(str, streams))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
