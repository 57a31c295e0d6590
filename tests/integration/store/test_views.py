"""Views for people: names in place of numbers, and the last rows without a scan."""

import psycopg2
import pytest
from support.batches import DAY_NS, IDS, NOON_NS, batch, gap, gap_part, instrument_part, quotes_part, trade, trade_part

from recorder.store.database import READER, connect
from recorder.store.loader import Store

NAMES = [(number, "test", symbol) for symbol, number in IDS.items()]


@pytest.fixture
def database_with_rows(database: str) -> str:
    """Two instruments, trades over three days with the latest loaded first, quotes, and gaps in two states."""
    store = Store(database)
    trades = [trade(number, ts_event_ns=NOON_NS - (number % 3) * DAY_NS + number) for number in range(1, 31)]
    parts = [instrument_part(*NAMES), trade_part(trades), quotes_part(0, 5), gap_part(gap(1, 1), gap(2, 1, "healed"))]
    store.load(batch(None, parts))
    store.close()
    return database


def read(url: str, query: str) -> list[tuple[object, ...]]:
    connection = connect(url, application_name="test", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def test_a_trade_is_shown_with_its_venue_symbol_and_side(database_with_rows: str) -> None:
    found = read(
        database_with_rows,
        "SELECT venue, symbol, side, size FROM trade_named WHERE trade_id IN (4, 5) ORDER BY trade_id",
    )
    assert found == [("test", "BTC-USD", "sell", 4.25), ("test", "BTC-USD", "buy", 5.25)]


def test_the_last_trade_is_that_of_the_newest_day_whatever_was_loaded_last(database_with_rows: str) -> None:
    last = read(database_with_rows, "SELECT symbol, trade_id FROM trade_last ORDER BY symbol")
    newest = (
        "SELECT DISTINCT ON (symbol) symbol, trade_id FROM trade_named ORDER BY symbol, ts_event DESC, trade_id DESC"
    )
    assert last == read(database_with_rows, newest)
    assert [symbol for symbol, _ in last] == ["BTC-USD", "ETH-USD"]


def test_the_last_quote_is_the_last_received(database_with_rows: str) -> None:
    assert read(database_with_rows, "SELECT symbol, bid, ask, ask_size FROM quote_last") == [
        ("BTC-USD", 100.0, 101.0, None)
    ]
    (received,) = read(database_with_rows, "SELECT q.ts_recv = (SELECT max(ts_recv) FROM quote) FROM quote_last q")
    assert received == (True,)


def test_only_open_gaps_are_shown(database_with_rows: str) -> None:
    found = read(
        database_with_rows,
        "SELECT gap_id, symbol, channel, cause, ended_at, duration = now() - started_at FROM gap_open",
    )
    assert found == [(1, "BTC-USD", "trade", "disconnect", None, True)]


def test_an_instrument_that_is_only_listed_is_not_looked_up(database_with_rows: str) -> None:
    connection = psycopg2.connect(database_with_rows)
    with connection, connection.cursor() as cursor:
        cursor.execute("UPDATE instrument SET recorded = false WHERE symbol = 'ETH-USD'")
    connection.close()
    assert [symbol for (symbol,) in read(database_with_rows, "SELECT symbol FROM trade_last")] == ["BTC-USD"]


def test_the_last_trade_of_an_instrument_is_read_from_the_index(database_with_rows: str) -> None:
    connection = connect(database_with_rows, application_name="test", role=READER)
    with connection.cursor() as cursor:
        cursor.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        cursor.execute("EXPLAIN SELECT * FROM trade_last WHERE venue = 'test' AND symbol = 'BTC-USD'")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    connection.close()
    assert "Sort" not in plan.replace("Sort Key", "")
    assert "Index Scan Backward using trade_" in plan
