"""Listings in a real database: new, changed and delisted instruments, and their history."""

import threading
from decimal import Decimal
from typing import Any

import msgspec
import psycopg2
import pytest

from recorder.identity import instrument_id
from recorder.instruments.catalog_store import Changes, number, store_listings
from recorder.store.database import WRITER, connect
from recorder.venues.base import Listing

A = Listing("A-USD", "A", "USD", "spot", "0.01", "5", "online")
B = Listing("B-USD", "B", "USD", "spot", "0.10", None, "online", "nano-b", "micro-usd")


def rows(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def history(url: str, symbol: str) -> list[tuple[Any, ...]]:
    """Return (tick size, minimum size, status, whether it is current) of an instrument, oldest first."""
    return rows(
        url,
        "SELECT h.tick_size, h.min_size, h.status, h.valid_to IS NULL FROM instrument_history h "
        "JOIN instrument USING (instrument_id) WHERE symbol = %s ORDER BY valid_from",
        symbol,
    )


def changed(listing: Listing, **values: object) -> Listing:
    return msgspec.structs.replace(listing, **values)


def test_a_list_fills_the_table(database: str) -> None:
    assert store_listings(database, "venue", [A, B]) == Changes(new=2, changed=0, delisted=0)
    found = rows(
        database,
        "SELECT instrument_id, venue, symbol, base, quote, kind, tick_size, min_size, status, base_unit, quote_unit "
        "FROM instrument ORDER BY symbol",
    )
    assert found == [
        (
            instrument_id("venue", "A-USD"), "venue", "A-USD", "A", "USD", "spot", Decimal("0.01"), 5, "online",
            None, None,
        ),
        (
            instrument_id("venue", "B-USD"), "venue", "B-USD", "B", "USD", "spot", Decimal("0.10"), None, "online",
            "nano-b", "micro-usd",
        ),
    ]  # fmt: skip
    assert history(database, "A-USD") == [(Decimal("0.01"), 5, "online", True)]


def test_the_canonical_name_is_stored_and_filled_where_an_earlier_version_left_it_empty(database: str) -> None:
    store_listings(database, "venue", [A, B])
    assert store_listings(database, "venue", [changed(A, canonical="A-USD"), B]) == Changes(0, 1, 0)
    assert rows(database, "SELECT symbol, canonical FROM instrument ORDER BY symbol") == [
        ("A-USD", "A-USD"), ("B-USD", None),
    ]  # fmt: skip
    assert len(history(database, "A-USD")) == 1


def test_the_same_list_again_changes_nothing_and_writes_no_row(database: str) -> None:
    store_listings(database, "venue", [A, B])
    before = rows(database, "SELECT ctid, xmin, * FROM instrument")
    assert store_listings(database, "venue", [B, A]) == Changes(0, 0, 0)
    assert rows(database, "SELECT ctid, xmin, * FROM instrument") == before


@pytest.mark.parametrize("values", [{"tick_size": "0.001"}, {"min_size": "6"}, {"status": "cancel_only"}])
def test_a_change_ends_a_row_of_history_where_the_next_begins(database: str, values: dict[str, str]) -> None:
    store_listings(database, "venue", [A, B])
    after = changed(A, **values)
    assert store_listings(database, "venue", [after, B]) == Changes(0, 1, 0)
    assert history(database, "A-USD") == [
        (Decimal("0.01"), 5, "online", False),
        (Decimal(after.tick_size or 0), int(after.min_size or 0), after.status, True),
    ]
    assert len(history(database, "B-USD")) == 1
    ((end, start),) = rows(
        database, "SELECT max(valid_to), max(valid_from) FROM instrument_history WHERE instrument_id = %s",
        instrument_id("venue", "A-USD"),
    )  # fmt: skip
    assert end == start


def test_a_new_spelling_of_a_number_is_not_a_change(database: str) -> None:
    store_listings(database, "venue", [A])
    assert store_listings(database, "venue", [changed(A, tick_size="0.010", min_size="5.0")]) == Changes(0, 0, 0)
    assert len(history(database, "A-USD")) == 1


def test_a_change_of_a_column_without_history_adds_no_row_to_it(database: str) -> None:
    store_listings(database, "venue", [A])
    assert store_listings(database, "venue", [changed(A, base="AA")]) == Changes(0, 1, 0)
    assert len(history(database, "A-USD")) == 1


def test_what_vanished_is_delisted_once_and_comes_back_when_it_is_listed_again(database: str) -> None:
    store_listings(database, "venue", [A, B])
    assert store_listings(database, "venue", [B]) == Changes(0, 0, 1)
    assert store_listings(database, "venue", [B]) == Changes(0, 0, 0)
    assert store_listings(database, "venue", [A, B]) == Changes(0, 1, 0)
    assert [row[2] for row in history(database, "A-USD")] == ["online", "delisted", "online"]


def test_another_venues_instruments_are_left_alone(database: str) -> None:
    store_listings(database, "one", [A])
    store_listings(database, "two", [A, B])
    assert store_listings(database, "two", [B]) == Changes(0, 0, 1)
    assert rows(database, "SELECT status FROM instrument WHERE venue = 'one'") == [("online",)]


def test_a_recorded_instrument_gets_its_details_when_listed_and_keeps_first_seen(database: str) -> None:
    insert = "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'venue', %s, '2024-01-02Z')"
    rows(database, insert, instrument_id("venue", "A-USD"), "A-USD")
    rows(database, insert, instrument_id("venue", "C-USD"), "C-USD")
    assert history(database, "A-USD") == []
    assert store_listings(database, "venue", [A, B]) == Changes(1, 1, 0)
    found = rows(database, "SELECT symbol, status, extract(year FROM first_seen) = 2024 FROM instrument ORDER BY 1")
    assert found == [("A-USD", "online", True), ("B-USD", "online", False), ("C-USD", None, True)]


def test_an_id_of_another_symbol_is_left_to_the_writer_which_quarantines_it(database: str) -> None:
    insert = "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'venue', 'OTHER', now())"
    rows(database, insert, instrument_id("venue", "A-USD"))
    assert store_listings(database, "venue", [A, B]) == Changes(1, 0, 0)
    assert rows(database, "SELECT symbol, base FROM instrument ORDER BY 1") == [("B-USD", "B"), ("OTHER", None)]


def test_empty_values_of_a_venue_are_null_and_nul_bytes_do_no_harm(database: str) -> None:
    odd = Listing("O\N{SNOWMAN}", "a\0b", "", "spot", "0.00000000", "1e-08", "\0")
    assert store_listings(database, "venue", [odd, changed(A, symbol=""), changed(A, symbol="x\0")]).new == 1
    assert rows(database, "SELECT base, tick_size, min_size FROM instrument") == [
        ("a\N{REPLACEMENT CHARACTER}b", None, Decimal("1e-08"))
    ]


@pytest.mark.parametrize(
    "text", [None, "", "0", "0.00", "-1", "NaN", "inf", "1e999", "about 5", "1E-20000", "1e-41", "9" * 90]
)
def test_text_that_is_not_a_size_is_none(text: str | None) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    "values",
    [
        {"tick_size": "1E-20000"},
        {"min_size": "0." + "1" * 20_000},
        {"base": "\0\ud800" + "huge" * 1_000_000},
        {"status": "a\x1b[2J\u202e"},
    ],
)
def test_an_odd_value_of_one_instrument_costs_no_other_instrument(database: str, values: dict[str, str]) -> None:
    odd = changed(A, symbol="ODD", **values)
    assert store_listings(database, "venue", [A, odd, B]) == Changes(3, 0, 0)
    assert store_listings(database, "venue", [A, odd, B]) == Changes(0, 0, 0)


