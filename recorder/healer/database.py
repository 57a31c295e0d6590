"""What the healer asks the database: gaps that are open, the trades beside them, the ids that are stored inside."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
import psycopg2
import psycopg2.errors

from recorder.errors import StoreUnavailable
from recorder.healer.hole import OpenGap, StoredTrade
from recorder.store.database import WRITER, Cursor, classify, connect
from recorder.store.lineage import instant

_STATEMENT_S = 60.0
_GAPS_MAX = 5_000
_WINDOWS_NS = (60 * 10**9, 3_600 * 10**9, 86_400 * 10**9)
"""Around the end of a gap, where the trade beside it is looked for: an id has no index of its own."""
_MARGIN_NS = 3_600 * 10**9
_INSTANT_NS = 1_000_000

_NS = "(extract(epoch FROM {0}) * 1000000)::bigint * 1000"
_GAPS = f"""
SELECT i.venue, i.symbol, g.gap_id, g.instrument_id, g.session_id, g.cause, g.last_id, g.first_id,
       {_NS.format("g.started_at")}, {_NS.format("g.ended_at")}, {_NS.format("g.last_ts_event")},
       {_NS.format("g.first_ts_event")}, g.revision, coalesce(r.reads, 0), coalesce({_NS.format("r.first_at")}, 0),
       coalesce({_NS.format("r.next_at")}, 0), coalesce(r.evidence::text, '[]')
  FROM gap g
  JOIN instrument i USING (instrument_id)
  LEFT JOIN gap_read r USING (gap_id)
 WHERE g.state = 'open' AND g.channel = 'trade' AND g.ended_at IS NOT NULL AND i.venue = ANY (%s)
 ORDER BY g.ended_at LIMIT {_GAPS_MAX}"""
_TRADE = f"""
SELECT trade_id, {_NS.format("ts_event")}, price, size, aggressor
  FROM trade WHERE instrument_id = %s AND ts_event BETWEEN %s AND %s"""
_BEFORE = f"{_TRADE} AND trade_id <= %s ORDER BY trade_id DESC LIMIT 1"
_AFTER = f"{_TRADE} AND trade_id >= %s ORDER BY trade_id LIMIT 1"
_OLDEST = f"SELECT {_NS.format('ts_event')} FROM trade WHERE instrument_id = %s ORDER BY ts_event LIMIT 1"
_INSIDE = f"{_TRADE} AND trade_id BETWEEN %s AND %s"


class Stream(NamedTuple):
    """An instrument whose trades have gaps."""

    venue: str
    symbol: str
    instrument_id: int


class Database:
    """One connection, in one transaction with one snapshot."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def gaps(self, venues: Collection[str]) -> dict[Stream, list[OpenGap]]:
        """Return the gaps of trades of some venues that are open and have ended."""
        self._cursor.execute(_GAPS, (list(venues),))
        found: dict[Stream, list[OpenGap]] = {}
        for venue, symbol, *values, evidence in self._cursor.fetchall():
            gap = OpenGap(*[*values, str(evidence).encode()])
            found.setdefault(Stream(venue, symbol, gap.instrument_id), []).append(gap)
        return found

    def with_ids(self, gap: OpenGap) -> OpenGap:
        """Return a gap with the ids of the stored trades beside it, where it has none itself and there are such."""
        last_id, first_id = gap.last_id, gap.first_id
        if last_id is None:
            before = self._nearest(gap.instrument_id, gap.since_ns, before=True)
            last_id = None if before is None else before.trade_id
        if first_id is None:
            after = self._nearest(gap.instrument_id, gap.until_ns, before=False)
            first_id = None if after is None else after.trade_id
        return msgspec.structs.replace(gap, last_id=last_id, first_id=first_id)

    def before(self, instrument_id: int, trade_id: int, at_ns: int) -> StoredTrade | None:
        """Return the stored trade of an id, or the one before it, made at about a time."""
        return self._beside(_BEFORE, instrument_id, trade_id, at_ns)

    def after(self, instrument_id: int, trade_id: int, at_ns: int) -> StoredTrade | None:
        """Return the stored trade of an id, or the one after it, made at about a time."""
        return self._beside(_AFTER, instrument_id, trade_id, at_ns)

    def inside(
        self, instrument_id: int, last_id: int, first_id: int, since_ns: int, until_ns: int
    ) -> list[StoredTrade]:
        """Return the stored trades between two ids, both exclusive, that were made at about some time."""
        times = instant(since_ns - _MARGIN_NS), instant(until_ns + _MARGIN_NS)
        self._cursor.execute(_INSIDE, (instrument_id, *times, last_id + 1, first_id - 1))
        return [StoredTrade(*row) for row in self._cursor.fetchall()]

    def window(self, instrument_id: int, since_ns: int, until_ns: int, margin_ns: int) -> tuple[int, int] | None:
        """Return a time around a hole that holds three stored trades on each side, or those there are within a day.

        Returns:
            Its begin and end, at least a margin from the hole; None where a side has no trade.
        """
        ends = []
        for at_ns, before in ((since_ns, True), (until_ns, False)):
            day = (at_ns - _WINDOWS_NS[-1], at_ns + 999) if before else (at_ns, at_ns + _WINDOWS_NS[-1])
            order = "DESC" if before else "ASC"
            self._cursor.execute(f"{_TRADE} ORDER BY ts_event {order} LIMIT 3", (instrument_id, *map(instant, day)))
            times = [int(row[1]) for row in self._cursor.fetchall()]
            if not times:
                return None
            ends.append(min(times[-1], at_ns - margin_ns) if before else max(times[-1] + 999, at_ns + margin_ns))
        # What was before the first stored trade was not asked for. Its own instant may be recorded in part.
        self._cursor.execute(_OLDEST, (instrument_id,))
        row = self._cursor.fetchone()
        begin_ns = max(ends[0], int(row[0]) + _INSTANT_NS if row is not None else 0)
        return begin_ns // 1000 * 1000, ends[1] // 1000 * 1000 + 999  # stored times are truncated to microseconds

    def within(self, instrument_id: int, from_ns: int, until_ns: int) -> list[StoredTrade]:
        """Return the stored trades of a time, both ends included."""
        self._cursor.execute(_TRADE, (instrument_id, instant(from_ns), instant(until_ns)))
        return [StoredTrade(*row) for row in self._cursor.fetchall()]

    def _beside(self, query: str, instrument_id: int, trade_id: int, at_ns: int) -> StoredTrade | None:
        found: StoredTrade | None = None
        for window_ns in _WINDOWS_NS:
            self._cursor.execute(query, (instrument_id, *_around(at_ns, window_ns), trade_id))
            row = self._cursor.fetchone()
            found = None if row is None else StoredTrade(*row)
            if found is not None and found.trade_id == trade_id:
                break
        return found

    def _nearest(self, instrument_id: int, at_ns: int, *, before: bool) -> StoredTrade | None:
        """Return the newest trade that was made before a time, or the oldest after it, both exclusive."""
        for window_ns in _WINDOWS_NS:
            if before:
                times, order = (instant(at_ns - window_ns), instant(at_ns - 1000)), "DESC"
            else:
                times, order = (instant(at_ns + 1000), instant(at_ns + window_ns)), "ASC"
            self._cursor.execute(
                f"{_TRADE} ORDER BY ts_event {order}, trade_id {order} LIMIT 1", (instrument_id, *times)
            )
            row = self._cursor.fetchone()
            if row is not None:
                return StoredTrade(*row)
        return None


def _around(at_ns: int, window_ns: int) -> tuple[datetime | None, datetime | None]:
    return instant(at_ns - window_ns), instant(at_ns + window_ns)


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Read the database in one transaction.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`).
    """
    connection = connect(
        url, application_name="healer", role=WRITER, statement_timeout_s=_STATEMENT_S, autocommit=False
    )
    try:
        connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with connection.cursor() as cursor:
            yield Database(cursor)
    except psycopg2.errors.UndefinedTable as error:  # a new database, or one that the writer has not migrated yet
        raise StoreUnavailable("the database has no tables yet") from error
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
