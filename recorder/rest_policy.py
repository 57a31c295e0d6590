"""When to ask a venue's REST, and when to ask again: budget, circuit breaker, retries. Pure; the caller waits."""

import email.utils
import re

from recorder.clock import Clock
from recorder.venues.base import RestLimits

FAILURES_TO_OPEN = 5
OPEN_S = 30.0


class Budget:
    """A token bucket: what the venue allows is saved up to `burst` and refills evenly.

    Over any span of t seconds at most burst + t * per_s units are spent. Not safe between threads.
    """

    def __init__(self, limits: RestLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._units = limits.burst
        self._at_s = clock.monotonic_s()
        self._not_before_s = self._at_s

    def cost(self, path: str) -> float:
        """Units of one request: the first pattern of the venue found in its path decides, else 1."""
        return next((units for pattern, units in self._limits.weights if re.search(pattern, path)), 1.0)

    def take(self, path: str) -> float:
        """Spend what a request costs, if it may be sent now.

        Returns:
            0.0 when it is spent; else the seconds after which to come again, and nothing is spent.
        """
        now_s = self._clock.monotonic_s()
        self._units = min(self._limits.burst, self._units + (now_s - self._at_s) * self._limits.per_s)
        self._at_s = now_s
        if now_s < self._not_before_s:
            return self._not_before_s - now_s
        cost = self.cost(path)
        missing = min(cost, self._limits.burst) - self._units  # one dearer than the bucket may leave a debt behind
        if missing > 1e-9:
            return missing / self._limits.per_s
        self._units -= cost
        return 0.0

    def pause(self, seconds: float) -> None:
        """Send nothing for so long: the venue said so."""
        self._not_before_s = max(self._not_before_s, self._clock.monotonic_s() + seconds)


class Breaker:
    """Stops asking a host that fails: open after five failures in a row, one trial after 30 s decides what follows.

    Not safe between threads.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._trial_at_s = 0.0  # when a trial is allowed, while open
        self._trying = False

    def refuse_s(self) -> float:
        """0.0 when a request may go (after 30 s the only one, until it has ended); else seconds until the next may."""
        if self._failures < FAILURES_TO_OPEN:
            return 0.0
        left_s = self._trial_at_s - self._clock.monotonic_s()
        if left_s > 0 or self._trying:
            return max(left_s, 1.0)
        self._trying = True
        return 0.0

    def passed(self) -> None:
        """The host answered."""
        self._failures = 0
        self._trying = False

    def failed(self) -> bool:
        """The host did not answer, or not as a working one does.

        Returns:
            Whether this failure opened it.
        """
        self._failures += 1
        self._trying = False
        if self._failures >= FAILURES_TO_OPEN:
            self._trial_at_s = self._clock.monotonic_s() + OPEN_S
        return self._failures == FAILURES_TO_OPEN

    def abandoned(self) -> None:
        """A request ended without saying anything about the host."""
        self._trying = False


def is_passing(status: int) -> bool:
    """Whether the same request may fare better later: too many requests, or a fault of the server."""
    return status == 429 or 500 <= status <= 599


def retry_after_s(header: str | None, wall_ns: int) -> float | None:
    """Seconds that a Retry-After asks for, given as seconds or as an HTTP date; None without a usable one.

    Source: RFC 9110 section 10.2.3.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - wall_ns / 1e9) if when.tzinfo else None
