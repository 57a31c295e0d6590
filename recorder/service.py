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

    def listen(self) -> None:
        """Take signals from now on. Before the first part: one that comes as it starts must not be lost.

        A SimpleQueue's put() is safe inside a signal handler; Event.set() is not.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def add(self, name: str, part: Part) -> None:
        """Start a part in its own named thread."""
        thread = threading.Thread(target=self._body, args=(name, part), name=name)
        self._threads.append(thread)
        thread.start()

    def _body(self, name: str, part: Part) -> None:
        try:
            part(self.stop)
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
        reason = self._ended.get()
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
