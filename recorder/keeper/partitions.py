"""The job `partitions`: day partitions exist before their day begins.

The writer makes a partition, too, when rows of a day without one come: recording goes on while the keeper is down.
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import psycopg2.errors

from recorder.keeper.job import Outcome, Work
from recorder.store.database import KEEPER, Connection, classify, connect
from recorder.store.loader import PARTITIONED

_STATEMENT_S = 30.0
# The last day comes first: how far ahead partitions exist is then right from the first one on. A partition that existed
# and is gone is left to the writer, which declares the loss of its rows before it is made again.
_MISSING = """
SELECT t.name, d.day::date
  FROM unnest(%s::text[]) AS t (name), generate_series(%s::timestamp, %s::timestamp, '1 day') AS d (day)
 WHERE NOT EXISTS (SELECT FROM pg_inherits
                    WHERE inhparent = to_regclass('public.' || t.name)
                      AND inhrelid = to_regclass('partition.' || t.name || '_' || to_char(d.day, 'YYYYMMDD')))
   AND NOT EXISTS (SELECT FROM day_partition k WHERE k.table_name = t.name AND k.day = d.day)
 ORDER BY d.day DESC, t.name"""


def make_partitions(work: Work) -> Outcome:
    """Make the partitions from yesterday until `keeper.partitions_ahead_days` from now.

    Raises:
        StoreError, ConfigError: The database cannot be used.
    """
    with closing(connect(work.url(), application_name="keeper", role=KEEPER, statement_timeout_s=_STATEMENT_S)) as one:
        made, delayed = ensure_ahead(one, work.settings.keeper.partitions_ahead_days, work.now())
    detail = f"{made} made" if made else "all exist"
    if delayed:
        return Outcome("done", f"{detail}, {delayed} delayed: a long query locks the default partition")
    return Outcome("done" if made else "skipped", detail)


def ensure_ahead(connection: Connection, days: int, now: float) -> tuple[int, int]:
    """Make what is missing, and return how many partitions were made and how many a lock delayed.

    Raises:
        StoreError, ConfigError: The database cannot be used.
    """
    today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    made = delayed = 0
    try:
        with connection.cursor() as cursor:
            cursor.execute(_MISSING, (list(PARTITIONED), today - timedelta(days=1), today + timedelta(days=days)))
            for table, day in cursor.fetchall():
                try:
                    cursor.execute("SELECT ensure_partition(%s, %s)", (table, day))
                    made += 1
                except (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled):
                    delayed += 1
    except psycopg2.Error as error:
        raise classify(error) from error
    return made, delayed
