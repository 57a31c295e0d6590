"""The connection by which a replay corrects what is stored of one journal, piece by piece."""

import time
from collections.abc import Sequence
from typing import NoReturn

import psycopg2
import psycopg2.errors

from recorder.database import Connection, classify, connect
from recorder.errors import ConfigError, RecorderError, StoreError
from recorder.position import Position
from recorder.replay import TABLES, Redone
from recorder.store_replay_piece import Applied, Journal, Piece
from recorder.timestamps import NS_PER_DAY
from recorder.tuples import number, split
from recorder.venues import venue_class

REPLAY = "tapedeck_replay"

_FIRST_DAY = 14_245  # 2009-01-01
_LAST_DAY_AHEAD = 60
_PG_EPOCH_DAY = 10_957
_US_PER_DAY = NS_PER_DAY // 1000
_DEADLOCK_TRIES = 5
_ENDING = "5s"  # a busy server may notice so late that a replay was killed


class ReplayStore:
    """The connection by which one journal's stored rows are corrected. Not for several threads."""

    def __init__(self, url: str, journal_id: str, venue: str, replay_id: int) -> None:
        """
        Args:
            url: DATABASE_URL.
            journal_id: Identity of the journal.
            venue: Whose frames it holds.
            replay_id: Number of this run in `replay_ledger`.

        Raises:
            ConfigError: the login may not do this, or the schema is too old.
            StoreUnavailable: the database cannot be reached.
            StoreError: another replay of the journal is at work.
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
        """Let go of the connection."""
        self._connection.close()

    def replayed(self, position: Position) -> bool:
        """Whether what is stored of a block is no more what the journal holds."""
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

    def apply(self, blocks: Sequence[Redone]) -> Applied:
        """Make what is stored of some blocks of one segment what their frames say now.

        Raises:
            RowRejected: Postgres refuses a row of it; nothing was changed.
            StoreUnavailable: the connection is lost; all of it was done or nothing.
        """
        for table in TABLES:
            self._ensure_partitions(table, blocks)
        for attempt in range(_DEADLOCK_TRIES):
            try:
                return self._correct(blocks)
            except psycopg2.errors.DeadlockDetected as error:  # the writer met us on a trade that came twice
                if attempt == _DEADLOCK_TRIES - 1:
                    self._fail(error)
                self._roll_back()
            except psycopg2.Error as error:
                self._fail(error)
        raise AssertionError("unreachable")

    def _correct(self, blocks: Sequence[Redone]) -> Applied:
        replayed = {block.position.offset for block in blocks if self.replayed(block.position)}
        with self._connection.cursor() as cursor:
            applied = Piece(cursor, self._journal, blocks, replayed).correct()
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
                cursor.execute("SELECT set_config('lock_timeout', %s, false)", (_ENDING,))
                cursor.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (key,))
                cursor.execute("RESET lock_timeout")
                cursor.execute(
                    "SELECT segment, position FROM journal WHERE journal_id = %s", (self._journal.journal_id,)
                )
                row = cursor.fetchone()
        except psycopg2.errors.LockNotAvailable:
            raise StoreError("another replay of this journal is at work; wait until it has ended") from None
        except psycopg2.Error as error:
            self._fail(error)
        return None if row is None else Position(*row)

    def _ensure_partitions(self, table: str, blocks: Sequence[Redone]) -> None:
        place = 2 if table == "trade" else 1
        for block in blocks:
            for row in split(block.now[table]):
                day = number(row[2 + 12 * place : 14 + 12 * place]) // _US_PER_DAY + _PG_EPOCH_DAY
                key = (table, day)
                if key in self._days or not _FIRST_DAY <= day <= int(time.time()) // 86_400 + _LAST_DAY_AHEAD:
                    continue
                try:
                    with self._connection.cursor() as cursor:
                        cursor.execute("SELECT ensure_partition(%s, DATE '1970-01-01' + %s)", key)
                except psycopg2.errors.LockNotAvailable:
                    pass  # a long query holds the default partition, which takes the rows for now
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
            self._connection.close()  # lost together with its transaction
