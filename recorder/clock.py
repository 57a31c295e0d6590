"""Instants from the wall clock, durations from the monotonic clock, both replaceable in tests."""

import time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that stands until told to move. For tests."""

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

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock only, as NTP or a person does."""
        self._wall_ns += int(seconds * 1e9)
