import datetime
import threading
import time
from collections.abc import Iterator

import msgspec
import psycopg2
import pytest
from support.batches import (
    DAY_NS,
    FIRST,
    IDS,
    JOURNAL,
    NOON_NS,
    batch,
    gap,
    gap_part,
    instrument_part,
    quotes_part,
    session_part,
    trade,
    trade_part,
    trades_part,
)

from recorder.appliance.processes import wait_until
from recorder.errors import ConfigError, StoreError, StoreUnavailable
from recorder.instruments.catalog_store import store_listings
from recorder.position import Position
from recorder.store.batch import Batch, Counts, Damage
from recorder.store.database import WRITER, connect
from recorder.store.loader import Store
from recorder.venues.base import Listing

Rows = list[tuple[object, ...]]


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    yield store
    store.close()


def query(url: str, text: str) -> Rows:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def ledger(url: str) -> Rows:
    return query(
        url,
        "SELECT table_name, blocks, offered, inserted, duplicate, quarantined FROM load_ledger ORDER BY segment, 1",
    )


def test_a_batch_stores_its_rows_its_counts_and_its_position(store: Store, database: str) -> None:
    one = batch(None, [trades_part(0, 5), quotes_part(0, 3)], [trades_part(5, 9)])
    loaded = store.load(one)
    assert loaded.tables == {"trade": Counts(2, 9, 9), "quote": Counts(1, 3, 3)}
    assert store.position(JOURNAL) == one.end
    assert ledger(database) == [("quote", 1, 3, 3, 0, 0), ("trade", 2, 9, 9, 0, 0)]
    expected = trade(4)
    assert query(database, "SELECT * FROM trade WHERE trade_id = 4") == [
        (
            IDS["BTC-USD"],
            4,
            datetime.datetime.fromtimestamp(expected.ts_event_ns / 1e9, datetime.UTC),
            datetime.datetime.fromtimestamp(expected.ts_recv_ns / 1e9, datetime.UTC),
            expected.price,
            expected.size,
            "s",
            None,
        )
    ]


def test_a_journal_is_unknown_before_its_first_batch(store: Store) -> None:
    assert store.position(JOURNAL) is None


def test_counts_add_up_over_batches(store: Store, database: str) -> None:
    first = store.load(batch(None, [trades_part(0, 5)]))
    store.load(batch(first.end, [trades_part(5, 6)]))
    assert ledger(database) == [("trade", 2, 6, 6, 0, 0)]


def test_a_batch_loaded_twice_changes_nothing(store: Store, database: str) -> None:
    first = store.load(batch(None, [quotes_part(0, 4)]))
    second = batch(first.end, [quotes_part(4, 9)])
    store.load(second)
    before = (query(database, "SELECT count(*) FROM quote"), ledger(database), store.position(JOURNAL))
    for repeated in (second, batch(None, [quotes_part(0, 4)])):
        with pytest.raises(StoreError, match=r"another writer is active: journal .* is not at"):
            store.load(repeated)
    assert (query(database, "SELECT count(*) FROM quote"), ledger(database), store.position(JOURNAL)) == before


