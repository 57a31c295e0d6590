"""Sessions of the simulated exchanges: opening hours, holidays, half days and daylight saving time.

The rules are those of today's New York and London. From 2022 to 2027 they give the sessions of exchange_calendars
except one-off closings, such as 2025-01-09 in New York and 2023-05-08 in London.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

Closing = time | None
"""Closing time of a half day; None for a holiday."""

_DAY = timedelta(days=1)
_SEARCH = 15  # days within which every exchange has a session


class Session(msgspec.Struct, frozen=True):
    """One session; times are seconds since 1970."""

    day: date  # of the exchange
    open_s: int
    close_s: int


class Exchange(msgspec.Struct, frozen=True):
    """An exchange."""

    code: str
    name: str
    zone: str
    opens: time
    closes: time  # midnight means the end of the day
    exceptions: Callable[[int], dict[date, Closing]]
    always: bool = False  # it never closes

    def session(self, day: date) -> Session | None:
        """Return the session of a day, None where there is none."""
        exceptions = _exceptions(self.exceptions, day.year)
        if not self.always and (day.weekday() >= 5 or exceptions.get(day, self.closes) is None):
            return None
        closes = exceptions.get(day, self.closes) or self.closes
        end = self._at(day + _DAY, time()) if self.always else self._at(day, closes)
        return Session(day, self._at(day, self.opens), end)

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        """Yield the sessions of a range of days, both included."""
        for number in range((last - first).days + 1):
            session = self.session(first + number * _DAY)
            if session is not None:
                yield session

    def latest(self, at_s: float) -> Session:
        """Return the last session that has begun.

        Raises:
            ValueError: there is none within two weeks.
        """
        today = self.day(at_s)
        for back in range(_SEARCH):
            session = self.session(today - back * _DAY)
            if session is not None and session.open_s <= at_s:
                return session
        raise ValueError(f"{self.code} has no session in the {_SEARCH} days before {today}")

    def day(self, at_s: float) -> date:
        """Return the local date of an instant."""
        return datetime.fromtimestamp(at_s, ZoneInfo(self.zone)).date()

    def offset_s(self, at_s: float) -> int:
        """Return the seconds that its clock is ahead of UTC."""
        offset = datetime.fromtimestamp(at_s, ZoneInfo(self.zone)).utcoffset()
        return int(offset.total_seconds()) if offset is not None else 0

    def abbreviation(self, at_s: float) -> str:
        """Return the short name of its time zone, such as EST."""
        return datetime.fromtimestamp(at_s, ZoneInfo(self.zone)).tzname() or "UTC"

    def _at(self, day: date, at: time) -> int:
        return int(datetime.combine(day, at, ZoneInfo(self.zone)).astimezone(UTC).timestamp())


@lru_cache(maxsize=256)
def _exceptions(rules: Callable[[int], dict[date, Closing]], year: int) -> dict[date, Closing]:
    return rules(year)


def _nth(year: int, month: int, weekday: int, number: int) -> date:
    """Return the n-th weekday of a month; number 0 is the last."""
    if number == 0:
        last = date(year + month // 12, month % 12 + 1, 1) - _DAY
        return last - (last.weekday() - weekday) % 7 * _DAY
    first = date(year, month, 1)
    return first + ((weekday - first.weekday()) % 7 + 7 * (number - 1)) * _DAY


def easter(year: int) -> date:
    """Return Easter Sunday (the algorithm of Meeus, Jones and Butcher)."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    f = (b + 8) // 25
    h = (19 * a + b - d - (b - f + 1) // 3 + 15) % 30
    i, k = divmod(c, 4)
    w = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * w) // 451
    month, day = divmod(h + w - 7 * m + 114, 31)
    return date(year, month, day + 1)


def _nearest_weekday(day: date) -> date:
    """Return Friday for a Saturday and Monday for a Sunday."""
    return day - _DAY if day.weekday() == 5 else day + _DAY if day.weekday() == 6 else day


def _new_york(year: int) -> dict[date, Closing]:
    new_year = date(year, 1, 1)
    closed = [
        new_year + _DAY if new_year.weekday() == 6 else new_year,  # a Saturday is not made up for
        _nth(year, 1, 0, 3), _nth(year, 2, 0, 3), easter(year) - 2 * _DAY, _nth(year, 5, 0, 0),
        _nearest_weekday(date(year, 6, 19)), _nearest_weekday(date(year, 7, 4)), _nth(year, 9, 0, 1),
        _nth(year, 11, 3, 4), _nearest_weekday(date(year, 12, 25)),
    ]  # fmt: skip
    early = time(13)
    half = [_nth(year, 11, 3, 4) + _DAY]
    half += [eve for eve in (date(year, 7, 3), date(year, 12, 24)) if eve.weekday() < 4]
    return {**dict.fromkeys(half, early), **dict.fromkeys(closed)}


def _london(year: int) -> dict[date, Closing]:
    christmas, boxing, new_year = date(year, 12, 25), date(year, 12, 26), date(year, 1, 1)
    closed = [
        new_year + (7 - new_year.weekday()) * _DAY if new_year.weekday() >= 5 else new_year,
        easter(year) - 2 * _DAY, easter(year) + _DAY, _nth(year, 5, 0, 1), _nth(year, 5, 0, 0), _nth(year, 8, 0, 0),
        christmas + 2 * _DAY if christmas.weekday() >= 5 else christmas,
        boxing + 2 * _DAY if boxing.weekday() >= 5 else boxing,
    ]  # fmt: skip
    early = time(12, 30)
    # On a weekend the last session before it is short.
    half = [day - max(0, day.weekday() - 4) * _DAY for day in (date(year, 12, 24), date(year, 12, 31))]
    return {**dict.fromkeys(half, early), **dict.fromkeys(closed)}


def _never(year: int) -> dict[date, Closing]:
    return {}


NEW_YORK = Exchange("NMS", "NasdaqGS", "America/New_York", time(9, 30), time(16), _new_york)
LONDON = Exchange("LSE", "LSE", "Europe/London", time(8), time(16, 30), _london)
ALWAYS = Exchange("SIM", "Always Open", "UTC", time(0), time(0), _never, always=True)
