"""The day partitions that the writer needs, and what it notices of those that were dropped."""

import time

import psycopg2.errors

from recorder.process.log import get_logger
from recorder.store.database import Cursor

FIRST_DAY = 14_245  # 2009-01-01
LAST_DAY_AHEAD = 60  # a day further ahead comes from a venue's broken clock; its rows stay in the default partition
OLDEST_DAYS = 7
"""A trade executed longer before its receipt stays in the default partition, unless its day has a partition already.
A venue may repeat the last trade of a quiet market, months old, and each of a thousand days would cost every query."""
_RETRY_S = 60.0

_log = get_logger(__name__)


class Partitions:
    """Creates day partitions, each once for a connection."""

    def __init__(self) -> None:
        self._known: set[tuple[str, int]] = set()
        self._retry_at: dict[tuple[str, int], float] = {}

    def forget(self) -> None:
        """Ask for every partition again, because the database may be another one."""
        self._known.clear()

    def wanted(self, table: str, day: int, received_day: int) -> bool:
        """Return whether a partition has to be created.

        Args:
            table: One that is partitioned by day.
            day: Days since 1970.
            received_day: Day on which the oldest of its rows were received.
        """
        return (
            (table, day) not in self._known
            and max(FIRST_DAY, received_day - OLDEST_DAYS) <= day <= int(time.time()) // 86_400 + LAST_DAY_AHEAD
            and time.monotonic() >= self._retry_at.get((table, day), 0.0)
        )

    def ensure(self, cursor: Cursor, table: str, day: int) -> None:
        """Create a partition unless it exists.

        Raises:
            psycopg2.Error: The connection failed.
        """
        try:
            cursor.execute("SELECT ensure_partition(%s, DATE '1970-01-01' + %s)", (table, day))
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.QueryCanceled) as error:
            # A long query locks the default partition, which receives the rows until a later call moves them.
            self._retry_at[table, day] = time.monotonic() + _RETRY_S
            _log.warning("partition.delayed", table=table, day=day, reason=str(error).strip())
            return
        self._known.add((table, day))

    def declare_dropped(self, cursor: Cursor) -> list[str]:
        """Declare the loss of every partition that existed and is gone, and return their names.

        Raises:
            psycopg2.Error: The connection failed.
        """
        cursor.execute("SELECT table_name, day, day - DATE '1970-01-01' FROM dropped_partitions()")
        dropped = []
        for table, date, day in cursor.fetchall():
            name = f"{table}_default" if date is None else f"{table}_{date:%Y%m%d}"
            cursor.execute("SELECT declare_dropped_partition(%s, %s)", (table, date))
            row = cursor.fetchone()
            self._known.discard((table, day))
            dropped.append(name)
            _log.error("partition.dropped", partition=name, gaps=row[0] if row else 0,
                       action="its rows are lost; a gap declares the day for each stream")  # fmt: skip
        return dropped
