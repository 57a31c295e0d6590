"""Which rows of a block belong to days that left their tables: the archive keeps those as they were recorded.

A replay that stored rows of such a day would store them a second time, because it compares with the tables only.
"""

from collections.abc import Iterable
from datetime import date, timedelta

from recorder.pgcopy.decode import number, split
from recorder.replay.compare import TABLES
from recorder.replay.redecode import RedecodedBlock
from recorder.store.database import Cursor
from recorder.timestamps import NS_PER_DAY
from recorder.venues import venue_class

PG_EPOCH_DAY = 10_957
US_PER_DAY = NS_PER_DAY // 1000

Day = tuple[str, int]
"""A table, and a day since 1970."""

_ARCHIVED = """
SELECT DISTINCT a.table_name, a.day - DATE '1970-01-01'
  FROM archive a
  JOIN unnest(%s::text[], %s::integer[]) AS d (table_name, day)
    ON a.table_name = d.table_name AND a.day = DATE '1970-01-01' + d.day
 WHERE a.venue = ANY (%s)"""


def day_of(table: str, row: bytes) -> int:
    """Return the day of a row by the clock of its table, days since 1970."""
    at = 2 + 12 * (2 if table == "trade" else 1)
    return number(row[at : at + 12]) // US_PER_DAY + PG_EPOCH_DAY


def days_of(block: RedecodedBlock) -> set[Day]:
    """Return the days of the rows that a block gives now and gave when it was recorded."""
    return {
        (table, day_of(table, row))
        for table in TABLES
        for data in (block.now[table], block.before.get(table, b""))
        for row in split(data)
    }


def archived_days(cursor: Cursor, venue: str, days: Iterable[Day]) -> set[Day]:
    """Return which of these days have left their table, of the instruments of a venue.

    Args:
        cursor: Of any role that may read table archive.
        venue: A venue, or one of its feeds.
        days: The days.

    Raises:
        psycopg2.Error: The database cannot answer.
    """
    wanted = sorted(days)
    names = sorted({venue, venue_class(venue).name})
    cursor.execute(_ARCHIVED, ([table for table, _ in wanted], [day for _, day in wanted], names))
    return {(table, int(day)) for table, day in cursor.fetchall()}


def named(day: Day) -> str:
    """Return a day for a person, such as "trade of 2026-03-05"."""
    return f"{day[0]} of {date(1970, 1, 1) + timedelta(days=day[1])}"
