"""A process: named threads until a signal arrives or one of them ends. The only file that starts a thread."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

from recorder.log import get_logger

Part = Callable[[threading.Event], None]
"""The body of a thread: works until its stop event is set, then returns."""

_log = get_logger(__name__)


class Crew:
    """The threads of a process. Parts may be added while it runs (a new connection)."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._ended: queue.SimpleQueue[str | int] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._failed = False
        self._hang_up: Callable[[], None] | None = None

    def listen(self, *, hang_up: Callable[[], None] | None = None) -> None:
        """Take signals from now on. Before the first part: one that comes as it starts must not be lost.

        A SimpleQueue's put() is safe inside a signal handler; Event.set() is not.

        Args:
            hang_up: Done at SIGHUP, in the main thread; without it SIGHUP ends the process.
        """
        self._hang_up = hang_up
        for number in (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if hang_up else ())):
            signal.signal(number, self._on_signal)

    def add(self, name: str, part: Part, *, may_end: bool = False) -> None:
        """Start a part in its own named thread.

        Args:
            name: Of the thread.
            part: Its body.
            may_end: Whether its return is no fault; that of any other part ends the process.
        """
        thread = threading.Thread(target=self._body, args=(name, part, may_end), name=name)
        self._threads = [*filter(threading.Thread.is_alive, self._threads), thread]
        thread.start()

    def _body(self, name: str, part: Part, may_end: bool) -> None:
        try:
            part(self.stop)
            if may_end:
                return
            if not self.stop.is_set():
                _log.error("part.ended", part=name)
                self._failed = True
        except Exception:
            _log.exception("part.failed", part=name)
            self._failed = True
        self._ended.put(name)

    def wait(self, grace_s: float) -> int:
        """Wait for a signal or the end of a part, then stop all against one deadline.

        Returns:
            0 after a signal and a clean stop, else 1, so that supervisord restarts us.
        """
        while (reason := self._ended.get()) == signal.SIGHUP and self._hang_up is not None:
            self._hang_up()
        _log.info("process.stopping", reason=signal.Signals(reason).name if isinstance(reason, int) else reason)
        self.stop.set()
        deadline = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            _log.error("process.stop_late", parts=",".join(late))
        return 1 if self._failed or late else 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._ended.put(number)


def run(parts: Mapping[str, Part], *, grace_s: float = 10.0) -> int:
    """Run each part in its own named thread until a signal arrives or a part ends."""
    crew = Crew()
    crew.listen()
    for name, part in parts.items():
        crew.add(name, part)
    return crew.wait(grace_s)
