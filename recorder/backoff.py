"""Delays between attempts: those of our own, and those that a peer asks for. Never sleeps; the caller waits."""

import email.utils
import random
import re

WAIT_MAX_S = 900.0
"""The longest wait that a peer can cause, whatever it asks for."""

_DATE_MAX = 64  # characters; nothing longer is a date
_EPOCHS = ((1e9, 1.0), (1e12, 1e3), (1e15, 1e6), (1e18, 1e9))  # from this number on: a time since 1970, in this unit
_EPOCH_DIGITS = 10.0  # a time of this century has as many digits in its unit as the first number has


class Backoff:
    """Full-jitter exponential backoff (Brooker, AWS Architecture Blog, 2015).

    A link calls `reset` once a session with data has lived for a while, not on a successful connect: a server may
    accept, speak and drop connections all day.
    """

    def __init__(self, base_s: float, cap_s: float, rng: random.Random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._rng = rng
        self.attempts = 0

    def next_s(self) -> float:
        """Return the seconds to wait before the next attempt, uniform in (0, min(cap, base * 2**n)]."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return ceiling * (1.0 - self._rng.random())

    def reset(self) -> None:
        """Forget past failures."""
        self.attempts = 0


def retry_after_s(header: str | None, wall_ns: int) -> float | None:
    """Return the seconds that a Retry-After asks for, at most WAIT_MAX_S; None without a usable one.

    The standard has seconds and HTTP dates (RFC 9110 section 10.2.3). Venues also send fractions of a second, and the
    time itself as seconds, milli-, micro- or nanoseconds since 1970.

    Args:
        header: Text of the header.
        wall_ns: The time now.
    """
    text = (header or "").strip()
    now_s = wall_ns / 1e9
    if re.fullmatch(r"[0-9]+(\.[0-9]*)?", text):
        value = float(text)
        units = (unit for first, unit in _EPOCHS if first <= value < first * _EPOCH_DIGITS)
        unit = next(units, None)
        return _bounded(value if unit is None else value / unit - now_s)
    if len(text) > _DATE_MAX:
        return None
    try:
        fields = email.utils.parsedate_tz(text)
        return None if fields is None else _bounded(email.utils.mktime_tz(fields) - now_s)
    except (ValueError, TypeError, OverflowError, IndexError):  # which one depends on the nonsense
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), WAIT_MAX_S)