@pytest.mark.parametrize("symbol", ["S" * 501, "lone \ud800", "", "\0"])
def test_an_instrument_without_a_usable_name_costs_only_itself(database: str, symbol: str) -> None:
    assert store_listings(database, "venue", [A, changed(A, symbol=symbol), B]) == Changes(2, 0, 0)


def test_an_instrument_that_postgres_refuses_is_left_out_and_not_delisted(database: str) -> None:
    many = [changed(A, symbol=f"{index:02}") for index in range(40)]
    store_listings(database, "venue", many)
    rows(database, "ALTER TABLE instrument ADD CHECK (base <> 'refused')")
    again = [changed(one, base="refused" if one.symbol in ("07", "31") else "new") for one in many]
    assert store_listings(database, "venue", again) == Changes(0, 38, 0)
    assert rows(database, "SELECT symbol, base, status FROM instrument WHERE base <> 'new' ORDER BY 1") == [
        ("07", "A", "online"),
        ("31", "A", "online"),
    ]


def test_twenty_thousand_outcomes_are_stored_and_compared_again(database: str) -> None:
    many = [changed(A, symbol=str(index), kind="outcome") for index in range(20_000)]
    assert store_listings(database, "venue", many).new == 20_000
    assert store_listings(database, "venue", many[:-1]) == Changes(0, 0, 1)
    assert rows(database, "SELECT count(*) FROM instrument_history") == [(20_001,)]


def test_two_concurrent_stores_agree(database: str) -> None:
    many = [changed(A, symbol=str(index)) for index in range(3_000)]
    results: list[Changes] = []
    orders = [many, many[::-1], many]
    threads = [
        threading.Thread(target=lambda order=order: results.append(store_listings(database, "venue", order)))
        for order in orders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(result.new for result in results) == 3_000
    assert rows(database, "SELECT count(*) FROM instrument_history") == [(3_000,)]


def test_the_writers_role_may_change_details_and_neither_identity_nor_history(database: str) -> None:
    store_listings(database, "venue", [A])
    for statement in (
        "UPDATE instrument SET symbol = 'X'",
        "DELETE FROM instrument",
        "UPDATE instrument_history SET status = 'x'",
        "DELETE FROM instrument_history",
    ):
        connection = connect(database, application_name="test", role=WRITER)
        try:
            with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(statement)
        finally:
            connection.close()


def test_first_seen_of_a_recorded_instrument_never_becomes_later(database: str) -> None:
    store_listings(database, "venue", [A])
    rows(database, "UPDATE instrument SET recorded = true")
    (before,) = rows(database, "SELECT first_seen FROM instrument")
    rows(database, "UPDATE instrument SET first_seen = first_seen + interval '1 hour'")
    assert rows(database, "SELECT first_seen FROM instrument") == [before]
    rows(database, "UPDATE instrument SET first_seen = first_seen - interval '1 hour'")
    assert rows(database, f"SELECT first_seen = '{before[0]}'::timestamptz - interval '1 hour' FROM instrument") == [
        (True,)
    ]


def test_a_clock_that_was_set_back_ends_no_row_before_its_beginning(database: str) -> None:
    store_listings(database, "venue", [A])
    rows(database, "UPDATE instrument_history SET valid_from = now() + interval '1 hour'")
    store_listings(database, "venue", [changed(A, status="halted")])
    found = rows(database, "SELECT valid_from, valid_to, status FROM instrument_history ORDER BY valid_from")
    assert [row[2] for row in found] == ["online", "halted"]
    assert found[0][1] == found[1][0] > found[0][0]
