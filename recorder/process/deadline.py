"""One deadline for all waits of one task, which a stop of the program ends too.

The timeout of a socket starts again with every byte and does not see a stop. So a wait is cut into short ones, and
between them the deadline and the stop are checked.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from recorder.clock import Clock

SLICE_S = 0.2

_T = TypeVar("_T")


class Stopped(Exception):
    """The program stops; the wait was given up."""


class Deadline:
    """The end of one task: a time, or the stop of the program if that is earlier."""

    def __init__(self, stop: threading.Event, clock: Clock, seconds: float) -> None:
        self._stop = stop
        self._clock = clock
        self._seconds = seconds
        self._until_s = clock.monotonic_s() + seconds

    def left_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            Stopped: the program stops.
            TimeoutError: none are left.
        """
        if self._stop.is_set():
            raise Stopped
        left_s = self._until_s - self._clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError(f"not complete after {self._seconds:g} s")
        return left_s

    def wait(self, limit_s: float | None, work: Callable[[], _T]) -> _T:
        """Repeat work that raises TimeoutError after a short wait, until it returns.

        Args:
            limit_s: How long all calls together may wait; None is without a limit.
            work: One attempt.

        Raises:
            Stopped: the program stops.
            TimeoutError: the limit or the time of the task is over.
        """
        started_s = self._clock.monotonic_s()
        while True:
            self.left_s()
            try:
                return work()
            except TimeoutError:
                if limit_s is not None and self._clock.monotonic_s() - started_s >= limit_s:
                    raise
