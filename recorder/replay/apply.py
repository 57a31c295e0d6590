"""The database connection of a replay, which corrects the stored rows of one journal batch by batch."""

import time
from collections.abc import Sequence
from typing import NoReturn

import psycopg2
import psycopg2.errors

from recorder.errors import ConfigError, RecorderError, StoreError
from recorder.pgcopy.decode import number, split
from recorder.position import Position
from recorder.replay.archived import PG_EPOCH_DAY, US_PER_DAY, Day, archived_days, day_of, days_of
from recorder.replay.compare import TABLES
from recorder.replay.redecode import RedecodedBlock
from recorder.replay.transaction import Applied, Archived, Journal, ReplayBatch
from recorder.store.database import REPLAY, Connection, classify, connect
from recorder.store.partitions import FIRST_DAY, LAST_DAY_AHEAD, OLDEST_DAYS
from recorder.venues import venue_class

_DEADLOCK_TRIES = 5
_LOCK_TIMEOUT = "5s"  # a busy server may take this long to notice that a replay was killed


class ReplayStore:
    """The connection that corrects the stored rows of one journal. Not thread-safe."""

    def __init__(self, url: str, journal_id: str, venue: str, replay_id: int) -> None:
        """
        Args:
            url: DATABASE_URL.
            journal_id: Identity of the journal.
            venue: Venue of its frames.
            replay_id: Number of this run in `replay_ledger`.

        Raises:
            ConfigError: The login lacks the role, or the schema is too old.
            StoreUnavailable: The database cannot be reached.
            StoreError: Another replay of the journal is running.
        """
        self._journal = Journal(journal_id, venue, "trade" in venue_class(venue).contiguous, replay_id)
        self._days: set[tuple[str, int]] = set()
        self._segment = 0
        self._replayed: set[int] = set()  # positions in that segment
        self._connection: Connection = connect(url, application_name="replay", role=REPLAY)
        try:
            self.loaded_until = self._claim()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def replayed(self, position: Position) -> bool:
        """Return whether the stored rows of a block come from an earlier replay."""
        if position.segment != self._segment:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT position FROM replayed_block WHERE journal_id = %s AND segment = %s",
                        (self._journal.journal_id, position.segment),
                    )
                    self._replayed = {int(row[0]) for row in cursor.fetchall()}
            except psycopg2.Error as error:
                self._fail(error)
            self._segment = position.segment
        return position.offset in self._replayed

    def archived(self, blocks: Sequence[RedecodedBlock]) -> set[Day]:
        """Return the days of rows of these blocks that have left their tables.

        Raises:
            StoreUnavailable: The connection is lost.
        """
        try:
            with self._connection.cursor() as cursor:
                days = set[Day]().union(*(days_of(block) for block in blocks))
                return archived_days(cursor, self._journal.venue, days)
        except psycopg2.Error as error:
            self._fail(error)

    def apply(self, blocks: Sequence[RedecodedBlock]) -> Applied:
        """Make the stored rows of some blocks of one segment equal to what their frames give now.

        Raises:
            Archived: A day of their rows has left its table meanwhile; nothing was changed.
            RowRejected: Postgres refuses a row; nothing was changed.
            StoreUnavailable: The connection is lost; either all blocks were corrected or none.
        """
        for table in TABLES:
            self._ensure_partitions(table, blocks)
        for attempt in range(_DEADLOCK_TRIES):
            try:
                return self._correct(blocks)
            except psycopg2.errors.DeadlockDetected as error:  # the writer holds a trade that was received twice
                if attempt == _DEADLOCK_TRIES - 1:
                    self._fail(error)
                self._roll_back()
            except psycopg2.Error as error:
                self._fail(error)
            except Archived:
                self._roll_back()
                raise
        raise AssertionError("unreachable")

    def _correct(self, blocks: Sequence[RedecodedBlock]) -> Applied:
        replayed = {block.position.offset for block in blocks if self.replayed(block.position)}
        with self._connection.cursor() as cursor:
            applied = ReplayBatch(cursor, self._journal, blocks, replayed).correct()
        for block in blocks:
            (self._replayed.add if block.differs else self._replayed.discard)(block.position.offset)
        return applied

    def _claim(self) -> Position | None:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT to_regclass('replayed_block') IS NOT NULL")
                if cursor.fetchone() != (True,):
                    raise ConfigError("the database schema is older than this program; run: tapedeck migrate")
                cursor.execute("SELECT has_table_privilege('trade', 'DELETE')")
                if cursor.fetchone() != (True,):
                    raise ConfigError(f"the login may not correct stored rows; grant it the role {REPLAY}")
                key = f"tapedeck.replay.{self._journal.journal_id}"
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (_LOCK_TIMEOUT,))
                cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
                cursor.execute("RESET lock_timeout")
                cursor.execute(
                    "SELECT segment, position FROM journal WHERE journal_id = %s", (self._journal.journal_id,)
                )
                row = cursor.fetchone()
        except psycopg2.errors.LockNotAvailable:
            raise StoreError("another replay of this journal is running; wait until it has ended") from None
        except psycopg2.Error as error:
            self._fail(error)
        return None if row is None else Position(*row)

    def _ensure_partitions(self, table: str, blocks: Sequence[RedecodedBlock]) -> None:
        received = 3 if table == "trade" else 1
        last_day = int(time.time()) // 86_400 + LAST_DAY_AHEAD
        for block in blocks:
            for row in split(block.now[table]):
                day = day_of(table, row)
                received_day = number(row[2 + 12 * received : 14 + 12 * received]) // US_PER_DAY + PG_EPOCH_DAY
                key = (table, day)
                if key in self._days or not max(FIRST_DAY, received_day - OLDEST_DAYS) <= day <= last_day:
                    continue
                try:
                    with self._connection.cursor() as cursor:
                        cursor.execute("SELECT ensure_partition(%s, DATE '1970-01-01' + %s)", key)
                except psycopg2.errors.LockNotAvailable:
                    pass  # a long query locks the default partition, which receives the rows for now
                except psycopg2.Error as error:
                    self._fail(error)
                self._days.add(key)

    def _fail(self, error: psycopg2.Error) -> NoReturn:
        trouble: RecorderError = classify(error)
        self._roll_back()
        raise trouble from error

    def _roll_back(self) -> None:
        try:
            if not self._connection.closed:
                self._connection.cursor().execute("ROLLBACK")
        except psycopg2.Error:
            self._connection.close()  # its transaction is lost with it
