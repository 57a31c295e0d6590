"""Compares the rows of a time range in two databases: counts, and a hash that does not depend on their order."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg2
from psycopg2 import sql

from recorder.store.database import Connection, Cursor, classify

TABLES = {
    "trade": "ts_event",
    "quote": "ts_recv",
    "book": "ts_recv",
    "market_snapshot": "ts_recv",
    "market_book": "ts_recv",
}
"""Tables whose rows never change, with the column by whose day they are stored."""

_COLUMNS = """
SELECT column_name::text FROM information_schema.columns
 WHERE table_schema = 'public' AND table_name = %s ORDER BY column_name"""
_DIGEST = """
SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0)::text
  FROM {table} WHERE {key} >= %(since)s AND {key} < %(until)s AND ts_recv < %(cut)s"""
_ANY = "SELECT EXISTS (SELECT FROM {table} WHERE {key} >= %(since)s AND {key} < %(until)s AND ts_recv < %(cut)s)"


class Span(NamedTuple):
    """The rows to compare."""

    since: datetime
    until: datetime  # exclusive
    cut: datetime  # rows that were received later may have been loaded after the backup


class Digest(NamedTuple):
    """The rows of one table in a span."""

    rows: int
    digest: str


def last_day(level_at: float) -> Span:
    """Return the last UTC day that was complete and loaded at a time, unix seconds."""
    level = datetime.fromtimestamp(level_at, UTC)
    midnight = level.replace(hour=0, minute=0, second=0, microsecond=0)
    return Span(midnight - timedelta(days=1), midnight, level)


def begun_day(level_at: float) -> Span:
    """Return the day that was not complete at a time, as far as it was loaded: for the first day of a recording."""
    level = datetime.fromtimestamp(level_at, UTC)
    return Span(level.replace(hour=0, minute=0, second=0, microsecond=0), level, level)


def has_rows(connection: Connection, span: Span) -> bool:
    """Return whether a span has any row.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`).
    """
    try:
        with connection.cursor() as cursor:
            return any(_one(cursor, sql.SQL(_ANY), table, key, span)[0] for table, key in TABLES.items())
    except psycopg2.Error as error:
        raise classify(error) from error


def digests(connection: Connection, span: Span, columns: Mapping[str, list[str]]) -> dict[str, Digest]:
    """Return the digest of each table.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`).
    """
    found = {}
    try:
        with connection.cursor() as cursor:
            for table, key in TABLES.items():
                names = sql.SQL(", ").join(map(sql.Identifier, columns[table]))
                rows, digest = _one(cursor, sql.SQL(_DIGEST).format(
                    columns=names, table=sql.Identifier(table), key=sql.Identifier(key)), table, key, span)  # fmt: skip
                found[table] = Digest(int(str(rows)), str(digest))
    except psycopg2.Error as error:
        raise classify(error) from error
    return found


def common_columns(one: Connection, other: Connection) -> dict[str, list[str]]:
    """Return the columns of each table that both databases have: a migration may have added some.

    Raises:
        StoreError, ConfigError: A database failed (see `classify`).
    """
    mine, theirs = _columns(one), _columns(other)
    return {table: [name for name in names if name in theirs[table]] for table, names in mine.items()}


def difference(stored: Mapping[str, Digest], restored: Mapping[str, Digest]) -> str:
    """Return in words how the restored rows differ from those of the tables; empty where they do not."""
    words = []
    for table, digest in stored.items():
        other = restored[table]
        if digest.rows != other.rows:
            words.append(f"{table} has {digest.rows} rows, and {other.rows} in the backup")
        elif digest.digest != other.digest:
            words.append(f"{table} has {digest.rows} rows, and some have other values in the backup")
    return "; ".join(words)


def _columns(connection: Connection) -> dict[str, list[str]]:
    found = {}
    try:
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(_COLUMNS, (table,))
                found[table] = [str(name) for (name,) in cursor.fetchall()]
    except psycopg2.Error as error:
        raise classify(error) from error
    return found


def _one(cursor: Cursor, query: sql.Composable, table: str, key: str, span: Span) -> tuple[object, ...]:
    if isinstance(query, sql.SQL):
        query = query.format(table=sql.Identifier(table), key=sql.Identifier(key))
    cursor.execute(query, span._asdict())
    row = cursor.fetchone()
    assert row is not None
    return row
