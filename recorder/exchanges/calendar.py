"""The calendar of one exchange: sessions of a day, open or closed at an instant, the next open and the next close.

Instants are seconds since 1970, UTC. Hours are local times of the exchange, so its time zone decides about daylight
saving.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

Hours = tuple[tuple[int, int], ...]
"""Parts of a trading day, [open, close) in minutes since local midnight; two where there is a break, none: closed."""

_KNOWN = 1024  # sessions that are kept, since every slot asks for the same few
_SEARCH_DAYS = 40
"""No exchange was closed for longer since 1914."""


class Week(NamedTuple):
    """The regular hours from a day on, until the next `Week` begins."""

    first: date
    hours: Mapping[int, Hours]  # by ISO weekday, 1 is Monday; a day that is missing is closed


class Session(NamedTuple):
    """One trading day. `parts` are [open, close) in seconds since 1970, in order; two where there is a break."""

    day: date
    parts: tuple[tuple[int, int], ...]

    @property
    def open_s(self) -> int:
        """Return when the session begins."""
        return self.parts[0][0]

    @property
    def close_s(self) -> int:
        """Return when the session ends."""
        return self.parts[-1][1]

    @property
    def length_s(self) -> int:
        """Return the seconds of trading, without a break."""
        return sum(end - start for start, end in self.parts)


class Exchange:
    """The trading hours of one exchange.

    Args:
        name: Its market identifier code, such as XNYS.
        zone: Its time zone.
        first: First day of the table.
        last: Last day of the table. Later days have the last regular hours and no holidays.
        weeks: Regular hours, in the order of their first day.
        special: Days with other hours: holidays, half days, extra sessions.
    """

    def __init__(
        self, name: str, zone: ZoneInfo, first: date, last: date, weeks: Sequence[Week], special: Mapping[date, Hours]
    ) -> None:
        self.name = name
        self.zone = zone
        self.first = first
        self.last = last
        self._weeks = weeks
        self._begins = [week.first for week in weeks]
        self._special = special
        self._known: dict[date, Session | None] = {}

    def covers(self, day: date) -> bool:
        """Return whether the table knows the holidays of a day."""
        return self.first <= day <= self.last

    def session(self, day: date) -> Session | None:
        """Return the session of a local date; None where the exchange is closed all day."""
        if day not in self._known:
            if len(self._known) >= _KNOWN:
                self._known.clear()
            self._known[day] = self._session(day)
        return self._known[day]

    def _session(self, day: date) -> Session | None:
        hours = self._special.get(day)
        if hours is None:
            rule = self._weeks[max(bisect_right(self._begins, day) - 1, 0)]
            hours = rule.hours.get(day.isoweekday(), ())
        if not hours:
            return None
        return Session(day, tuple((self._instant_s(day, start), self._instant_s(day, end)) for start, end in hours))

    def sessions(self, first: date, last: date) -> Iterator[Session]:
        """Return the sessions of the local dates from `first` to `last`, both included."""
        for offset in range((last - first).days + 1):
            session = self.session(first + timedelta(days=offset))
            if session is not None:
                yield session

    def local_date(self, at_s: float) -> date:
        """Return the local date of an instant."""
        return datetime.fromtimestamp(at_s, self.zone).date()

    def is_open(self, at_s: float) -> bool:
        """Return whether the exchange trades at an instant. It does at the open, and not at the close or in a break."""
        session = self.session(self.local_date(at_s))
        return session is not None and any(start <= at_s < end for start, end in session.parts)

    def next_open(self, at_s: float) -> int | None:
        """Return the first instant after `at_s` at which trading begins; None where none is near."""
        return self._next(at_s, 0)

    def next_close(self, at_s: float) -> int | None:
        """Return the first instant after `at_s` at which trading ends; None where none is near."""
        return self._next(at_s, 1)

    def last_session(self, at_s: float) -> Session | None:
        """Return the session that ended last at an instant; None where none is near."""
        day = self.local_date(at_s)
        for offset in range(_SEARCH_DAYS):
            session = self.session(day - timedelta(days=offset))
            if session is not None and session.close_s <= at_s:
                return session
        return None

    def _next(self, at_s: float, edge: int) -> int | None:
        """Return the first open or close after an instant; trading that continues over midnight has none there."""
        day = self.local_date(at_s)
        edges = [set[int](), set[int]()]
        for session in self.sessions(day - timedelta(days=1), day + timedelta(days=_SEARCH_DAYS)):
            for part in session.parts:
                for index, instant in enumerate(part):
                    edges[index].add(instant)
        searched = max(edges[1], default=0)  # what is there may continue
        return min((at for at in edges[edge] - edges[1 - edge] if at_s < at < searched), default=None)

    def _instant_s(self, day: date, minute: int) -> int:
        days, minute = divmod(minute, 1440)
        hour, minute = divmod(minute, 60)
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone) + timedelta(days=days)
        return int(local.astimezone(UTC).timestamp())
