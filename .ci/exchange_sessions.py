"""Writes recorder/exchanges/sessions.txt from exchange_calendars. usage: python .ci/exchange_sessions.py [FILE]

The library brings pandas, so the recorder reads this table in its place.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import exchange_calendars
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from recorder.exchanges.calendar import Hours
from recorder.exchanges.table import SESSIONS, text_of

FIRST, LAST = date(2015, 1, 1), date(2028, 12, 31)
EXCHANGES = (
    "XNYS",
    "XTSE",
    "XMEX",
    "BVMF",
    "XLON",
    "XDUB",
    "XETR",
    "XFRA",
    "XPAR",
    "XAMS",
    "XBRU",
    "XLIS",
    "XMAD",
    "XMIL",
    "XSWX",
    "XWBO",
    "XSTO",
    "XHEL",
    "XCSE",
    "XOSL",
    "XICE",
    "XWAR",
    "XJSE",
    "XIST",
    "XTKS",
    "XHKG",
    "XSHG",
    "XTAI",
    "XKRX",
    "XBOM",
    "XSES",
    "XASX",
    "XNZE",
    "XIDX",
    "XKLS",
    "XBKK",
    "XSAU",
    "XTAE",
)
BEGINS = {
    "XSAU": date(2021, 1, 1),  # the library knows no earlier day
    "XTAE": date(2026, 1, 5),  # its week moved from Sunday to Monday; with pandas 3 the library cannot mix both
}


def days_of(name: str, first: date) -> tuple[str, dict[date, Hours]]:
    """Return the time zone of an exchange, and the hours of every day that the library knows; () is closed."""
    bound = exchange_calendars.calendar_utils.global_calendar_dispatcher._calendar_factories[name].bound_max()
    last = min(LAST, bound.date()) if bound is not None else LAST
    calendar = exchange_calendars.get_calendar(name, start=str(first), end=str(last))
    zone = calendar.tz
    days: dict[date, Hours] = {first + timedelta(days=index): () for index in range((last - first).days + 1)}
    for row in calendar.schedule.itertuples():
        instants = [row.open, row.close]
        if not pd.isna(row.break_start):
            instants[1:1] = [row.break_start, row.break_end]
        local = [instant.tz_convert(zone) for instant in instants]
        minutes = [instant.hour * 60 + instant.minute for instant in local]
        days[row.Index.date()] = tuple(zip(minutes[::2], minutes[1::2], strict=True))
    return str(zone), days


def lines_of(name: str, zone: str, days: dict[date, Hours]) -> Iterator[str]:
    """Return the lines of an exchange: the usual hours of each month where they change, and the other days."""
    yield f"exchange {name} {zone} {min(days)} {max(days)}"
    special: dict[tuple[int, Hours], list[date]] = {}
    usual: dict[int, Hours] = {}
    for month in sorted({(day.year, day.month) for day in days}):
        inside = {day: hours for day, hours in days.items() if (day.year, day.month) == month}
        found = {weekday: _usual(inside, weekday, usual.get(weekday, ())) for weekday in range(1, 8)}
        if found != usual:
            usual = found
            yield from _week_lines(min(inside), usual)
        for day, hours in inside.items():
            if hours != usual[day.isoweekday()]:
                special.setdefault((day.year, hours), []).append(day)
    for (year, hours), others in sorted(special.items()):
        kind = f"hours {year} {text_of(hours)}" if hours else f"closed {year}"
        yield " ".join([kind, *(f"{day:%m%d}" for day in others)])


def _usual(days: dict[date, Hours], weekday: int, before: Hours) -> Hours:
    """Return the most frequent hours of a weekday; of equals those of the month before."""
    counts = Counter(hours for day, hours in days.items() if day.isoweekday() == weekday)
    return max(counts, key=lambda hours: (counts[hours], hours == before, hours), default=before)


def _week_lines(first: date, usual: dict[int, Hours]) -> Iterator[str]:
    for hours in sorted(set(usual.values()) - {()}):
        weekdays = "".join(str(weekday) for weekday, of_day in usual.items() if of_day == hours)
        yield f"week {first} {weekdays} {text_of(hours)}"


def table() -> str:
    """Return the text of all exchanges."""
    return "".join(
        f"{line}\n" for name in EXCHANGES for line in lines_of(name, *days_of(name, BEGINS.get(name, FIRST)))
    )


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else SESSIONS).write_text(table(), encoding="ascii")
