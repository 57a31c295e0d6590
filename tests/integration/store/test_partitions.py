"""Day partitions that somebody drops or detaches while rows are loaded."""

import datetime
import time
from contextlib import closing

import psycopg2
import pytest
from support.batches import DAY_NS, FIRST, IDS, NOON_NS, batch, instrument_part, quotes_part, trades_part

from recorder.keeper.partitions import ensure_ahead
from recorder.position import Position
from recorder.store.database import KEEPER, connect
from recorder.store.loader import Store
from recorder.store.restore import unfinished_restore

NAMES = [(number, "test", symbol) for symbol, number in IDS.items()]
TODAY = datetime.datetime.fromtimestamp(NOON_NS / 1e9, datetime.UTC).date()


def run(url: str, text: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def ahead(url: str) -> None:
    """Make partitions as the keeper does."""
    with closing(connect(url, application_name="test", role=KEEPER)) as connection:
        ensure_ahead(connection, 1, time.time())


@pytest.mark.parametrize("statement", ["DROP TABLE {}", "ALTER TABLE trade DETACH PARTITION {}"])
def test_a_partition_that_is_gone_is_noticed_declared_and_made_again(statement: str, database: str) -> None:
    name = f"trade_{TODAY:%Y%m%d}"
    store = Store(database)
    ahead(database)
    parts = [instrument_part(*NAMES), trades_part(0, 10), quotes_part(0, 4)]
    store.load(batch(None, parts))
    assert store.look() == []
    run(database, statement.format(f"partition.{name}"))
    store.load(batch(Position(FIRST.segment, FIRST.offset + 1000), [trades_part(10, 20)]))
    assert store.look() == [name]
    assert store.look() == []
    gaps = run(database, "SELECT channel, cause, state, ended_at IS NULL, reason FROM gap")
    assert gaps == [("trade", "partition_dropped", "unhealable", False, f"partition.{name} was dropped")] * 2
    ahead(database)
    store.load(batch(Position(FIRST.segment, FIRST.offset + 2000), [trades_part(20, 30)]))
    assert run(database, f"SELECT count(*) FROM partition.{name}") == [(30 if "DETACH" in statement else 20,)]
    assert run(database, "SELECT count(*) FROM partition.trade_default") == [(0,)]
    store.close()


def test_a_partition_dropped_while_the_writer_was_away_is_noticed_too(database: str) -> None:
    store = Store(database)
    store.load(batch(None, [instrument_part(*NAMES), trades_part(0, 10)]))
    store.close()
    run(database, "INSERT INTO subscription (venue, symbol, channel) VALUES ('test', '*-USD', 'trade')")
    run(database, f"DROP TABLE partition.trade_{TODAY:%Y%m%d}")
    assert store.look() == [f"trade_{TODAY:%Y%m%d}"]
    assert run(database, "SELECT count(*) FROM gap") == [(2,)]
    store.close()


def test_a_partition_dropped_on_purpose_is_no_loss(database: str) -> None:
    store = Store(database)
    store.load(batch(None, [instrument_part(*NAMES), trades_part(0, 10)]))
    run(database, f"SELECT drop_partition('trade', '{TODAY}')")
    assert store.look() == []
    store.close()


def test_a_default_partition_is_made_again(database: str) -> None:
    store = Store(database)
    run(database, "DROP TABLE partition.quote_default")
    assert store.look() == ["quote_default"]
    assert store.look() == []
    store.close()


def test_names_come_back_and_those_of_a_listing_count_as_recorded(database: str) -> None:
    store = Store(database)
    store.load(batch(None, [trades_part(0, 3)]))
    store.name_instruments("test", [("BTC-USD", NOON_NS), ("ETH-USD", NOON_NS)])
    run(database, "UPDATE instrument SET recorded = false WHERE symbol = 'ETH-USD'")
    store.name_instruments("test", [("BTC-USD", NOON_NS - DAY_NS), ("ETH-USD", NOON_NS)])
    rows = run(database, "SELECT symbol, recorded, extract(epoch FROM first_seen)::bigint FROM instrument ORDER BY 1")
    assert rows == [("BTC-USD", True, NOON_NS // 10**9), ("ETH-USD", True, NOON_NS // 10**9)]
    assert run(database, "SELECT count(*) FROM trade JOIN instrument USING (instrument_id)") == [(3,)]
    store.close()


def test_tables_without_keys_or_rows_of_migrations_are_a_restore(database: str) -> None:
    connection = connect(database, application_name="test")
    with connection.cursor() as cursor:
        assert unfinished_restore(cursor) is None
        cursor.execute("BEGIN; ALTER TABLE subscription DROP CONSTRAINT subscription_pkey")
        assert "keys" in str(unfinished_restore(cursor))
        cursor.execute("ROLLBACK; BEGIN; DELETE FROM schema_migration")
        assert "schema_migration" in str(unfinished_restore(cursor))
        cursor.execute("ROLLBACK; SET application_name = 'pg_restore'")
        assert "pg_restore" in str(unfinished_restore(cursor))
    connection.close()
