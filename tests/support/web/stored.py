"""Rows as the writer and the deriver would store them, for tests of what reads them."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import psycopg2

from recorder.identity import instrument_id
from recorder.store.database import Cursor

_numbers = itertools.count(1)


class StoredRows:
    """Writes single rows, each committed at once."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg2.connect(url)
        self._connection.autocommit = True
        with self.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")

    def cursor(self) -> Cursor:
        """Return a cursor of the connection."""
        return self._connection.cursor()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def instrument(self, venue: str, symbol: str, first_seen: datetime | None = None) -> int:
        """Store an instrument, and return its id."""
        found = instrument_id(venue, symbol)
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT DO NOTHING",
                (found, venue, symbol, first_seen or datetime(2020, 1, 1, tzinfo=UTC)),
            )
        return found

    def quote(self, instrument: int, bid: float, ask: float, ts_recv: datetime | None = None) -> None:
        """Store a quote, received now unless another time is given."""
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO quote (instrument_id, ts_recv, session_id, frame_seq, bid, bid_size, ask, ask_size)"
                " VALUES (%s, coalesce(%s, clock_timestamp()), 1, %s, %s, 1, %s, 2)",
                (instrument, ts_recv, next(_numbers), bid, ask),
            )

    def trade(self, instrument: int, price: float, size: float = 1.0, at: datetime | None = None) -> int:
        """Store a trade, executed now unless another time is given, and return its id."""
        trade_id = next(_numbers)
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor)"
                " VALUES (%s, %s, coalesce(%s, clock_timestamp()), coalesce(%s, clock_timestamp()), %s, %s, 'b')",
                (instrument, trade_id, at, at, price, size),
            )
        return trade_id

    def bar(self, instrument: int, start: datetime, close: float, *, complete: bool, revision: int = 1) -> None:
        """Store a bar of a minute, or replace it."""
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap,"
                " trade_count, buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at)"
                " VALUES (%s, 60, %s, 1, 9, 1, %s, 5, 10, 2, 3, 1, 4, 1, false, %s, %s, now())"
                " ON CONFLICT (instrument_id, interval_s, start) DO UPDATE SET close = EXCLUDED.close,"
                " complete = EXCLUDED.complete, revision = EXCLUDED.revision",
                (instrument, start, close, complete, revision),
            )

    def book(
        self,
        instrument: int,
        kind: str,
        bids: Sequence[Sequence[float]],
        asks: Sequence[Sequence[float]],
        session: int = 1,
        at: datetime | None = None,
    ) -> None:
        """Store a book message, received now unless another time is given: kind s replaces the book, d changes it."""
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO book (instrument_id, ts_recv, session_id, frame_seq, kind, bids, asks)"
                " VALUES (%s, coalesce(%s, clock_timestamp()), %s, %s, %s, %s::float8[], %s::float8[])",
                (
                    instrument,
                    at,
                    session,
                    next(_numbers),
                    kind,
                    [list(one) for one in bids],
                    [list(one) for one in asks],
                ),
            )

    def gap(
        self,
        instrument: int,
        channel: str,
        started_at: datetime,
        ended_at: datetime | None = None,
        state: str = "open",
        cause: str = "disconnect",
    ) -> int:
        """Store a gap, and return its id."""
        gap_id = next(_numbers)
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 1)",
                (gap_id, instrument, channel, cause, state, started_at, ended_at),
            )
        return gap_id

    def change_gap(self, gap_id: int, state: str, reason: str = "") -> None:
        """Give a gap another state, as a higher revision."""
        with self.cursor() as cursor:
            cursor.execute(
                "UPDATE gap SET state = %s, reason = %s, ended_at = coalesce(ended_at, clock_timestamp()),"
                " revision = revision + 1 WHERE gap_id = %s",
                (state, reason, gap_id),
            )

    def certificate(
        self,
        instrument: int,
        channel: str,
        hour: datetime,
        grade: str,
        *,
        open_gaps: int = 0,
        revision: int = 1,
        document: str = "",
    ) -> None:
        """Store a certificate of an hour; without a document with one that names nothing but its grade."""
        number = next(_numbers)
        with self.cursor() as cursor:
            cursor.execute(
                "INSERT INTO certificate (instrument_id, channel, hour, revision, number, grade, replay, row_count,"
                " open_gaps, made_at, previous, sha256, document)"
                " VALUES (%s, %s, %s, %s, %s, %s, 'equal', 1, %s, now(), %s, %s, %s)",
                (
                    instrument,
                    channel,
                    hour,
                    revision,
                    number,
                    grade,
                    open_gaps,
                    None if number == 1 else f"{number - 1:064x}",
                    f"{number:064x}",
                    document or f'{{"reasons": ["{grade} by a test"]}}',
                ),
            )


def hour_before(now: datetime, hours: int) -> datetime:
    """Return the begin of the hour this many hours before the one of an instant."""
    return now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours)
