"""Rate limits: a token bucket per user or address, in a bounded table."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MOST_CLIENTS = 10_000


class Verdict(NamedTuple):
    """Whether a request may pass, and what is left."""

    allowed: bool
    limit: int
    remaining: int
    retry_s: int  # until it would be allowed; 0 where it is


class RateLimit:
    """Buckets that hold a minute's worth and fill evenly. The client seen least recently is forgotten first."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic, most: int = MOST_CLIENTS) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # left, at

    def take(self, client: str, cost: float = 1.0) -> Verdict:
        """Take the cost of a request out of the bucket of a client.

        Args:
            client: Name of the user, or address.
            cost: Of the request; one of more than a full bucket passes when the bucket is full.
        """
        now, per_s = self._clock(), self._per_minute / 60
        left, at = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - at) * per_s)
        cost = min(cost, self._per_minute)
        allowed = left >= cost
        left = left - cost if allowed else left
        self._buckets[client] = left, now
        if len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        retry_s = 0 if allowed else max(1, -int(-(cost - left) // per_s))
        return Verdict(allowed, self._per_minute, int(left), retry_s)
