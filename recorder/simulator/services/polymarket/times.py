"""Times in the formats of Polymarket's services."""

import calendar
import time


def iso(at_s: float) -> str:
    """Return an instant like 2026-11-30T15:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


def spaced(at_s: float) -> str:
    """Return an instant like 2026-11-30 15:00:00+00, as some fields of Gamma have it."""
    return time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime(at_s))


def day(at_s: float) -> str:
    """Return a date like 2026-11-30."""
    return time.strftime("%Y-%m-%d", time.gmtime(at_s))


def read(text: str) -> float:
    """Return the seconds since 1970 of an instant in ISO 8601, in UTC.

    Raises:
        ValueError: it is not one.
    """
    clean = text.rstrip("Zz").split("+")[0].split(".")[0]
    form = "%Y-%m-%dT%H:%M:%S" if "T" in clean else "%Y-%m-%d"
    return float(calendar.timegm(time.strptime(clean, form)))
