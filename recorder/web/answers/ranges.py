"""Ranges of time as requests name them."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from recorder.web.answers.encode import instant
from recorder.web.answers.problems import Problem

_LEAST, _MOST = datetime(2009, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_BACK = re.compile(r"-(\d{1,5})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Span(NamedTuple):
    """A range: its start is included, its end is not."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end - self.start).total_seconds()

    def text(self) -> dict[str, str]:
        """Return it as answers repeat it."""
        return {"start": instant(self.start), "end": instant(self.end)}


def parse(name: str, text: str) -> datetime:
    """Return an instant: RFC 3339, UTC without an offset; or -15m, -2h, -1d before now.

    Raises:
        Problem: the text is none, or lies outside of 2009 to 2100.
    """
    back = _BACK.fullmatch(text)
    if back is not None:
        return _bounded(name, datetime.now(UTC) - timedelta(**{_UNITS[back[2]]: int(back[1])}))
    try:
        # A blank is what became of the + of an offset that was not encoded.
        at = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    except ValueError:
        detail = f"{name} is not an instant; write it like 2026-11-21T13:30:00Z, or -15m"
        raise Problem(422, detail, kind="invalid") from None
    return _bounded(name, at.replace(tzinfo=UTC) if at.tzinfo is None else at)


def span(start: str | None, end: str | None, window: timedelta, longest: timedelta) -> Span:
    """Return a range, with defaults.

    Args:
        start: As given; without it `window` before the end.
        end: As given; without it now.
        window: Default length.
        longest: Greatest length.

    Raises:
        Problem: a text is no instant, or the range is empty or too long.
    """
    until = datetime.now(UTC) if not end else parse("end", end)
    since = until - window if not start else parse("start", start)
    if since >= until:
        raise Problem(422, "start is not before end", kind="invalid")
    if until - since > longest:
        raise Problem(422, f"this list takes at most {longest.days or longest.seconds // 3600} "
                      f"{'days' if longest.days else 'hours'} at once", kind="invalid")  # fmt: skip
    return Span(since, until)


def _bounded(name: str, at: datetime) -> datetime:
    if not _LEAST <= at <= _MOST:
        raise Problem(422, f"{name} lies outside of 2009 to 2100", kind="invalid")
    return at.astimezone(UTC)
