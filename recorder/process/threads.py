"""A process is a group of named threads that run until a signal arrives or one of them ends."""

import queue
import signal
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType

from recorder.process.log import get_logger

Part = Callable[[threading.Event], None]
"""The body of a thread: it works until its stop event is set, then returns."""

_log = get_logger(__name__)


class ThreadGroup:
    """The threads of a process. Parts may be added while it runs, for example a new connection."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._ended: queue.SimpleQueue[str | int] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._leave_s: dict[str, float] = {}  # of the parts that may be left behind
        self._failed = False
        self._on_sighup: Callable[[], None] | None = None

    def listen(self, *, on_sighup: Callable[[], None] | None = None) -> None:
        """Handle signals from now on. Call it before the first `add`, so that no early signal is lost.

        A SimpleQueue's put() is safe inside a signal handler; Event.set() is not.

        Args:
            on_sighup: Called at SIGHUP, in the main thread; without it SIGHUP ends the process.
        """
        self._on_sighup = on_sighup
        for number in (signal.SIGTERM, signal.SIGINT, *((signal.SIGHUP,) if on_sighup else ())):
            signal.signal(number, self._on_signal)

    def add(self, name: str, part: Part, *, may_end: bool = False, leave_s: float | None = None) -> None:
        """Start a part in its own named thread.

        Args:
            name: Of the thread.
            part: Its body.
            may_end: Whether the part may return; the return of any other part ends the process.
            leave_s: At the end of the process wait only this long, then leave the part behind. This is for parts that
                may hang in a call to a server and whose work is a transaction there.
        """
        if leave_s is not None:
            self._leave_s[name] = leave_s
        thread = threading.Thread(target=self._body, args=(name, part, may_end), name=name, daemon=leave_s is not None)
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

    def end(self, reason: str) -> None:
        """End the process as if a signal had come; any thread may call it."""
        self._ended.put(reason)

    def wait(self, grace_s: float) -> int:
        """Wait for a signal or the end of a part, then stop all against one deadline.

        Returns:
            0 after a signal and a clean stop, else 1, so that supervisord restarts us.
        """
        while (reason := self._ended.get()) == signal.SIGHUP and self._on_sighup is not None:
            self._on_sighup()
        _log.info("process.stopping", reason=signal.Signals(reason).name if isinstance(reason, int) else reason)
        self.stop.set()
        now_s = time.monotonic()
        for thread in self._threads:
            thread.join(max(0.0, now_s + self._leave_s.get(thread.name, grace_s) - time.monotonic()))
        late = [thread.name for thread in self._threads if thread.is_alive()]
        left = [name for name in late if name in self._leave_s]
        if left:
            _log.warning("process.left_behind", parts=",".join(left))
        late = [name for name in late if name not in left]
        if late:
            _log.error("process.stop_late", parts=",".join(late))
        return 1 if self._failed or late else 0

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._ended.put(number)


def run(parts: Mapping[str, Part], *, grace_s: float = 10.0, leave_s: Mapping[str, float] | None = None) -> int:
    """Run each part in its own named thread until a signal arrives or a part ends.

    Args:
        parts: Their bodies, by name.
        grace_s: Longest wait for their end.
        leave_s: As for `ThreadGroup.add`, by name.
    """
    group = ThreadGroup()
    group.listen()
    for name, part in parts.items():
        group.add(name, part, leave_s=(leave_s or {}).get(name))
    return group.wait(grace_s)
