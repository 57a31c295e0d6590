"""Tells a clock that was set from a machine that slept, by comparing three clocks."""

import time
from collections.abc import Callable

import msgspec

from recorder.clock import Clock
from recorder.poller.ledger import Interval

_STEP_S = 0.5
"""The wall clock is adjusted by less than this without a step."""

# Both count the time in which the machine sleeps: CLOCK_BOOTTIME on Linux, CLOCK_MONOTONIC on macOS.
_ASLEEP_TOO: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_s() -> float:
    """Return seconds that never go back, and that go on while the machine sleeps."""
    return time.clock_gettime(_ASLEEP_TOO)


class Step(msgspec.Struct, frozen=True):
    """A jump of the wall clock against the monotonic one."""

    seconds: float  # negative: it was set back
    interval: Interval | None  # the wall time that was left out; None where it was set back


class ClockSteps:
    """Notices jumps between two checks. Not thread-safe.

    Args:
        clock: The wall clock and the monotonic one.
        boot_s: A clock that goes on while the machine sleeps.
    """

    def __init__(self, clock: Clock, boot_s: Callable[[], float] = boot_s) -> None:
        self._clock = clock
        self._boot_s = boot_s
        self._last = self._read()

    def check(self) -> Step | None:
        """Return the jump since the last check; None without one."""
        before, self._last = self._last, self._read()
        wall_ns, passed_s, boot_s = (new - old for new, old in zip(self._last, before, strict=True))
        jump_s = wall_ns / 1e9 - passed_s
        if abs(jump_s) < _STEP_S:
            return None
        if jump_s < 0:
            return Step(jump_s, None)
        slept = boot_s - passed_s > jump_s / 2
        # The time that really passed since the last check is at the begin of the interval or at its end. It is short.
        return Step(jump_s, Interval(int(before[0]), int(self._last[0]), "asleep" if slept else "clock"))

    def _read(self) -> tuple[int, float, float]:
        return self._clock.wall_ns(), self._clock.monotonic_s(), self._boot_s()
