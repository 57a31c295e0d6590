"""When to send a REST request, and when to repeat it: budget, circuit breaker, retries. The caller does the waiting."""

import enum
import re
from typing import NamedTuple

from recorder.backoff import WAIT_MAX_S
from recorder.clock import Clock
from recorder.venues.base import RestLimits

RESERVED = 0.5
"""The part of a bucket that scheduled requests leave to the live books."""
AGED_S = 20.0
"""A scheduled request that has waited this long may use that part too, so that it is late but not impossible."""


class Priority(enum.Enum):
    """Who may empty a budget."""

    LIVE = "live"  # snapshots of live books, and what a person waits for
    SCHEDULED = "scheduled"  # polls and lists: their time is not critical


class Level(NamedTuple):
    """The state of a budget, in seconds of the monotonic clock."""

    full_at_s: float  # when the bucket is full again; in the past while it is full
    not_before_s: float  # end of the pause that the venue requested


def cost_of(limits: RestLimits, path: str) -> float:
    """Return the units of one request: those of the first pattern found in its path, else 1."""
    return next((units for pattern, units in limits.weights if re.search(pattern, path)), 1.0)


class Budget:
    """A token bucket that holds up to `burst` units and refills at `per_s`.

    Over any t seconds at most burst + t * per_s units are spent. It is not safe for several threads.
    """

    def __init__(self, limits: RestLimits, clock: Clock, priority: Priority = Priority.LIVE) -> None:
        self._limits = limits
        self._clock = clock
        self._reserved = RESERVED * limits.burst if priority is Priority.SCHEDULED else 0.0
        now_s = clock.monotonic_s()
        self.level = Level(now_s, now_s)

    def cost(self, path: str) -> float:
        """Return the units of one request: those of the venue's first pattern found in its path, else 1."""
        return cost_of(self._limits, path)

    def take(self, path: str, waited_s: float = 0.0) -> float:
        """Spend the units of a request, if it may be sent now.

        Args:
            path: What is requested.
            waited_s: How long this request has waited already.

        Returns:
            0.0 when they are spent; otherwise nothing is spent, and these are the seconds to wait.
        """
        now_s = self._clock.monotonic_s()
        full_at_s, not_before_s = self.level
        if now_s < not_before_s:
            return not_before_s - now_s
        burst, per_s = self._limits.burst, self._limits.per_s
        units = burst - max(0.0, full_at_s - now_s) * per_s
        cost = self.cost(path)
        missing = min(cost, burst) - units  # a cost above the size of the bucket leaves a debt
        wait_s = 0.0 if missing <= 1e-9 else missing / per_s
        if self._reserved and waited_s < AGED_S:
            missing = min(cost + self._reserved, burst) - units
            patient_s = 0.0 if missing <= 1e-9 else missing / per_s
            wait_s = max(wait_s, min(patient_s, AGED_S - waited_s))
        if not wait_s:
            self.level = Level(max(full_at_s, now_s) + cost / per_s, not_before_s)
        return wait_s

    def pause(self, seconds: float) -> None:
        """Send nothing for so many seconds, as the venue requested, but never longer than WAIT_MAX_S."""
        until_s = self._clock.monotonic_s() + min(seconds, WAIT_MAX_S)
        self.level = Level(self.level.full_at_s, max(self.level.not_before_s, until_s))

    def merge(self, other: Level) -> None:
        """Take over what others spent and which pause they know."""
        self.level = Level(*map(max, self.level, other))

    @property
    def refill_s(self) -> float:
        """The seconds until the bucket is full after the most expensive request at the worst moment."""
        most = max([1.0, *(units for _, units in self._limits.weights)])
        return (self._limits.burst + most) / self._limits.per_s


class Breaker:
    """Stops requests to a host that fails: it opens after some failures in a row, and closes after a trial succeeds.

    While it is open, one trial is allowed every `open_s` seconds. It is not safe for several threads.
    """

    def __init__(self, limits: RestLimits, clock: Clock) -> None:
        self._failures_to_open = limits.failures_to_open
        self._open_s = limits.open_s
        self._clock = clock
        self._failures = 0
        self._trial_at_s = 0.0  # when a trial is allowed, while open
        self._trying = False

    def refuse_s(self) -> float:
        """Return 0.0 when a request may be sent, else the seconds until the next; while open, only one at a time."""
        if self._failures < self._failures_to_open:
            return 0.0
        left_s = self._trial_at_s - self._clock.monotonic_s()
        if left_s > 0 or self._trying:
            return max(left_s, 1.0)
        self._trying = True
        return 0.0

    def passed(self) -> None:
        """Count an answer of the host."""
        self._failures = 0
        self._trying = False

    def failed(self) -> bool:
        """Count a request without an answer, or with that of a broken host.

        Returns:
            Whether this failure opened the breaker.
        """
        self._failures += 1
        self._trying = False
        if self._failures >= self._failures_to_open:
            self._trial_at_s = self._clock.monotonic_s() + self._open_s
        return self._failures == self._failures_to_open

    @property
    def is_open(self) -> bool:
        """Whether requests are refused, except for trials."""
        return self._failures >= self._failures_to_open

    def abandoned(self) -> None:
        """End a request that shows nothing about the host."""
        self._trying = False


def is_passing(status: int) -> bool:
    """Return whether the same request may succeed later: too many requests, or an error of the server."""
    return status == 429 or 500 <= status <= 599
