import hashlib
import random
import struct
from collections.abc import Iterator
from datetime import timedelta

import psycopg2
import pytest
from support.batches import (
    IDS,
    JOURNAL,
    HandPart,
    batch,
    gap,
    gap_part,
    quotes_part,
    raw_tuple,
    trade,
    trade_part,
    trades_part,
)

from recorder.pgcopy import encode
from recorder.store.batch import Counts
from recorder.store.loader import Store


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def query(url: str, text: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def poisoned(good: HandPart, where: int, poison: bytes) -> HandPart:
    """A trade part with one more row, at place `where`."""
    before = encode.encode_trades([trade(number) for number in range(where)], {"BTC-USD": 1, "ETH-USD": 2})
    cut = len(before)
    return HandPart(good.table, good.columns, good.rows + 1, good.data[:cut] + poison + good.data[cut:], good.days)


ID8 = struct.pack("!q", 5)
POISONS = {
    "negative size": raw_tuple(ID8, ID8, ID8, ID8, struct.pack("!d", 1.0), struct.pack("!d", -1.0), None, None),
    "not a number": raw_tuple(ID8, ID8, ID8, ID8, struct.pack("!d", float("nan")), struct.pack("!d", 1.0), None, None),
    "null key": raw_tuple(None, ID8, ID8, ID8, struct.pack("!d", 1.0), struct.pack("!d", 1.0), None, None),
    "short integer": raw_tuple(b"abc", ID8, ID8, ID8, struct.pack("!d", 1.0), struct.pack("!d", 1.0), None, None),
    "long float": raw_tuple(ID8, ID8, ID8, ID8, b"123456789", struct.pack("!d", 1.0), None, None),
    "no such side": raw_tuple(ID8, ID8, ID8, ID8, struct.pack("!d", 1.0), struct.pack("!d", 1.0), b"x", None),
    "bad text": raw_tuple(ID8, ID8, ID8, ID8, struct.pack("!d", 1.0), struct.pack("!d", 1.0), None, b"\xff\xfe"),
    "too few fields": raw_tuple(ID8, ID8),
    "time out of range": raw_tuple(
        ID8, ID8, struct.pack("!q", 2**63 - 2), ID8, struct.pack("!d", 1.0), struct.pack("!d", 1.0), None, None
    ),
}


@pytest.mark.parametrize("name", POISONS)
def test_a_row_postgres_refuses_is_quarantined_and_the_rest_is_stored(name: str, store: Store, database: str) -> None:
    poison = POISONS[name]
    part = poisoned(trades_part(0, 20), 13, poison)
    first = batch(None, [quotes_part(0, 3), part], [trades_part(20, 25)])
    loaded = store.load(first)
    assert loaded.tables == {"quote": Counts(1, 3, 3), "trade": Counts(2, 26, 25, 0, 1)}
    assert query(database, "SELECT count(*) FROM trade") == [(25,)]
    ((segment, position, item, scope, table, reason, sample, digest),) = query(
        database, "SELECT segment, position, item, scope, table_name, reason, sample, sha256 FROM quarantine"
    )
    place = first.blocks[0].position
    assert (segment, position, item, scope, table) == (place.segment, place.offset, 3 + 13, "row", "trade")
    assert reason
    gaps = query(
        database, "SELECT instrument_id, channel, last_id, first_id, ended_at - started_at, state, cause FROM gap"
    )
    if name in ("null key", "short integer"):  # of any stream beside it
        beside = (IDS["BTC-USD"], IDS["ETH-USD"])
        assert {gap[:4] for gap in gaps} == {(number, "trade", None, None) for number in beside}
    else:
        assert [gap[:4] for gap in gaps] == [(5, "trade", 4, 6)]
    assert all(gap[4:] == (timedelta(0), "open", "row_refused") for gap in gaps)
    assert isinstance(sample, memoryview)
    assert isinstance(digest, memoryview)
    assert bytes(sample) == poison[:1024]
    assert bytes(digest) == hashlib.sha256(poison).digest()
    assert store.load(batch(loaded.end, [trades_part(25, 30)])).total == Counts(1, 5, 5)


def test_poison_among_duplicates_leaves_every_count_exact(store: Store, database: str) -> None:
    first = store.load(batch(None, [trades_part(0, 50)]))
    rng = random.Random(4)
    mixed = [trade(number) for number in range(30, 130)]
    bad = rng.sample(range(len(mixed)), 17)
    for number in bad:
        mixed[number] = trade(1000 + number, size=-1.0)
    loaded = store.load(batch(first.end, [trade_part(mixed)]))
    known = sum(1 for number in range(20) if number not in bad)
    assert loaded.tables == {"trade": Counts(1, 100, 100 - 17 - known, known, 17)}
    assert query(database, "SELECT count(*) FROM quarantine") == [(17,)]
    assert query(database, "SELECT count(*), count(DISTINCT trade_id) FROM trade") == [(50 + 83 - known,) * 2]


def test_a_batch_of_poison_only_is_quarantined_whole(store: Store, database: str) -> None:
    bad = [trade(number, price=float("inf")) for number in range(40)]
    assert store.load(batch(None, [trade_part(bad)])).total == Counts(1, 40, 0, 0, 40)
    assert query(database, "SELECT count(*), count(DISTINCT item) FROM quarantine") == [(40, 40)]


def test_a_poisoned_gap_does_not_hold_back_the_other_gaps(store: Store, database: str) -> None:
    nameless = gap(2, 1, "no such state")
    assert store.load(batch(None, [gap_part(gap(1, 1), nameless, gap(3, 1))])).total == Counts(1, 3, 2, 0, 1)
    assert query(database, "SELECT gap_id FROM gap ORDER BY 1") == [(1,), (3,)]


def test_bytes_that_are_no_tuples_are_quarantined_with_the_rows_they_promised(store: Store, database: str) -> None:
    good = trades_part(0, 10)
    half = encode.encode_trades([trade(number) for number in range(4)], {"BTC-USD": 1, "ETH-USD": 2})
    broken = HandPart("trade", good.columns, 10, good.data[: len(half)] + b"\x00\x08garbage", good.days)
    loaded = store.load(batch(None, [broken]))
    assert loaded.total == Counts(1, 10, 4, 0, 6)
    ((item, reason),) = query(database, "SELECT item, reason FROM quarantine")
    assert item == 4
    assert reason == "6 rows cannot be split into tuples: a tuple is cut short"


def test_quarantine_names_the_instrument_when_the_row_does(store: Store, database: str) -> None:
    store.load(batch(None, [trade_part([trade(1, size=0.0)])]))
    assert query(database, "SELECT journal_id, instrument_id, session_id FROM quarantine") == [
        (JOURNAL, IDS["BTC-USD"], None)
    ]
