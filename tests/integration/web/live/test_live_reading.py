"""What the stream reads of a real Postgres: the latest values, what changed, gaps as they open and close."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2 import sql
from support.web.stored import StoredRows

from recorder.store.database import database_name, with_database
from recorder.web.live.protocol import Topic
from recorder.web.live.reading import Reader, Reading


@pytest.fixture
def rows(database: str) -> Iterator[StoredRows]:
    stored = StoredRows(database)
    yield stored
    stored.close()


@pytest.fixture
def reader(database: str) -> Iterator[Reader]:
    made = Reader(lambda: database, lambda: 0.0)
    yield made
    made.close()


def values(reading: Reading) -> list[dict[str, object]]:
    assert reading.problem == ""
    return [json.loads(item) for item in reading.items.values()]


def test_the_latest_quote_and_trade_are_read_and_nothing_twice(rows: StoredRows, reader: Reader) -> None:
    btc, eth = rows.instrument("kraken", "BTC/USD"), rows.instrument("kraken", "ETH/USD")
    rows.quote(btc, 1, 2)
    rows.quote(btc, 3, 4)
    rows.trade(btc, 3.5)
    topics = frozenset({Topic("quote", btc), Topic("quote", eth), Topic("trade", btc)})
    assert reader.resolve(["kraken:BTC/USD", str(eth), "kraken:NONE", "x", "9" * 20]) == {
        "kraken:BTC/USD": btc,
        str(eth): eth,
    }
    snapshot = values(reader.snapshot(topics))
    assert {(one["kind"], one["instrument"], one.get("bid"), one.get("price")) for one in snapshot} == {
        ("quote", "kraken:BTC/USD", 3.0, None),
        ("trade", "kraken:BTC/USD", None, 3.5),
    }
    assert all(one["instrument_id"] == str(btc) and one["coverage"] == 1 and one["as_of"] for one in snapshot)
    reader.look(topics)
    assert values(reader.look(topics)) == []
    rows.quote(eth, 7, 8)
    trade_id = rows.trade(btc, 9)
    assert [(one["instrument"], one.get("bid"), one.get("trade_id")) for one in values(reader.look(topics))] == [
        ("kraken:ETH/USD", 7.0, None),
        ("kraken:BTC/USD", None, str(trade_id)),
    ]


def test_a_quiet_instrument_has_its_last_trade_in_the_snapshot(rows: StoredRows, reader: Reader) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    at = datetime.now(UTC) - timedelta(hours=3)
    rows.trade(btc, 3.5, at=at)
    rows.bar(btc, at.replace(second=0, microsecond=0), 3.5, complete=True)
    assert [one["price"] for one in values(reader.snapshot([Topic("trade", btc)]))] == [3.5]


def test_rows_that_are_loaded_late_are_seen(rows: StoredRows, database: str) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    topics = frozenset({Topic("trade", btc)})
    reader = Reader(lambda: database, lambda: 600.0)
    reader.look(topics)
    rows.trade(btc, 5, at=datetime.now(UTC) - timedelta(minutes=9))
    assert [one["price"] for one in values(reader.look(topics))] == [5]
    reader.close()


def test_the_forming_bar_changes_and_the_closed_one_comes_once_more_when_it_is_revised(
    rows: StoredRows, reader: Reader
) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    before = minute - timedelta(minutes=1)
    topics = frozenset({Topic("bar", btc, 60)})
    rows.bar(btc, before, 4, complete=True)
    rows.bar(btc, minute, 5, complete=False)
    assert sorted((one["close"], one["complete"], one["width"]) for one in values(reader.look(topics))) == [
        (4.0, True, "1m"),
        (5.0, False, "1m"),
    ]
    rows.bar(btc, minute, 6, complete=False)
    assert [one["close"] for one in values(reader.look(topics))] == [6.0]
    rows.bar(btc, before, 4.5, complete=True, revision=2)
    assert [(one["close"], one["revision"]) for one in values(reader.look(topics))] == [(4.5, 2)]


def test_a_book_is_rebuilt_and_unknown_after_a_gap_until_the_next_snapshot(rows: StoredRows, reader: Reader) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    topics = frozenset({Topic("book", btc)})
    rows.book(btc, "s", [[10, 1], [9, 2]], [[11, 1]])
    rows.book(btc, "d", [[10, 0], [9.5, 4]], [])
    (found,) = values(reader.look(topics))
    assert (found["bids"], found["asks"], found["unknown_since"]) == ([[9.5, 4.0], [9.0, 2.0]], [[11.0, 1.0]], None)
    rows.gap(btc, "book", datetime.now(UTC))
    rows.book(btc, "d", [[9.5, 5]], [])
    (found,) = values(reader.look(topics))
    assert (found["bids"], found["asks"]) == ([], [])
    assert found["unknown_since"] is not None
    rows.book(btc, "s", [[8, 1]], [[12, 1]], session=2)
    (found,) = values(reader.look(topics))
    assert (found["bids"], found["unknown_since"]) == ([[8.0, 1.0]], None)


def test_a_gap_is_reported_when_it_opens_and_when_it_is_healed(rows: StoredRows, reader: Reader) -> None:
    btc, eth = rows.instrument("kraken", "BTC/USD"), rows.instrument("kraken", "ETH/USD")
    every, one = frozenset({Topic("gap")}), frozenset({Topic("gap", btc)})
    old = rows.gap(btc, "trade", datetime.now(UTC) - timedelta(hours=2))
    assert [item["gap_id"] for item in values(reader.snapshot(every))] == [str(old)]
    assert reader.look(every).events == []
    new = rows.gap(eth, "quote", datetime.now(UTC))
    (opened,) = reader.look(every).events
    assert opened.topics == (Topic("gap"), Topic("gap", eth))
    assert json.loads(opened.frame)["gap_id"] == str(new)
    rows.change_gap(old, "healed", "its ids follow each other")
    (healed,) = reader.look(every).events
    assert (json.loads(healed.frame)["state"], json.loads(healed.frame)["revision"]) == ("healed", 2)
    assert reader.look(every).events == []
    reader.snapshot(one)
    short = rows.gap(btc, "book", datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC), "unhealable")
    assert [event.key for event in reader.look(one).events] == [("gap", short)]


def test_a_client_of_all_gaps_hears_of_those_that_open_and_close_between_two_looks(
    rows: StoredRows, reader: Reader
) -> None:
    every = frozenset({Topic("gap")})
    btc, now = rows.instrument("kraken", "BTC/USD"), datetime.now(UTC)
    rows.gap(btc, "trade", now - timedelta(minutes=3), now - timedelta(minutes=2), "unhealable")  # known already
    reader.snapshot(every)
    assert reader.look(every).events == []
    short = rows.gap(btc, "book", now - timedelta(seconds=1), now, "unhealable")
    declared_late = rows.gap(btc, "quote", now - timedelta(hours=2), now, "unhealable")
    assert {event.key for event in reader.look(every).events} == {("gap", short), ("gap", declared_late)}
    assert reader.look(every).events == []


def test_coverage_of_a_snapshot_counts_overlapping_gaps_once(rows: StoredRows, reader: Reader) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    now = datetime.now(UTC)
    rows.quote(btc, 1, 2)
    for started in (40, 30):
        rows.gap(btc, "quote", now - timedelta(minutes=started), now - timedelta(minutes=10), "unhealable")
    rows.gap(btc, "quote", now - timedelta(minutes=55), now - timedelta(minutes=50), "healed")
    (found,) = values(reader.snapshot([Topic("quote", btc)]))
    assert found["coverage"] == pytest.approx(0.5, abs=0.01)


def test_coverage_leaves_out_time_before_the_recording_and_what_is_not_loaded(rows: StoredRows, database: str) -> None:
    now = datetime.now(UTC)
    young = rows.instrument("kraken", "YOUNG/USD", first_seen=now - timedelta(minutes=15))
    listed = rows.instrument("kraken", "LISTED/USD")
    with rows.cursor() as cursor:
        cursor.execute("UPDATE instrument SET recorded = false WHERE instrument_id = %s", (listed,))
    for one in (young, listed):
        rows.quote(one, 1, 2)
    reader = Reader(lambda: database, lambda: 360.0)
    found = {
        one["instrument"]: one["coverage"]
        for one in values(reader.snapshot([Topic("quote", young), Topic("quote", listed)]))
    }
    assert found == {"kraken:YOUNG/USD": pytest.approx(0.25 - 0.1, abs=0.01), "kraken:LISTED/USD": 0}
    reader.close()


def test_without_postgres_it_says_so_and_recovers_by_itself(rows: StoredRows, database: str) -> None:
    btc = rows.instrument("kraken", "BTC/USD")
    topics = frozenset({Topic("quote", btc)})
    rows.quote(btc, 1, 2)
    urls = [with_database(database, "tapedeck_absent")]
    reader = Reader(lambda: urls[-1], lambda: 0.0)
    assert "does not exist" in reader.look(topics).problem
    assert reader.resolve(["kraken:BTC/USD"]) == {"kraken:BTC/USD": btc}
    urls.append(database)
    assert [one["bid"] for one in values(reader.look(topics))] == [1]
    with psycopg2.connect(with_database(database, "postgres")) as other, other.cursor() as cursor:
        cursor.execute(
            sql.SQL(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {} AND application_name = {}"
            ).format(sql.Literal(database_name(database)), sql.Literal("web-stream"))
        )
    other.close()
    assert reader.look(topics).problem
    rows.quote(btc, 2, 3)
    assert [one["bid"] for one in values(reader.look(topics))] == [2]
    reader.close()
