"""Snapshots, books and whales in Postgres: each row once, in the partition of its day, and the views over them."""

import datetime
import time
from typing import Any

import psycopg2
import pytest
from support.batches import DAY_NS, FIRST, HandPart, batch
from support.poller.snapshots import NOW_NS as WIRE_NS
from support.poller.snapshots import ScriptedRound, board, books_of, market

from recorder.events import Quote, Trade
from recorder.pgcopy import encode
from recorder.pgcopy.polled import POLLED, encode_rows
from recorder.poller.polymarket import snapshot_rows as rows
from recorder.poller.polymarket.snapshots import Snapshots, StoredBooks
from recorder.position import Position
from recorder.store.database import READER, connect
from recorder.store.loader import Store
from recorder.venues.polymarket.polls.whales import Whale

NOW_NS = int(datetime.datetime.now(datetime.UTC).timestamp()) * 10**9
TODAY = datetime.datetime.now(datetime.UTC).date()
HASH = "0x" + "ab" * 32
WALLET = "0x" + "cd" * 20


def read(url: str, query: str) -> list[tuple[Any, ...]]:
    connection = connect(url, application_name="test", role=READER)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()
    finally:
        connection.close()


def write(url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


def part(table: str, *values: tuple[object, ...], days: tuple[int, ...] = ()) -> HandPart:
    columns = tuple(column for column, _ in POLLED[table])
    return HandPart(table, columns, len(values), encode_rows(table, values), days)


def snapshots(count: int, received_ns: int = NOW_NS) -> list[HandPart]:
    """Return the rows that the handler of T4 makes of an answer."""
    round = ScriptedRound(lambda _service, _path, body: books_of(body))
    round.now_ns = received_ns
    Snapshots(board(*map(market, range(1, count + 1))), "T4", StoredBooks("T2")).run(round)
    days = (received_ns // DAY_NS,)
    return [part(table, *round.rows[table], days=days) for table in ("market_snapshot", "market_book")]


def whale(fills: int, cash: float, transaction: str = HASH) -> tuple[object, ...]:
    found = Whale(transaction, WALLET, fills, NOW_NS, "100", f"0x{1:064x}", "Yes", 0, "b", cash * 2, cash, 1)
    return rows.whale(found, NOW_NS + fills)


def insert_market(number: int) -> str:
    return f"""INSERT INTO market (market_id, condition_id, tokens, outcomes, slug, question, category,
                                   tags, phase, neg_risk, neg_risk_other, active, known_since, known_at, revision)
               VALUES ({number}, '{market(number).condition_id}', '{{{number}00,{number}01}}', '{{Up,Down}}',
                       'market-{number}', 'Market {number}?', 'crypto', '{{}}', 'open', false, false, true,
                       now(), now(), 1)"""


def test_the_columns_of_the_rows_are_those_of_the_tables(database: str) -> None:
    for table in ("market_snapshot", "market_book", "whale_event"):
        columns = read(
            database,
            "SELECT column_name FROM information_schema.columns "
            f"WHERE table_name = '{table}' ORDER BY ordinal_position",
        )
        assert [column for (column,) in columns] == [column for column, _ in POLLED[table]]


def test_rows_enter_the_partition_of_their_day_once(database: str) -> None:
    store = Store(database)
    assert store.load(batch(None, snapshots(300))).total.inserted == 600
    again = store.load(batch(Position(FIRST.segment, FIRST.offset + 1000), snapshots(301)))
    assert (again.total.inserted, again.total.duplicate, again.total.quarantined) == (2, 600, 0)
    store.close()
    for table in ("market_snapshot", "market_book"):
        assert read(database, f"SELECT count(*) FROM {table}") == [(301,)]
        assert read(database, f"SELECT count(*) FROM partition.{table}_{TODAY:%Y%m%d}") == [(301,)]
    assert read(database, "SELECT bid, mid, bid_depth_10c, largest_ask, tier, source FROM market_snapshot LIMIT 1") == [
        (0.45, 0.46, 100.0, 0.99, "T4", "rest")
    ]
    assert read(database, "SELECT bids, asks->0->>1 FROM market_book LIMIT 1") == [
        ([[0.45, 100.0], [0.01, 1000.0]], "300.0")
    ]


def test_a_market_without_a_book_is_stored_as_such(database: str) -> None:
    store = Store(database)
    row = rows.without_book(market(1), "T1", NOW_NS, None)
    assert store.load(batch(None, [part("market_snapshot", row, days=(NOW_NS // DAY_NS,))])).total.inserted == 1
    store.close()
    assert read(database, "SELECT source, ts_event, bid, volume FROM market_snapshot") == [("none", None, None, 5000.0)]


def test_numbers_from_the_future_of_a_snapshot_are_refused(database: str) -> None:
    store = Store(database)
    columns = [column for column, _ in POLLED["market_snapshot"]]
    row = list(rows.without_book(market(1), "T1", NOW_NS, None))
    row[columns.index("gamma_recv")] = NOW_NS + 10**9
    loaded = store.load(batch(None, [part("market_snapshot", tuple(row), days=(NOW_NS // DAY_NS,))]))
    store.close()
    assert (loaded.total.inserted, loaded.total.quarantined) == (0, 1)


def test_a_whale_that_has_grown_replaces_itself_and_never_shrinks(database: str) -> None:
    store = Store(database)
    for number, row in enumerate([whale(1, 1200.0), whale(3, 1900.0), whale(2, 1500.0), whale(3, 1900.0)]):
        start = Position(FIRST.segment, FIRST.offset + 1000 * number) if number else None
        store.load(batch(start, [part("whale_event", row)]))
    store.close()
    assert read(database, "SELECT wallet, cash, revision FROM whale_event") == [(WALLET, 1900.0, 3)]


def test_a_large_trade_of_stream_and_feed_is_shown_once(database: str) -> None:
    store = Store(database)
    only_stream, both = "0x" + "11" * 32, HASH
    prints = [
        Trade("100", number, NOW_NS - 10**9, NOW_NS, 0.5, 1500.0, "b", transaction)
        for number, transaction in enumerate([only_stream, only_stream, both, both, "0x" + "22" * 32])
    ]
    ids = {"100": rows.instrument_id("100")}
    trades = HandPart(
        "trade", encode.COLUMNS["trade"], len(prints), encode.encode_trades(prints, ids), (NOW_NS // DAY_NS,)
    )
    named = HandPart(
        "instrument", encode.COLUMNS["instrument"], 1,
        encode.encode_instruments([(ids["100"], "polymarket", "100")], NOW_NS),
    )  # fmt: skip
    store.load(batch(None, [named, trades, part("whale_event", whale(2, 1500.0))]))
    store.close()
    write(database, insert_market(1))
    shown = read(
        database, "SELECT source, cash, wallet, slug, outcome, side, transaction_hash FROM whale_named ORDER BY source"
    )
    assert shown == [
        ("rest", 1500.0, WALLET, "market-1", "Yes", "buy", both),
        ("stream", 1500.0, None, "market-1", "Up", "buy", only_stream),
    ]


def test_snapshots_are_shown_with_their_market_and_ages(database: str) -> None:
    store = Store(database)
    store.load(batch(None, snapshots(1, WIRE_NS + 2 * 10**9)))
    store.close()
    write(database, insert_market(1))
    (row,) = read(
        database,
        "SELECT slug, outcome, book_age_s, gamma_age_s, round(hours_to_end::numeric, 3) FROM market_snapshot_named",
    )
    assert [str(value) for value in row] == ["market-1", "Up", "2.0", "2.0", "0.499"]


def test_coverage_tells_wanted_subscribed_and_receiving_tokens_apart(database: str) -> None:
    store = Store(database)
    now_ns = time.time_ns()  # what is received counts for minutes
    quotes = encode.encode_quotes(
        [Quote("100", None, now_ns, None, 0.4, 1.0, 0.5, 1.0)], {"100": rows.instrument_id("100")}, 7
    )
    named = HandPart(
        "instrument", encode.COLUMNS["instrument"], 1,
        encode.encode_instruments([(rows.instrument_id("100"), "polymarket", "100")], now_ns),
    )  # fmt: skip
    quote = HandPart("quote", encode.COLUMNS["quote"], 1, quotes, (now_ns // DAY_NS,))
    store.load(batch(None, [*snapshots(1, now_ns), named, quote]))
    store.close()
    write(
        database,
        insert_market(1),
        insert_market(2),
        "INSERT INTO subscription (venue, symbol, channel) VALUES ('polymarket', '100', 'quote'), "
        "('polymarket', '201', 'book'), ('polymarket', '201', 'trade'), ('polymarket', 'top:20', 'trade')",
    )
    shown = read(
        database, "SELECT token, slug, tier, outcome, wanted, subscribed, receiving FROM market_coverage ORDER BY token"
    )
    assert shown == [
        ("100", "market-1", "T4", "Up", True, ["quote"], True),
        ("101", "market-1", "T4", "Down", True, [], False),
        ("201", "market-2", None, "Down", False, ["book", "trade"], False),
    ]


@pytest.mark.parametrize("table", ["market_snapshot", "market_book"])
def test_a_dropped_partition_is_noticed_and_made_again(table: str, database: str) -> None:
    store = Store(database)
    store.load(batch(None, snapshots(2)))
    write(database, f"DROP TABLE partition.{table}_{TODAY:%Y%m%d}", f"DROP TABLE partition.{table}_default")
    assert sorted(store.look()) == sorted([f"{table}_{TODAY:%Y%m%d}", f"{table}_default"])
    assert store.look() == []
    store.load(batch(Position(FIRST.segment, FIRST.offset + 1000), snapshots(2, NOW_NS + 10**9)))
    store.close()
    assert read(database, "SELECT table_name, day FROM partition_lost") == [(table, TODAY)]
    assert read(database, f"SELECT count(*) FROM partition.{table}_{TODAY:%Y%m%d}") == [(2,)]
    assert read(database, "SELECT count(*) FROM gap") == [(0,)]
