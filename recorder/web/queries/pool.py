"""A bounded pool of connections to Postgres that only read.

A connection is tested by the statement that begins its transaction, and replaced after an hour. Who waits for one waits
with a deadline. While Postgres is away a request fails at once, and one attempt a second finds out when it is back. A
server that hangs ends no attempt: one that waits for SILENT_S says that Postgres does not answer.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
import psycopg2.extensions

from recorder.errors import ConfigError, StoreError, StoreUnavailable
from recorder.store.database import Connection, Cursor, classify, connect, milliseconds

SIZE = 8
WAIT_S = 2.0
STATEMENT_S = 5.0
MAX_AGE_S = 3600.0
SILENT_S = 2.0
_RETRY_S = 1.0


class Attempts:
    """What waits for a sign of life of Postgres now. The pools of a program share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[object, float] = {}

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count an attempt, a step that takes Postgres no time, until the block ends."""
        key = object()
        self._begun[key] = self._clock()
        try:
            yield
        finally:
            del self._begun[key]

    def problem(self) -> StoreUnavailable | None:
        """Return that Postgres does not answer, where an attempt has waited for SILENT_S."""
        begun = min(list(self._begun.values()), default=None)
        if begun is None or self._clock() - begun < SILENT_S:
            return None
        return StoreUnavailable(f"Postgres has not answered for {self._clock() - begun:.0f} s")


class PoolExhausted(StoreUnavailable):
    """All connections are in use, and none became free in time."""


class Pool:
    """Connections of one login. Any thread may use it; each use is one READ ONLY transaction."""

    def __init__(
        self,
        url: Callable[[], str],
        role: str,
        *,
        size: int = SIZE,
        max_age_s: float = MAX_AGE_S,
        read_only: bool = True,
        attempts: Attempts | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            url: Returns the address of the database; it is not known before the first start of the embedded server.
            role: Group role to assume.
            size: Most connections at once.
            max_age_s: A connection older than this is replaced.
            read_only: Whether transactions may only read.
            attempts: What waits for Postgres, of all pools together; without it, of this one.
            clock: Monotonic seconds.
        """
        self._url = url
        self._role = role
        self._max_age_s = max_age_s
        self._begin = "BEGIN READ ONLY" if read_only else "BEGIN"
        self._attempts = Attempts(clock) if attempts is None else attempts
        self._clock = clock
        self._free = threading.BoundedSemaphore(size)
        self._lock = threading.Lock()
        self._idle: list[tuple[Connection, float]] = []
        self._failed: tuple[float, StoreError | ConfigError] | None = None
        self.size = size
        self.in_use = 0
        self.waits = 0  # requests that found no free connection in time

    @contextmanager
    def transaction(self, *, statement_s: float = STATEMENT_S, wait_s: float = WAIT_S) -> Iterator[Cursor]:
        """Give a cursor in a transaction of its own, which ends with the block.

        Args:
            statement_s: Longest time of one statement.
            wait_s: Longest wait for a free connection.

        Raises:
            StoreUnavailable: Postgres is away or took too long, or no connection became free.
            ConfigError: A person must act first, for example migrate.
        """
        self._require_life()
        if not self._free.acquire(timeout=wait_s):
            self._require_life()
            self.waits += 1
            raise PoolExhausted(f"all {self.size} connections to Postgres were busy for {wait_s:.0f} s")
        self.in_use += 1
        try:
            with self._attempts.one():
                connection, born = self._begun(
                    f"{self._begin}; SET LOCAL statement_timeout = '{milliseconds(statement_s)}'"
                )
            keep = False
            try:
                with connection.cursor() as cursor:
                    yield cursor
                self._commit(connection)
                keep = True
            except psycopg2.Error as error:
                keep = _rolled_back(connection)
                raise classify(error) from error
            except BaseException:
                keep = _rolled_back(connection)
                raise
            finally:
                if keep:
                    with self._lock:
                        self._idle.append((connection, born))
                else:
                    connection.close()
        finally:
            self.in_use -= 1
            self._free.release()

    def problem(self) -> str | None:
        """Return why Postgres does not answer now; None where it did at the last attempt, and none waits for long."""
        silent = self._attempts.problem()
        failed = self._failed
        if silent is not None:
            return str(silent)
        return None if failed is None else str(failed[1])

    def ping(self) -> bool:
        """Return whether Postgres answers now."""
        try:
            with self.transaction(statement_s=2.0, wait_s=1.0):
                pass
        except PoolExhausted:
            return self.problem() is None
        except (StoreError, ConfigError):
            return False
        return True

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _born in idle:
            connection.close()

    def _require_life(self) -> None:
        """Fail at once while Postgres is silent; the attempt that waits finds out when it is back.

        Raises:
            StoreUnavailable: an attempt has waited for SILENT_S.
        """
        silent = self._attempts.problem()
        if silent is not None:
            raise silent

    def _commit(self, connection: Connection) -> None:
        if self._begin == "BEGIN":  # what was written may have to wait for the disk
            with connection.cursor() as cursor:
                cursor.execute("COMMIT")
            return
        with self._attempts.one(), connection.cursor() as cursor:
            cursor.execute("COMMIT")

    def _begun(self, begin: str) -> tuple[Connection, float]:
        """Return a connection in a transaction: one that is idle and answers, else a new one."""
        while True:
            with self._lock:
                found = self._idle.pop() if self._idle else None
            if found is None:
                break
            connection, born = found
            if self._clock() - born < self._max_age_s and not connection.closed:
                try:
                    with connection.cursor() as cursor:
                        cursor.execute(begin)
                    self._failed = None
                    return connection, born
                except psycopg2.Error:
                    pass  # the server ended it; the next is tried
            connection.close()
        return self._connected(begin), self._clock()

    def _connected(self, begin: str) -> Connection:
        failed = self._failed
        if failed is not None and self._clock() - failed[0] < _RETRY_S:
            raise failed[1]
        connection = None
        try:
            connection = connect(self._url(), application_name="web", role=self._role)
            with connection.cursor() as cursor:
                cursor.execute(begin)
        except (StoreError, ConfigError) as error:
            self._failed = self._clock(), error
            raise
        except psycopg2.Error as error:
            assert connection is not None
            connection.close()
            trouble = classify(error)
            if isinstance(trouble, StoreError | ConfigError):
                self._failed = self._clock(), trouble
            raise trouble from error
        self._failed = None
        return connection


def _rolled_back(connection: Connection) -> bool:
    """End a failed transaction; return whether the connection can be used again."""
    if connection.closed:
        return False
    try:
        if connection.info.transaction_status not in (
            psycopg2.extensions.TRANSACTION_STATUS_IDLE,
            psycopg2.extensions.TRANSACTION_STATUS_UNKNOWN,
            psycopg2.extensions.TRANSACTION_STATUS_ACTIVE,
        ):
            with connection.cursor() as cursor:
                cursor.execute("ROLLBACK")
    except psycopg2.Error:
        return False
    return bool(connection.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE)