def test_an_empty_range_of_journal_moves_the_position(store: Store, database: str) -> None:
    store.load(batch(None, [trades_part(0, 1)]))
    start = store.position(JOURNAL)
    store.load(Batch(JOURNAL, "recorder-test", start, Position(2, 64), []))
    assert store.position(JOURNAL) == Position(2, 64)
    assert query(database, "SELECT block_seq FROM journal") == [(FIRST.offset // 1000,)]


def test_trades_stored_already_are_counted_as_duplicates(store: Store, database: str) -> None:
    first = store.load(batch(None, [trades_part(0, 10)]))
    again = store.load(batch(first.end, [trades_part(5, 15), quotes_part(0, 2)]))
    assert again.tables == {"trade": Counts(1, 10, 5, 5), "quote": Counts(1, 2, 2)}
    assert query(database, "SELECT count(*), count(DISTINCT trade_id) FROM trade") == [(15, 15)]
    third = store.load(batch(again.end, [trades_part(0, 20)]))
    assert third.tables == {"trade": Counts(1, 20, 5, 15)}


def test_trades_that_a_new_session_repeats_are_refused_by_no_statement(store: Store, database: str) -> None:
    first = batch(None, [session_part(1, 1, 5), trades_part(0, 5)])
    store.load(first)
    loaded = store.load(batch(first.end, [session_part(2, 1, 5), trades_part(3, 8)]))
    assert (loaded.tables["trade"].inserted, loaded.tables["trade"].duplicate) == (3, 2)
    store.close()  # its server process reports its counts at the end

    def inserted() -> int:
        text = "SELECT coalesce(sum(n_tup_ins), 0)::int FROM pg_stat_user_tables WHERE relname LIKE 'trade%'"
        ((count,),) = query(database, text)
        return int(str(count))

    assert wait_until(lambda: inserted() >= 8, 20.0)
    assert inserted() == 8, "a COPY that failed would count, too"


def test_a_trade_that_comes_twice_in_one_batch_is_stored_once(store: Store, database: str) -> None:
    loaded = store.load(batch(None, [trade_part([trade(1), trade(2), trade(1, price=5.0)])]))
    assert loaded.tables == {"trade": Counts(1, 3, 2, 1)}
    assert query(database, "SELECT trade_id, price FROM trade ORDER BY 1") == [(1, trade(1).price), (2, trade(2).price)]


def test_the_highest_revision_of_a_gap_wins_whatever_the_order(store: Store, database: str) -> None:
    loaded = store.load(batch(None, [gap_part(gap(1, 1), gap(1, 3, "healed"), gap(1, 2), gap(2, 1))]))
    assert loaded.tables == {"gap": Counts(1, 4, 2, 2)}
    older = store.load(batch(loaded.end, [gap_part(gap(1, 2))]))
    newer = store.load(batch(older.end, [gap_part(gap(2, 2, "unhealable"))]))
    assert newer.tables == {"gap": Counts(1, 1, 0, 1)}
    assert query(database, "SELECT gap_id, revision, state, first_id FROM gap ORDER BY 1") == [
        (1, 3, "healed", 20),
        (2, 2, "unhealable", 20),
    ]


def test_a_session_is_replaced_by_its_later_revision(store: Store, database: str) -> None:
    first = store.load(batch(None, [session_part(7, 1, 10)], [session_part(7, 2, 25)]))
    store.load(batch(first.end, [session_part(7, 3, 40)]))
    assert query(database, "SELECT session_id, frames, revision FROM session") == [(7, 40, 3)]


def test_an_instrument_seen_again_is_a_duplicate_and_its_venue_is_registered(store: Store, database: str) -> None:
    first = store.load(batch(None, [instrument_part((1, "test", "A"), (2, "other", "B"))]))
    again = store.load(batch(first.end, [instrument_part((1, "test", "A"), (3, "test", "C"))]))
    assert again.tables == {"instrument": Counts(1, 2, 1, 1)}
    assert query(database, "SELECT name FROM venue ORDER BY 1") == [("other",), ("test",)]


def test_another_name_for_a_known_instrument_id_is_quarantined(store: Store, database: str) -> None:
    first = store.load(batch(None, [instrument_part((1, "test", "A"))]))
    loaded = store.load(batch(first.end, [instrument_part((2, "test", "B"), (1, "test", "TWIN"), (3, "test", "A"))]))
    assert loaded.tables == {"instrument": Counts(1, 3, 1, 0, 2)}
    assert query(database, "SELECT symbol FROM instrument ORDER BY 1") == [("A",), ("B",)]
    reasons = [reason for (reason,) in query(database, "SELECT reason FROM quarantine ORDER BY item")]
    assert reasons[0] == "instrument_id 1 of test:TWIN is taken by test:A"


def test_days_that_have_no_partition_get_one(store: Store, database: str) -> None:
    days = [NOON_NS - 400 * DAY_NS, NOON_NS, NOON_NS + 20 * DAY_NS]
    part = trade_part([trade(number, ts_event_ns=day) for number, day in enumerate(days)])
    store.load(msgspec.structs.replace(batch(None, [part]), since_ns=days[0] + 5 * DAY_NS))  # the journal is old too
    assert query(database, "SELECT count(*) FROM partition.trade_default") == [(0,)]
    children = query(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'trade'::regclass")
    assert children == [(1 + len(days),)]


def test_old_trades_in_new_messages_create_no_partitions(store: Store, database: str) -> None:
    """A thousand days would make every query lock a thousand partitions."""
    days = [NOON_NS - age * DAY_NS for age in (1, 6, *range(9, 1000, 10))]
    store.load(batch(None, [trade_part([trade(number, ts_event_ns=day) for number, day in enumerate(days)])]))
    assert query(database, "SELECT count(*) FROM trade") == [(len(days),)]
    children = query(database, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'trade'::regclass")
    assert children == [(1 + 2,)]
    assert query(database, "SELECT count(*) FROM partition.trade_default") == [(len(days) - 2,)]


def test_an_absurd_day_falls_into_the_default_partition(store: Store, database: str) -> None:
    store.load(batch(None, [trade_part([trade(1, ts_event_ns=NOON_NS + 9_000 * DAY_NS), trade(2, ts_event_ns=0)])]))
    assert query(database, "SELECT trade_id FROM partition.trade_default ORDER BY 1") == [(1,), (2,)]


def test_rows_leave_the_default_partition_when_their_day_gets_its_own(store: Store, database: str) -> None:
    day = NOON_NS + 100 * DAY_NS
    store.load(batch(None, [trade_part([trade(1, ts_event_ns=day), trade(2, ts_event_ns=day + DAY_NS)])]))
    name = f"partition.trade_{datetime.datetime.fromtimestamp(day / 1e9, datetime.UTC):%Y%m%d}"
    connection = connect(database, application_name="test", role=WRITER)
    with connection.cursor() as cursor:
        for expected in (True, False):
            cursor.execute("SELECT ensure_partition('trade', DATE '1970-01-01' + %s)", (day // DAY_NS,))
            assert cursor.fetchone() == (expected,)
    connection.close()
    assert query(database, f"SELECT trade_id FROM {name}") == [(1,)]
    assert query(database, "SELECT trade_id FROM partition.trade_default") == [(2,)]


def test_a_long_query_on_the_default_partition_does_not_stop_loading(store: Store, database: str) -> None:
    reader = psycopg2.connect(database)
    with reader.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM partition.trade_default")
        loaded = store.load(batch(None, [trades_part(0, 3)]))
    reader.close()
    assert loaded.total.inserted == 3
    assert query(database, "SELECT count(*) FROM partition.trade_default") == [(3,)]


def test_a_second_writer_of_a_journal_is_refused_until_the_first_is_gone(database: str) -> None:
    first, second = Store(database), Store(database)
    try:
        assert first.lock(JOURNAL)
        assert not second.lock(JOURNAL)
        assert second.lock("another journal")
        first.close()  # the server lets go of the claim when it notices
        deadline, pause = time.monotonic() + 10, threading.Event()
        while not second.lock(JOURNAL):
            assert time.monotonic() < deadline
            pause.wait(0.01)
    finally:
        first.close()
        second.close()


def test_damaged_journal_is_noted_with_the_batch_around_it(store: Store, database: str) -> None:
    plain = batch(None, [trades_part(0, 2)])
    damage = Damage(Position(1, 5000), "checksum of the block does not match", b"x" * 3000, b"h" * 32)
    store.load(Batch(plain.journal_id, plain.recorder, None, Position(1, 9000), plain.blocks, [damage]))
    found = query(database, "SELECT segment, position, scope, reason, octet_length(sample) FROM quarantine")
    assert found == [(1, 5000, "block", "checksum of the block does not match", 1024)]
    assert ledger(database) == [("trade", 1, 2, 2, 0, 0)]


def test_a_store_without_its_schema_says_what_to_run(postgres: str) -> None:
    store = Store(postgres)
    with pytest.raises(ConfigError, match="run: tapedeck migrate"):
        store.load(batch(None, [trades_part(0, 1)]))
    store.close()


def test_a_terminated_backend_is_unavailable_once_and_then_replaced(store: Store, database: str) -> None:
    first = store.load(batch(None, [trades_part(0, 5)]))
    assert store.lock(JOURNAL)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'writer'")
    connection.close()
    following = batch(first.end, [trades_part(5, 9)])
    with pytest.raises(StoreUnavailable):
        store.load(following)
    assert not store.connected
    assert store.position(JOURNAL) == first.end
    assert store.load(following).total.inserted == 4
    other = Store(database)
    assert not other.lock(JOURNAL)  # the claim came back with the connection
    other.close()


def test_a_load_that_breaks_off_leaves_nothing_for_the_next_one(store: Store, database: str) -> None:
    first = store.load(batch(None, [trades_part(0, 5)]))
    unreadable = msgspec.structs.replace(quotes_part(0, 2), data=None)
    with pytest.raises(TypeError):
        store.load(batch(first.end, [trades_part(5, 9), unreadable]))
    store.load(batch(first.end, [trades_part(9, 10)]))
    assert query(database, "SELECT count(*) FROM trade") == [(6,)]
    assert ledger(database) == [("trade", 2, 6, 6, 0, 0)]


def test_the_writer_works_with_no_more_than_its_role_allows(store: Store, database: str) -> None:
    store.load(batch(None, [trades_part(0, 1)]))
    assert store._connection is not None
    with store._connection.cursor() as cursor:
        cursor.execute("SELECT current_user, current_setting('TimeZone')")
        assert cursor.fetchone() == ("tapedeck_writer", "UTC")
        for forbidden in (
            "DELETE FROM trade",
            "UPDATE trade SET price = 1",
            "DROP TABLE trade",
            "TRUNCATE load_ledger",
        ):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(forbidden)


def test_first_seen_of_a_listed_instrument_becomes_its_first_frame(database: str) -> None:
    """Nothing is recorded between the list and the first frame, so that this time must not count as recorded."""
    name = (IDS["BTC-USD"], "test", "BTC-USD")
    store_listings(database, "test", [Listing("BTC-USD", "BTC", "USD", "spot", "0.01", "1", "online")])
    first_frame_ns = time.time_ns() + 3600 * 10**9
    store = Store(database)
    store.load(batch(None, [instrument_part(name, first_seen_ns=first_frame_ns)]))
    store.close()
    found = query(database, "SELECT (extract(epoch FROM first_seen) * 1000000)::bigint, recorded FROM instrument")
    assert found == [(first_frame_ns // 1000, True)]


def test_first_seen_is_the_earliest_of_what_is_known(database: str) -> None:
    """A venue's list names an instrument before the journal with its first frames is loaded, and later ones follow."""

    def instrument() -> tuple[int, bool]:
        ((first_seen_ns, recorded),) = query(
            database, "SELECT (extract(epoch FROM first_seen) * 1000000)::bigint * 1000, recorded FROM instrument"
        )
        return int(str(first_seen_ns)), bool(recorded)

    name = (IDS["BTC-USD"], "test", "BTC-USD")
    hour_ns = 3600 * 10**9
    listing = Listing("BTC-USD", "BTC", "USD", "spot", "0.01", "1", "online")
    store_listings(database, "test", [listing])
    listed_ns, recorded = instrument()
    assert not recorded
    store = Store(database)
    loaded = store.load(batch(None, [instrument_part(name, first_seen_ns=listed_ns - hour_ns)]))
    assert instrument() == (listed_ns - hour_ns, True)
    assert (loaded.total.inserted, loaded.total.duplicate) == (0, 1)
    later = instrument_part(name, first_seen_ns=listed_ns + hour_ns)
    earlier = instrument_part(name, first_seen_ns=listed_ns - 2 * hour_ns)
    store.load(batch(loaded.end, [later], [earlier]))
    assert instrument() == (listed_ns - 2 * hour_ns, True)
    store_listings(database, "test", [msgspec.structs.replace(listing, status="offline")])
    assert instrument() == (listed_ns - 2 * hour_ns, True)
    store.close()
