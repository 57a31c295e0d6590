"""What backfilling asks the database: questions, how far each was read, and the trades that are stored already."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg2
import psycopg2.errors

from recorder.backfill.progress import Asked, Progress
from recorder.errors import StoreUnavailable
from recorder.healer.hole import StoredTrade
from recorder.position import Position
from recorder.store.database import WRITER, Cursor, classify, connect
from recorder.store.lineage import instant

_STATEMENT_S = 60.0
_SLACK_NS = 2 * 10**9  # the times of a history and of the feed differ by less
_QUESTIONS_MAX = 10_000

_NS = "(extract(epoch FROM {0}) * 1000000)::bigint * 1000"
_QUESTIONS = f"""
SELECT b.venue, b.symbol, b.what, {_NS.format("b.since")}, {_NS.format("b.until")}, {_NS.format("b.asked_at")},
       r.state, r.grade, r.reason, r.edge_id, {_NS.format("r.edge_at")}, r.witnessed, r.answers, r.listed, r.controls,
       r.missing, r.revision, {_NS.format("r.since")}
  FROM backfill b
  LEFT JOIN backfill_range r USING (backfill_id)
 ORDER BY b.asked_at, b.backfill_id LIMIT {_QUESTIONS_MAX}"""
_TRADES = f"""
SELECT trade_id, {_NS.format("ts_event")}, price, size, aggressor
  FROM trade WHERE instrument_id = %s AND ts_event BETWEEN %s AND %s"""
_NEWER = f"{_TRADES} AND trade_id > %s ORDER BY trade_id LIMIT 1"
_ASK = """
INSERT INTO backfill (backfill_id, instrument_id, venue, symbol, what, since, until, asked_at, asked_by)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (backfill_id) DO UPDATE SET asked_at = EXCLUDED.asked_at"""
_NAME = """
INSERT INTO instrument (instrument_id, venue, symbol, first_seen, recorded) VALUES (%s, %s, %s, %s, false)
ON CONFLICT DO NOTHING"""
_WITHDRAW = """
DELETE FROM backfill b
 WHERE %s IN ('', b.venue) AND %s IN ('', b.symbol)
   AND NOT EXISTS (SELECT FROM backfill_range r WHERE r.backfill_id = b.backfill_id AND r.state <> 'running')"""
_LOADED = f"""
SELECT recorder, segment, position, coalesce({_NS.format("written_at")}, 0) FROM journal WHERE recorder = ANY (%s)"""
_NEW_STREAMS = f"""
SELECT i.venue, i.symbol, {_NS.format("i.first_seen")}
  FROM instrument i
 WHERE i.recorded AND i.venue = ANY (%s)
   AND EXISTS (SELECT FROM trade t
                WHERE t.instrument_id = i.instrument_id AND t.ts_event > i.first_seen - interval '1 day')
   AND NOT EXISTS (SELECT FROM backfill b WHERE b.instrument_id = i.instrument_id AND b.asked_by = 'subscription')
 LIMIT 1000"""


class Database:
    """One connection, in one transaction."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def questions(self) -> list[tuple[Asked, Progress | None]]:
        """Return everything that was asked for, the oldest first, with how far it was read."""
        self._cursor.execute(_QUESTIONS)
        found: list[tuple[Asked, Progress | None]] = []
        for venue, symbol, what, since_ns, until_ns, asked_ns, state, *values in self._cursor.fetchall():
            asked = Asked(venue, symbol, what, since_ns, until_ns, asked_ns)
            found.append((asked, None if state is None else Progress(False, state, *values)))
        return found

    def ask(self, asked: Asked, by: str) -> None:
        """Ask for a time; what is asked for already is tried again."""
        times = [instant(one) for one in (asked.since_ns, asked.until_ns, asked.asked_ns)]
        self._cursor.execute(_NAME, (asked.instrument_id, asked.venue, asked.symbol, times[-1]))
        self._cursor.execute(
            _ASK, (asked.backfill_id, asked.instrument_id, asked.venue, asked.symbol, asked.what, *times, by)
        )

    def withdraw(self, venue: str, symbol: str) -> int:
        """Withdraw what was not read to its end, and return how many questions that were."""
        self._cursor.execute(_WITHDRAW, (venue, symbol))
        return self._cursor.rowcount

    def stored(self, instrument_id: int, since_ns: int, until_ns: int) -> list[StoredTrade]:
        """Return the stored trades of a time, with those just outside of it."""
        times = instant(since_ns - _SLACK_NS), instant(until_ns + _SLACK_NS)
        self._cursor.execute(_TRADES, (instrument_id, *times))
        return [StoredTrade(*row) for row in self._cursor.fetchall()]

    def newer(self, instrument_id: int, trade_id: int, since_ns: int, until_ns: int) -> StoredTrade | None:
        """Return the stored trade of a time with the lowest id above another one."""
        times = instant(since_ns - _SLACK_NS), instant(until_ns + _SLACK_NS)
        self._cursor.execute(_NEWER, (instrument_id, *times, trade_id))
        row = self._cursor.fetchone()
        return None if row is None else StoredTrade(*row)

    def loaded(self, recorders: Sequence[str]) -> dict[str, list[tuple[Position, int]]]:
        """Return how far the journals of some programs are loaded, and when their last block was written, in ns."""
        self._cursor.execute(_LOADED, (list(recorders),))
        found: dict[str, list[tuple[Position, int]]] = {}
        for name, segment, position, written_ns in self._cursor.fetchall():
            found.setdefault(str(name), []).append((Position(int(segment), int(position)), int(written_ns)))
        return found

    def new_streams(self, venues: list[str]) -> list[tuple[str, str, int]]:
        """Return venue, symbol and first receipt of the instruments that are recorded and were never filled."""
        self._cursor.execute(_NEW_STREAMS, (venues,))
        return [(str(venue), str(symbol), int(first_ns)) for venue, symbol, first_ns in self._cursor.fetchall()]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Use the database in one transaction, which ends well or changes nothing.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`).
    """
    connection = connect(
        url, application_name="backfill", role=WRITER, statement_timeout_s=_STATEMENT_S, autocommit=False
    )
    try:
        with connection, connection.cursor() as cursor:
            yield Database(cursor)
    except psycopg2.errors.UndefinedTable as error:
        raise StoreUnavailable("the database has no tables yet") from error
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
