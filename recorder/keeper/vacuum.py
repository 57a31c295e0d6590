"""The job `vacuum`: freezes the rows of ended days once, so that no later vacuum reads them again."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from recorder.keeper.job import Outcome, Work
from recorder.store.database import classify, connect

_STATEMENT_S = 3600.0
# A partition whose oldest transaction is young enough was frozen, or has never had a row.
_AGED = """
SELECT c.relname
  FROM day_partition k
  JOIN pg_class c ON c.relname = k.table_name || '_' || to_char(k.day, 'YYYYMMDD')
                 AND c.relnamespace = to_regnamespace('partition')
  LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
 WHERE k.day < %s AND pg_relation_size(c.oid) > 0
   AND (c.relallvisible < c.relpages OR c.relpages = 0 OR s.last_vacuum IS NULL AND c.relallvisible = 0)
 ORDER BY k.day, c.relname"""


def freeze_days(work: Work) -> Outcome:
    """Run VACUUM (FREEZE, ANALYZE) on the partitions of ended days that it has not seen completely.

    Raises:
        StoreError, ConfigError: The database cannot be used.
    """
    ended = datetime.fromtimestamp(work.now(), UTC).date() - timedelta(days=1)
    frozen = skipped = 0
    with closing(connect(work.admin(), application_name="keeper", statement_timeout_s=_STATEMENT_S)) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_AGED, (ended,))
                for (name,) in cursor.fetchall():
                    if work.stop.is_set():
                        break
                    text = sql.SQL("VACUUM (FREEZE, ANALYZE, SKIP_LOCKED) {}").format(sql.Identifier("partition", name))
                    try:
                        cursor.execute(text)
                        frozen += 1
                    except (psycopg2.errors.UndefinedTable, psycopg2.errors.QueryCanceled):
                        skipped += 1
        except psycopg2.Error as error:
            raise classify(error) from error
    if not frozen:
        return Outcome("skipped", "every ended day is frozen")
    return Outcome("done", f"{frozen} partitions frozen" + (f", {skipped} left for later" if skipped else ""))
