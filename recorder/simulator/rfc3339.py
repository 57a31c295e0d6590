"""Times in the formats of the venues: RFC 3339 in UTC."""

import time
from functools import lru_cache


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def rfc3339(ts_ns: int) -> str:
    """Return nanoseconds since 1970 as text with microseconds; the rest is cut off."""
    second, rest = divmod(ts_ns, 1_000_000_000)
    return f"{_second(second)}.{rest // 1000:06d}Z"


def rfc3339_nano(ts_ns: int) -> str:
    """Return nanoseconds since 1970 as Go's RFC3339Nano prints them, without trailing zeros."""
    second, rest = divmod(ts_ns, 1_000_000_000)
    return f"{_second(second)}.{rest:09d}".rstrip("0").rstrip(".") + "Z"
