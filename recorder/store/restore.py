"""Whether a database is being restored, or is empty: what is missing there must not be filled in by a program."""

import psycopg2

from recorder.errors import ConfigError
from recorder.store.database import Connection, Cursor, classify, connect

# The tables come first in a dump, then the rows, then the keys. The name of a session is visible to every login.
_STATE = """
WITH ours AS (
    SELECT c.oid, c.relname FROM pg_catalog.pg_class c
     WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p')
       AND c.relname IN ('schema_migration', 'instrument', 'subscription', 'trade', 'gap', 'session', 'journal',
                         'load_ledger', 'quarantine'))
SELECT EXISTS (SELECT FROM ours),
       EXISTS (SELECT FROM ours WHERE relname = 'schema_migration'),
       EXISTS (SELECT FROM ours WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_index
                                                   WHERE indrelid = ours.oid AND indisprimary)),
       EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                WHERE datname = current_database() AND application_name = 'pg_restore')"""


def unfinished_restore(cursor: Cursor) -> str | None:
    """Return how a restore shows that is not complete yet; None where there is none.

    Raises:
        psycopg2.Error: The connection failed.
    """
    cursor.execute(_STATE)
    row = cursor.fetchone()
    assert row is not None
    any_table, migrations, keys_missing, pg_restore = row
    if pg_restore:
        return "pg_restore is at work in this database"
    if keys_missing:
        return "its tables have no keys yet, which a restore creates last"
    if any_table and not (migrations and _any_migration(cursor)):
        return "its tables are there, and schema_migration has no row"
    return None


def is_vacant(url: str) -> bool:
    """Return whether the database of an address is missing, or holds no table of ours.

    Raises:
        StoreUnavailable, ConfigError: The database failed (see `classify`).
    """
    try:
        connection = connect(url, application_name="migrate")
    except ConfigError as error:
        if "does not exist" in str(error):
            return True
        raise
    try:
        return not _has_tables(connection)
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def _has_tables(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_STATE)
        row = cursor.fetchone()
        return row is not None and bool(row[0])


def _any_migration(cursor: Cursor) -> bool:
    cursor.execute("SELECT EXISTS (SELECT FROM public.schema_migration)")
    return cursor.fetchone() == (True,)
