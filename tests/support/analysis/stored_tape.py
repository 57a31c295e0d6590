"""A recording in Postgres written by hand: two venues, a midnight, late trades, nulls, a gap of every kind."""

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2

from analysis.arrays import HOUR, MINUTE, SECOND, Trades
from recorder.identity import instrument_id
from support.analysis.market_data import T0, random_trades

BEGIN = datetime.fromtimestamp(T0 / 1e9, UTC) + timedelta(hours=22)
END = BEGIN + timedelta(hours=4)
MIDNIGHT = BEGIN + timedelta(hours=2)
KRAKEN = ("kraken", "BTC/USD"), ("kraken", "ETH/USD")
OKX = ("okx", "BTC-USDT")
NAMES = (*KRAKEN, OKX)
DAYS = [BEGIN.date(), END.date()]
LATER = END + timedelta(days=20)
BEGIN_NS = T0 + 22 * HOUR

Row = Sequence[object]


def at(ns: int) -> datetime:
    """Return an instant truncated to microseconds, as stored."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=ns // 1000)


class Stored:
    """Insert rows into a migrated database as the writer would."""

    def __init__(self, url: str) -> None:
        self.url = url

    def put(self, table: str, columns: str, rows: Iterable[Row]) -> None:
        """Insert rows."""
        text = io.StringIO()
        csv.writer(text).writerows([["\\N" if value is None else value for value in row] for row in rows])
        text.seek(0)
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv, NULL '\\N')", text)

    def run(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def days(self, *days: datetime) -> None:
        """Create partitions."""
        for day in days:
            for table in ("trade", "quote", "book"):
                self.run("SELECT ensure_partition(%s, %s)", table, day.date())

    def instrument(self, venue: str, symbol: str, first_seen: datetime) -> None:
        """Insert an instrument."""
        columns = "instrument_id, venue, symbol, first_seen"
        self.put("instrument", columns, [(instrument_id(venue, symbol), venue, symbol, first_seen)])

    def first_seen(self, when: datetime) -> None:
        """Move the start of the recording of all instruments, also to a later time."""
        self.run("ALTER TABLE instrument DISABLE TRIGGER USER")
        self.run("UPDATE instrument SET first_seen = %s", when)

    def session(self, venue: str, number: int, started: datetime, last_frame: datetime) -> None:
        """Insert a session."""
        counts = "frames, bytes, trades, quotes, books, quarantined, revision"
        columns = f"session_id, venue, recorder, link, url, started_at, last_frame_at, {counts}"
        values = (number, venue, venue, 0, "ws://127.0.0.1/", started, last_frame, 1, 1, 1, 1, 1, 0, 1)
        self.put("session", columns, [values])

    def trades(self, venue: str, symbol: str, rows: Trades, first_id: int = 0) -> None:
        """Insert trades in the given order."""
        side = {1: "b", -1: "s", 0: None}
        number = instrument_id(venue, symbol)
        columns = "instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor, venue_trade_id"
        self.put(
            "trade",
            columns,
            (
                (
                    number,
                    first_id + int(rows.trade_id[i]),
                    at(int(rows.ts_event[i])),
                    at(int(rows.ts_recv[i])),
                    repr(float(rows.price[i])),
                    repr(float(rows.size[i])),
                    side[int(rows.side[i])],
                    f"x{i}" if i % 3 == 0 else None,
                )
                for i in range(len(rows))
            ),
        )

    def gap(self, venue: str, symbol: str, number: int, **values: object) -> None:
        """Insert a gap; by default it lasts 10 s and begins an hour after the start."""
        start = BEGIN + timedelta(hours=1)
        row: dict[str, object] = {
            "gap_id": number,
            "instrument_id": instrument_id(venue, symbol),
            "channel": "trade",
            "cause": "disconnect",
            "state": "unhealable",
            "started_at": start,
            "ended_at": start + timedelta(seconds=10),
            "revision": 1,
            **values,
        }
        self.put("gap", ", ".join(row), [list(row.values())])


def fill(stored: Stored, n: int = 4000) -> None:
    """Insert four complete hours around a midnight."""
    stored.days(BEGIN, END)
    stored.session("kraken", 1, BEGIN, END + timedelta(hours=1))
    stored.session("okx", 2, BEGIN, END + timedelta(hours=1))
    for place, (venue, symbol) in enumerate(NAMES):
        stored.instrument(venue, symbol, BEGIN - timedelta(seconds=1))
        stored.trades(venue, symbol, shuffled(moved(random_trades(n, 4 * HOUR, place)), place), 10_000 * place)
        stored.put("quote", QUOTE_COLUMNS, quotes(venue, symbol, n // 2, place))
        stored.put("book", BOOK_COLUMNS, books(venue, symbol, n // 4, place))


QUOTE_COLUMNS = "instrument_id, ts_recv, ts_event, session_id, frame_seq, sequence, bid, bid_size, ask, ask_size"
BOOK_COLUMNS = "instrument_id, ts_recv, ts_event, session_id, frame_seq, kind, sequence, bids, asks"


def moved(rows: Trades) -> Trades:
    """Move trades from T0 to the start of the recording, in whole microseconds."""
    event, recv = ((ts + 22 * HOUR) // 1000 * 1000 for ts in (rows.ts_event, rows.ts_recv))
    return Trades(event, recv, rows.trade_id, rows.price, rows.size, rows.side)


def shuffled(rows: Trades, seed: int) -> Trades:
    """Return trades in an order of arrival that differs from their order of events."""
    order = np.argsort(rows.ts_event + np.random.default_rng(seed).integers(0, 60 * SECOND, len(rows)), kind="stable")
    return rows.take(order)


def quotes(venue: str, symbol: str, n: int, seed: int) -> Iterable[Row]:
    """Return best bids and asks: some of one instant and frame, some with an empty side, some without ts_event."""
    rng = np.random.default_rng(seed)
    recv = BEGIN_NS + np.sort(rng.integers(0, 4 * HOUR // MINUTE * 6, n)) * 10 * SECOND
    for i, ns in enumerate(recv.tolist()):
        bid = round(100 + float(rng.normal()), 2)
        empty = i % 17 == 0
        event = None if i % 5 == 0 else at(ns - 3_000_000)
        sizes = (None if empty else 1.5 + i), 2.5
        ask = round(bid + 0.02, 2)
        yield (
            instrument_id(venue, symbol),
            at(ns),
            event,
            1,
            i // 2,
            i,
            None if empty else bid,
            sizes[0],
            ask,
            sizes[1],
        )


def books(venue: str, symbol: str, n: int, seed: int) -> Iterable[Row]:
    """Return a snapshot every hundred messages with deltas between."""
    rng = np.random.default_rng(seed)
    recv = BEGIN_NS + np.sort(rng.integers(0, 4 * HOUR, n)) // 1000 * 1000
    for i, ns in enumerate(recv.tolist()):
        snapshot = i % 100 == 0
        levels = [[99.0 - k, 1.0 + k] for k in range(12)] if snapshot else [[99.0 - int(rng.integers(12)), i % 7]]
        asks = [[101.0 + k, 2.0 + k] for k in range(12)] if snapshot else []
        kind, head = "s" if snapshot else "d", (instrument_id(venue, symbol), at(ns), None, 1, i)
        yield (*head, kind, None, _array(levels), _array(asks))


def _array(levels: Sequence[Sequence[float]]) -> str:
    return "{" + ",".join("{" + ",".join(map(str, level)) + "}" for level in levels) + "}"
