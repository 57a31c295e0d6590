"""The job `polls`: moves old rows of the ledger of polls into daily sums."""

from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2

from recorder.keeper.job import Outcome, Work
from recorder.store.database import KEEPER, classify, connect

KEEP_DAYS = 7
_STATEMENT_S = 300.0


def fold_polls(work: Work) -> Outcome:
    """Add rows of poll_run of complete days that are older than KEEP_DAYS to poll_day, and remove them.

    Raises:
        StoreError, ConfigError: The database failed; nothing was removed.
    """
    now = datetime.fromtimestamp(work.now(), UTC)
    before = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=KEEP_DAYS)
    folded = fold(work.url(), before)
    return Outcome("done", f"{folded:,} rows became daily sums") if folded else Outcome("skipped", "nothing due")


def fold(url: str, before: datetime) -> int:
    """Move the rows of poll_run before an instant into poll_day, and return their number.

    Raises:
        StoreError, ConfigError: The database failed.
    """
    with closing(connect(url, application_name="keeper", role=KEEPER, statement_timeout_s=_STATEMENT_S)) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT fold_poll_runs(%s)", (before,))
                row = cursor.fetchone()
                return int(row[0]) if row is not None else 0
        except psycopg2.Error as error:
            raise classify(error) from error
