"""The process that records lets a successor take over: it stops, and its last block offers every stream.

Until the successor has accepted, this process can still be the one that records: where no successor accepts, it ends
with an error, supervisord starts it again, and it continues with the usual declared gap.
"""

import threading
import time
from collections.abc import Callable, Iterable

import msgspec

from recorder.capture.buffer import WriteBuffer
from recorder.capture.handover.state import HandedOver, RowTails
from recorder.capture.session import Session
from recorder.clock import Clock
from recorder.errors import HandoverFailed
from recorder.process.log import get_logger
from recorder.process.slots import Slot, Slots

POLL_S = 0.1
"""How often both processes look at the file of the slots."""

_DRAIN_S = 5.0  # a connection that never has nothing to read does not delay the change for longer
_ACCEPT_S = 10.0  # a successor that has asked accepts within 6 s; nothing is recorded while a frozen one is waited for

_log = get_logger(__name__)


class Giving:
    """The side of the process that records.

    Attributes:
        done: Whether a successor records now.
    """

    def __init__(
        self,
        slots: Slots,
        slot: Slot,
        buffer: WriteBuffer,
        sessions: Callable[[], Iterable[Session]],
        clock: Clock,
        *,
        connection_sequences: bool,
    ) -> None:
        """
        Args:
            slots: Of the recorder.
            slot: Of this process.
            buffer: Of this process.
            sessions: Returns those that are open.
            clock: Wall and monotonic.
            connection_sequences: See `Venue.connection_sequences`.
        """
        self.done = False
        self._slots = slots
        self._slot = slot
        self._buffer = buffer
        self._sessions = sessions
        self._clock = clock
        self._connection_sequences = connection_sequences

    def wait(self, stop: threading.Event) -> bool:
        """Return True once a successor records, False when stopped.

        Raises:
            HandoverFailed: No successor accepted after we had stopped, or the disk failed.
        """
        while not stop.wait(POLL_S):
            state = self._slots.read()
            if state.active != self._slot:
                raise HandoverFailed(f"slot {state.active} of {self._slots.recorder} was made the one that records")
            if state.successor(time.time()) is None:
                self._buffer.tails = None
                continue
            if self._buffer.tails is None:
                self._buffer.tails = RowTails(connection_sequences=self._connection_sequences)
            if state.phase == "asked" and self._slots.give(state.token):
                return self._give(state.token, stop)
        return False

    def _give(self, token: str, stop: threading.Event) -> bool:
        asked_ns = self._clock.wall_ns()
        limit_s = self._clock.monotonic_s() + _DRAIN_S
        while self._drained_ns() < asked_ns and self._clock.monotonic_s() < limit_s and not stop.wait(POLL_S / 4):
            pass
        drained_ns, tails = self._drained_ns(), self._buffer.tails
        self._buffer.hand_over(
            lambda checkpoints: msgspec.msgpack.encode(
                HandedOver(token, checkpoints, [] if tails is None else tails.all(), drained_ns)
            )
        )
        _log.info("handover.offered", recorder=self._slots.recorder, token=token)
        if self._slots.given(token):
            limit_s = self._clock.monotonic_s() + _ACCEPT_S
            while self._slots.read().token == token:
                if stop.wait(POLL_S / 4) or self._clock.monotonic_s() > limit_s:
                    self._slots.withdraw(token)  # decided under the lock: it may have accepted this moment
                    break
        self.done = self._slots.read().active != self._slot
        if not self.done and not stop.is_set():
            raise HandoverFailed("the successor did not accept the streams; this recorder starts again")
        return self.done

    def _drained_ns(self) -> int:
        return min((session.drained_ns for session in self._sessions()), default=self._clock.wall_ns())
