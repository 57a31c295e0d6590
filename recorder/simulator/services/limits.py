"""Rate limits of a service: requests per ten seconds, by the beginning of the path."""

from collections import deque

import msgspec

WINDOW_S = 10.0


class Limit(msgspec.Struct, frozen=True):
    """At most so many requests in a window to the paths that begin so."""

    path: str
    requests: int


class RateLimits:
    """Counts the requests of the last window."""

    def __init__(self, limits: tuple[Limit, ...], window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._counts: list[tuple[Limit, deque[float]]] = [(limit, deque()) for limit in limits]

    def excess_s(self, path: str, now_s: float) -> float:
        """Count a request and return how long it is too early; 0 while it is within every limit.

        Args:
            path: Of the request.
            now_s: Monotonic.
        """
        wait_s = 0.0
        for limit, times in self._counts:
            if not path.startswith(limit.path):
                continue
            while times and times[0] <= now_s - self._window_s:
                times.popleft()
            if len(times) >= limit.requests:
                wait_s = max(wait_s, times[-limit.requests] + self._window_s - now_s)
            times.append(now_s + wait_s)
        return wait_s
