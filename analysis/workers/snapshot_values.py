"""Derives the 66 features of the snapshots of prediction markets, and checks them by the rules of quality.

A snapshot waits until what its stream had sent by then is loaded, and a market until its oldest mark has some age: the
rows of a day are read for it, so several snapshots share that. Marks that come later derive a row again.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import psycopg2.errors
from psycopg2.extras import execute_values

from analysis import load, prediction_markets
from analysis.definition import definitions
from analysis.load.polled.tapes import VENUE
from analysis.load.source import to_ns
from analysis.prediction_markets import MARKET_FEATURES
from analysis.workers import bar_sql, derived_sql, quality_sql
from analysis.workers.bar_values import digits
from recorder.errors import StoreError
from recorder.process.log import get_logger
from recorder.store.database import Connection, Cursor

NAMES = tuple(prediction_markets.names())

SHARE = 0.2
"""Part of the time that may be spent on snapshots, so that bars do not wait for them."""

_SNAPSHOTS = 500  # of one market in one transaction
_WAIT_S = 15.0  # of a market after its oldest mark

_LOCK = "LOCK TABLE snapshot_feature IN SHARE ROW EXCLUSIVE MODE NOWAIT"

_LISTS = "SELECT version FROM derived_list WHERE name = 'snapshot_feature'"

_TAKE = f"""
WITH loaded AS (
    {bar_sql.LOADED}
), ready AS (
    SELECT least(coalesce((SELECT until FROM loaded WHERE venue = %(venue)s), now()), now()) - %(lateness)s AS until
), picked AS (
    SELECT market_id FROM snapshot_dirty, ready
     WHERE low <= ready.until AND marked_at < clock_timestamp() - %(wait)s
       AND EXISTS (SELECT FROM market m WHERE m.market_id = snapshot_dirty.market_id)
     ORDER BY mark_id LIMIT 1
), taken AS (
    DELETE FROM snapshot_dirty d USING picked p, ready
     WHERE d.market_id = p.market_id AND d.low <= ready.until
    RETURNING d.market_id, d.low, d.high
)
SELECT market_id, min(low), least(max(high), now()), (SELECT until FROM ready) FROM taken GROUP BY market_id"""

_PENDING = """
SELECT ts_recv FROM market_snapshot
 WHERE market_id = %(market_id)s AND ts_recv >= %(low)s AND ts_recv <= %(high)s
 ORDER BY ts_recv LIMIT %(limit)s"""

_MARK = "INSERT INTO snapshot_dirty (market_id, low, high) VALUES (%(market_id)s, %(low)s, %(high)s)"

_log = get_logger(__name__)

_REMOVE = """
DELETE FROM snapshot_feature f
 WHERE f.market_id = %(market_id)s AND f.ts_recv >= %(low)s AND f.ts_recv <= %(high)s
   AND NOT EXISTS (SELECT FROM market_snapshot s WHERE s.market_id = f.market_id AND s.ts_recv = f.ts_recv)"""

_REMOVE_ALL = """
DELETE FROM snapshot_feature WHERE market_id = %(market_id)s AND ts_recv >= %(low)s AND ts_recv <= %(high)s"""

_STORE = f"""
INSERT INTO snapshot_feature AS f (market_id, ts_recv, version, updated_at, {", ".join(NAMES)}) VALUES %s
    ON CONFLICT (market_id, ts_recv) DO UPDATE
   SET (version, updated_at, {", ".join(NAMES)})
     = ROW(excluded.version, excluded.updated_at, {", ".join(f"excluded.{name}" for name in NAMES)})
 WHERE (f.version, {", ".join(f"f.{name}" for name in NAMES)})
       IS DISTINCT FROM (excluded.version, {", ".join(f"excluded.{name}" for name in NAMES)})"""


class SnapshotValues:
    """Derives over one connection, a market at a time."""

    def __init__(self, url: str, lateness_s: float, *, wait_s: float = _WAIT_S) -> None:
        """
        Args:
            url: Address of the same database, for reading the rows of a market.
            lateness_s: So long after a snapshot its stream must be loaded.
            wait_s: So old a mark must be.
        """
        self._url = url
        self._parameters = {
            "lateness": timedelta(seconds=lateness_s), "wait": timedelta(seconds=wait_s), "venue": VENUE,
        }  # fmt: skip
        self._version = f"{len(NAMES)}-{digits(definitions(MARKET_FEATURES).values())}"
        self._registered = False
        self._next_s = 0.0
        self.rows = 0  # snapshots whose features were computed
        self.failed = 0  # snapshots whose features could not be computed; they have none

    def derive(self, connection: Connection) -> bool:
        """Derive the snapshots of one market, where a part of the time is left for it.

        Args:
            connection: In autocommit.

        Returns:
            Whether there may be more to do.

        Raises:
            psycopg2.Error: The transaction does not count.
            StoreError: The rows of the market cannot be read now.
        """
        began_s = time.monotonic()
        if began_s < self._next_s:
            return False
        with connection.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                cursor.execute(_LOCK)
                self._register(cursor)
                cursor.execute(_TAKE, self._parameters)
                found = cursor.fetchall()
                for market_id, low, high, until in found:
                    self._store(cursor, market_id, low, min(high, until), high)
                cursor.execute("COMMIT")
            except psycopg2.errors.LockNotAvailable:
                cursor.execute("ROLLBACK")
                return False
            except BaseException:
                if not connection.closed:
                    cursor.execute("ROLLBACK")
                raise
        self._registered = True
        spent_s = time.monotonic() - began_s
        self._next_s = time.monotonic() + (spent_s * (1 / SHARE - 1) if found else 1.0)
        return bool(found)

    def _register(self, cursor: Cursor) -> None:
        if self._registered:
            return
        cursor.execute(_LISTS)
        if cursor.fetchall() != [(self._version,)]:
            cursor.execute(derived_sql.MARK_SNAPSHOTS)
            cursor.execute(derived_sql.USE_LIST, {"name": "snapshot_feature", "version": self._version, "user_id": 0})

    def _store(self, cursor: Cursor, market_id: int, low: datetime, ready: datetime, high: datetime) -> None:
        """Compute and store the rows of a market from `low` to `ready`; what is left until `high` is marked again."""
        key: dict[str, Any] = {"market_id": market_id, "low": low, "high": ready}
        cursor.execute(_PENDING, {**key, "limit": _SNAPSHOTS})
        times: list[datetime] = [at for (at,) in cursor.fetchall()]
        if len(times) == _SNAPSHOTS:
            key["high"] = times[-1]
        if key["high"] < high:
            cursor.execute(
                "SELECT ts_recv FROM market_snapshot WHERE market_id = %s AND ts_recv > %s AND ts_recv <= %s"
                " ORDER BY ts_recv LIMIT 1", (market_id, key["high"], high),
            )  # fmt: skip
            for (later,) in cursor.fetchall():
                cursor.execute(_MARK, {"market_id": market_id, "low": later, "high": high})
        if times:
            try:
                rows = self._computed(market_id, times)
            except StoreError:
                raise
            except Exception:  # one odd market must not keep the others from being derived
                _log.exception("snapshot.failed", market_id=market_id, first=str(times[0]), last=str(times[-1]))
                self.failed += len(times)
                cursor.execute(_REMOVE_ALL, key)
            else:
                execute_values(cursor, _STORE, rows, page_size=_SNAPSHOTS)
        cursor.execute(_REMOVE, key)
        cursor.execute(quality_sql.CHECK_SNAPSHOTS, key)
        self.rows += len(times)

    def _computed(self, market_id: int, times: Sequence[datetime]) -> list[tuple[Any, ...]]:
        end = times[-1] + timedelta(microseconds=1)
        tape = load.recorded_market(market_id, times[0], end, source=self._url)
        now = datetime.now(tz=times[0].tzinfo)
        found = []
        for at in times:
            values = prediction_markets.compute(tape, to_ns(at))
            found.append((market_id, at, self._version, now, *(_value(values, name) for name in NAMES)))
        return found


def _value(values: Mapping[str, float | str], name: str) -> float | str | None:
    value = values[name]
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(value) else None
