"""The wall clock for instants and the monotonic clock for durations; tests replace both."""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def wall_ns(self) -> int:
        """Return the nanoseconds since 1970, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only by `advance` and `set`. For tests."""

    def __init__(self, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._wall_ns = wall_ns
        self._monotonic_s = 0.0

    def wall_ns(self) -> int:
        return self._wall_ns

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._wall_ns += int(seconds * 1e9)
        self._monotonic_s += seconds

    def set(self, seconds: float) -> None:
        """Set the wall clock ahead, or back when negative; no time passes."""
        self._wall_ns += int(seconds * 1e9)
