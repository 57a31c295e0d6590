"""Rows of a small recorded market, written by SQL: two hours of two instruments that end now."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import psycopg2
from psycopg2.extras import execute_values

from recorder.identity import instrument_id

HOSTILE = "<script>alert('x')</script>\"&'"
"""A symbol that a hostile venue could list."""

BTC, ETH = instrument_id("kraken", "BTC/USD"), instrument_id("coinbase", "BTC/USD")
"""Two instruments of one symbol."""

SESSION = 4_611_686_018_427_387_903  # above 2^53: JavaScript cannot hold it as a number
TRADES, STEP_S = 720, 10
GAP_MINUTES = (60, 65)


class Market(NamedTuple):
    """What was written."""

    start: datetime  # of the trades, a full minute
    end: datetime  # of the trades, excluded
    gap_start: datetime
    gap_end: datetime


def fill(url: str) -> Market:
    """Write the rows into a migrated database."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    start, end = now - timedelta(hours=2), now
    gap = tuple(start + timedelta(minutes=one) for one in GAP_MINUTES)
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    connection.autocommit = True
    with connection.cursor() as cursor:
        for table in ("trade", "quote", "book"):
            for day in {start.date(), end.date()}:
                cursor.execute("SELECT ensure_partition(%s, %s)", (table, day))
        listed = [
            (BTC, "kraken", "BTC/USD", "BTC", "USD", "spot", start, True, "BTC-USD"),
            (ETH, "coinbase", "BTC/USD", "BTC", "USD", "spot", start, True, "BTC-USD"),
            (instrument_id("kraken", HOSTILE), "kraken", HOSTILE, "X", "USD", "spot", start, True, None),
        ]
        cursor.execute("INSERT INTO venue (name) VALUES ('kraken'), ('coinbase') ON CONFLICT DO NOTHING")
        execute_values(
            cursor,
            "INSERT INTO instrument (instrument_id, venue, symbol, base, quote, kind, first_seen, recorded, canonical) "
            "VALUES %s",
            listed,
        )
        session = (
            SESSION,
            "kraken",
            "recorder-kraken",
            0,
            "wss://example.org",
            start,
            None,
            100,
            1000,
            TRADES,
            9,
            9,
            0,
            1,
        )
        execute_values(
            cursor,
            "INSERT INTO session (session_id, venue, recorder, link, url, started_at, ended_at, frames, bytes, trades, "
            "quotes, books, quarantined, revision) VALUES %s",
            [session],
        )
        times = [start + timedelta(seconds=STEP_S * k) for k in range(TRADES)]
        execute_values(
            cursor,
            "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor) VALUES %s",
            [
                (BTC, 9_007_199_254_740_993 + k, at, at, 100 + k % 17, 0.5, "b" if k % 2 else "s")
                for k, at in enumerate(times)
            ],
            page_size=1000,
        )
        quotes = [(BTC, at, at, SESSION, k + 1, 99.5 + k % 17, 1.0, 100.5 + k % 17, 2.0) for k, at in enumerate(times)]
        execute_values(
            cursor,
            "INSERT INTO quote (instrument_id, ts_recv, ts_event, session_id, frame_seq, bid, bid_size, ask, ask_size) "
            "VALUES %s",
            quotes,
            page_size=1000,
        )
        books = [
            (BTC, start, start, SESSION, 1, "s", [[99.0, 1.0], [98.0, 2.0]], [[101.0, 1.0], [102.0, 2.0]]),
            (BTC, times[1], times[1], SESSION, 2, "d", [[99.0, 0.0], [98.5, 3.0]], []),
            (BTC, end - timedelta(minutes=1), end, SESSION, 3, "s", [[100.0, 1.0]], [[101.0, 4.0]]),
        ]
        for row in books:
            cursor.execute(
                "INSERT INTO book (instrument_id, ts_recv, ts_event, session_id, frame_seq, kind, bids, asks) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s::float8[], %s::float8[])",
                row,
            )
        cursor.execute(
            "INSERT INTO gap (gap_id, instrument_id, channel, session_id, cause, state, started_at, ended_at, "
            "last_ts_event, first_ts_event, revision) "
            "VALUES (%s, %s, 'trade', %s, 'disconnect', 'open', %s, %s, %s, %s, 1)",
            (9_007_199_254_740_995, BTC, SESSION, *gap, *gap),
        )
        cursor.execute(
            "INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap, "
            "trade_count, buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at) "
            "SELECT %s, 60, %s + n * interval '1 minute', 100, 105, 99, 101, 3, 303, 101, 6, 1.5, 1.5, "
            "CASE WHEN n BETWEEN 60 AND 64 THEN 0 ELSE 1 END, n BETWEEN 60 AND 64, true, 1, now() "
            "FROM generate_series(0, 119) AS n",
            (BTC, start),
        )
        cursor.execute("DELETE FROM bar_dirty")  # as the deriver does with the bars
        cursor.execute(
            "INSERT INTO quarantine (journal_id, segment, position, item, scope, ts_recv, reason, sample) "
            "VALUES ('journal', 1, 0, 0, 'frame', %s, %s, %s)",
            (start, f"unknown message {HOSTILE}", b"\x00\xff{}"),
        )
        cursor.execute(
            "INSERT INTO subscription (venue, symbol, channel) VALUES ('kraken', 'BTC/USD', 'trade'), "
            "('kraken', %s, 'quote')",
            (HOSTILE,),
        )
    connection.close()
    return Market(start, end, *gap)
