"""Rows as COPY bytes, field by field, without a database."""

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.write_buffers import Row

from recorder.events import Book, Quote, Trade
from recorder.pgcopy import encode
from recorder.pgcopy.encode import COLUMNS, BookEncoder, encode_quotes, encode_trades
from recorder.pgcopy.scalars import instant, text

NS = 1_772_719_200_123_456_789
IDS = {"A": -5, "B": 2**63 - 1}


def fields(data: bytes, table: str) -> list[Row]:
    """Return the tuples of a table by column name."""
    found, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        assert count == len(COLUMNS[table])
        at += 2
        row: Row = {}
        for column in COLUMNS[table]:
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            row[column] = None if length < 0 else data[at : at + length]
            at += max(0, length)
        found.append(row)
    return found


def test_nanoseconds_are_truncated_to_microseconds_never_rounded() -> None:
    for nanoseconds in (0, 1, 499, 500, 999):
        assert instant(NS - NS % 1000 + nanoseconds) == instant(NS - NS % 1000)
    assert instant(946_684_800 * 10**9) == struct.pack("!iq", 8, 0)
    assert instant(None) == struct.pack("!i", -1)


def test_the_fast_and_the_general_encoder_agree() -> None:
    trade = Trade("A", 7, NS, NS + 5, 1.5, 2.5, "b")
    assert encode_trades([trade], IDS) == encode._uncommon_trade(trade, -5)
    quote = Quote("B", NS, NS + 5, 9, 1.0, 2.0, 3.0, 4.0, 11)
    assert encode_quotes([quote], IDS, 3) == encode._uncommon_quote(quote, IDS["B"], 3)


@pytest.mark.parametrize("missing", ["ts_event_ns", "sequence", "bid", "bid_size", "ask", "ask_size"])
def test_a_quote_may_lack_any_field_the_venue_need_not_give(missing: str) -> None:
    quote = Quote("A", NS, NS, 9, 1.0, 2.0, 3.0, 4.0)
    setattr(quote, missing, None)
    complete, lacking = fields(encode_quotes([Quote("A", NS, NS, 9, 1.0, 2.0, 3.0, 4.0), quote], IDS, 3), "quote")
    column = missing.removesuffix("_ns")
    assert lacking[column] is None
    assert {name: value for name, value in lacking.items() if name != column} == {
        name: value for name, value in complete.items() if name != column
    }


def test_a_trade_without_a_side_or_with_a_text_id_is_a_row_too() -> None:
    first, second = fields(
        encode_trades([Trade("A", 1, NS, NS, 1.0, 1.0), Trade("A", 2, NS, NS, 1.0, 1.0, "s", "x-1")], IDS), "trade"
    )
    assert (first["aggressor"], first["venue_trade_id"]) == (None, None)
    assert (second["aggressor"], second["venue_trade_id"]) == (b"s", b"x-1")


def test_text_that_postgres_cannot_store_is_replaced() -> None:
    assert text("a\0b") == struct.pack("!i", 5) + "a\u2400b".encode()
    assert text("\ud800") == struct.pack("!i", 1) + b"?"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans(), st.booleans()), max_size=6))
def test_books_of_any_shape_one_after_the_other_do_not_disturb_each_other(
    shapes: list[tuple[int, int, bool, bool]],
) -> None:
    encoder = BookEncoder()
    books = [
        Book(
            "A", NS if timed else None, NS, snapshot, None if timed else number,
            [(number + 0.1 * level, 1.0) for level in range(bids)],
            [(number + 5 + 0.1 * level, 2.0) for level in range(asks)],
        )
        for number, (bids, asks, snapshot, timed) in enumerate(shapes)
    ]  # fmt: skip
    together = encoder.encode(books, IDS, 3)
    assert together == b"".join(BookEncoder().encode([book], IDS, 3) for book in books)
    for row, book in zip(fields(together, "book"), books, strict=True):
        assert row["kind"] == (b"s" if book.snapshot else b"d")
        for column, levels in (("bids", book.bids), ("asks", book.asks)):
            assert row[column] == array_of(levels)


def array_of(levels: list[tuple[float, float]]) -> bytes:
    """float8[n][2] as the server's array_recv wants it (src/backend/utils/adt/arrayfuncs.c)."""
    if not levels:
        return struct.pack("!iii", 0, 0, 701)
    head = struct.pack("!iiiiiii", 2, 0, 701, len(levels), 1, 2, 1)
    return head + b"".join(struct.pack("!id", 8, number) for level in levels for number in level)


def test_packers_of_complete_books_do_not_accumulate_in_memory() -> None:
    encoder = BookEncoder()
    tracemalloc.start()
    try:
        for count in range(5000, 5040):
            encoder.encode([Book("A", NS, NS, True, None, [(1.0, 1.0)] * count, [(2.0, 1.0)] * count)], IDS, 3)
        assert tracemalloc.get_traced_memory()[0] < 2 << 20
    finally:
        tracemalloc.stop()
