"""The job `poll-cleanup`: moves old rows of the ledger into daily sums."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg2

from recorder.clock import Clock
from recorder.poller.discovery import waited_for
from recorder.poller.job import Kept, Outcome, Round
from recorder.process.log import get_logger
from recorder.store.database import WRITER, classify, connect

KEEP_DAYS = 7
_STATEMENT_S = 300.0

_log = get_logger(__name__)


class Cleanup:
    """Removes rows of poll_run, once their sums are in poll_day.

    Args:
        url: Returns the address of the database.
        clock: Gives the day.
    """

    def __init__(self, url: Callable[[], str], clock: Clock) -> None:
        self._url = url
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Remove the rows of complete days that are older than KEEP_DAYS.

        Raises:
            StoreError, ConfigError: the database failed; nothing was removed.
        """
        now = datetime.fromtimestamp(self._clock.wall_ns() // 1_000_000_000, UTC)
        before = now.replace(hour=0, minute=0, second=0) - timedelta(days=KEEP_DAYS)
        folded = waited_for(lambda: fold(self._url(), before), round.stop)
        _log.info("poll.folded", rows=folded, before=before.date().isoformat())
        return Outcome() if folded else Outcome("skipped", "nothing due")

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: this job asks no service."""


def fold(url: str, before: datetime) -> int:
    """Move the rows of poll_run before an instant into poll_day, and return their number.

    Raises:
        StoreError, ConfigError: the database failed (see `classify`).
    """
    connection = connect(url, application_name="poller", role=WRITER, statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT fold_poll_runs(%s)", (before,))
            row = cursor.fetchone()
            return int(row[0]) if row is not None else 0
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
