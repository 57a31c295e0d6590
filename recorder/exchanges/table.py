"""The text form of calendars. `sessions.txt` is generated from exchange_calendars by `make exchanges`.

    exchange XNYS America/New_York 2015-01-01 2028-12-31     name, time zone, first and last day of the table
    week 2015-01-01 12345 09:30-16:00                        regular hours of weekdays (1 is Monday) from a day on
    closed 2026 0101 0119 ...                                holidays
    hours 2026 09:30-13:00 1127 1224                         half days, and sessions on other days

A `week` begins all weekdays again; several lines with one date belong together. A break stands between two parts:
`09:30-12:00,13:00-16:00`.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from recorder.errors import ConfigError, nearest
from recorder.exchanges.calendar import Exchange, Hours, Week

SESSIONS = Path(__file__).parent / "sessions.txt"

ALWAYS = "24/7"
_UNLISTED = f"""
exchange {ALWAYS} UTC 1970-01-01 2100-12-31
week 1970-01-01 1234567 00:00-24:00
exchange FX America/New_York 1970-01-01 2100-12-31
week 1970-01-01 7 17:00-24:00
week 1970-01-01 1234 00:00-24:00
week 1970-01-01 5 00:00-17:00
exchange CME America/New_York 1970-01-01 2100-12-31
week 1970-01-01 7 18:00-24:00
week 1970-01-01 1234 00:00-17:00,18:00-24:00
week 1970-01-01 5 00:00-17:00
"""
"""Markets without holidays: crypto, and approximately currencies and futures, whose holidays are silence."""

_SAME_HOURS = {"XNAS": "XNYS", "XASE": "XNYS", "ARCX": "XNYS", "BATS": "XNYS", "XTSX": "XTSE", "XNSE": "XBOM"}


def exchange(name: str) -> Exchange:
    """Return the calendar of an exchange by its market identifier code.

    Raises:
        ConfigError: No exchange has this name; the message lists the known ones.
    """
    known = exchanges()
    try:
        return known[name]
    except KeyError:
        raise ConfigError(f"unknown exchange {name!r}{nearest(name, sorted(known))}") from None


@cache
def exchanges() -> Mapping[str, Exchange]:
    """Return all calendars by name."""
    found = parse(_UNLISTED.splitlines()) | parse(SESSIONS.read_text(encoding="ascii").splitlines())
    return found | {name: found[same] for name, same in _SAME_HOURS.items()}


def parse(lines: Iterable[str]) -> dict[str, Exchange]:
    """Return the calendars in some lines.

    Raises:
        ValueError: A line has another form.
    """
    heads: dict[str, tuple[ZoneInfo, date, date]] = {}
    weeks: dict[str, list[Week]] = {}
    special: dict[str, dict[date, Hours]] = {}
    name = ""
    for line in lines:
        match line.split():
            case []:
                continue
            case ["exchange", name, zone, first, last]:
                heads[name] = ZoneInfo(zone), date.fromisoformat(first), date.fromisoformat(last)
                weeks[name], special[name] = [], {}
            case ["week", first, days, hours]:
                _add_week(weeks[name], date.fromisoformat(first), days, hours_of(hours))
            case ["closed", year, *days]:
                special[name].update((_day(year, day), ()) for day in days)
            case ["hours", year, hours, *days]:
                special[name].update((_day(year, day), hours_of(hours)) for day in days)
            case _:
                raise ValueError(f"no line of a calendar: {line[:80]!r}")
    return {name: Exchange(name, *head, weeks[name], special[name]) for name, head in heads.items()}


def hours_of(text: str) -> Hours:
    """Return the parts of a trading day from their text."""
    parts = (part.partition("-") for part in text.split(","))
    return tuple((_minute(start), _minute(end)) for start, _, end in parts)


def text_of(hours: Hours) -> str:
    """Return the text of the parts of a trading day."""
    return ",".join("-".join(f"{minute // 60:02d}:{minute % 60:02d}" for minute in part) for part in hours)


def _add_week(weeks: list[Week], first: date, days: str, hours: Hours) -> None:
    added = {int(day): hours for day in days}
    if weeks and weeks[-1].first == first:
        added = {**weeks.pop().hours, **added}
    weeks.append(Week(first, added))


def _day(year: str, day: str) -> date:
    return date(int(year), int(day[:2]), int(day[2:]))


def _minute(text: str) -> int:
    hour, _, minute = text.partition(":")
    return int(hour) * 60 + int(minute)
