"""What the encoders write, Postgres reads: values, nulls, arrays, times, and every float exactly."""

import datetime
import io
from collections.abc import Iterator

import psycopg2
import psycopg2.extensions
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recorder.events import Book, BookAudit, Gap, Quote, SessionRow, Trade, WitnessRow
from recorder.pgcopy.encode import (
    COLUMNS,
    BookEncoder,
    encode_audits,
    encode_gaps,
    encode_instruments,
    encode_quotes,
    encode_sessions,
    encode_trades,
    encode_witnesses,
)
from recorder.pgcopy.stream import COPY_HEADER, COPY_TRAILER

NS = 1_772_719_200_123_456_789
TIME = datetime.datetime(2026, 3, 5, 14, 0, 0, 123456, tzinfo=datetime.UTC)
IDS = {"A": -5, "B": 2**63 - 1}

Row = dict[str, object]
Connection = psycopg2.extensions.connection

amounts = st.floats(0, 1e300, allow_nan=False)


@pytest.fixture(scope="module")
def copied(postgres: str, _template: str) -> Iterator[Connection]:
    """A connection whose transactions are never kept."""
    connection = psycopg2.connect(_template)
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'; SET session_replication_role = replica")
    connection.commit()
    yield connection
    connection.close()


def through(connection: Connection, table: str, data: bytes) -> list[Row]:
    """Return the rows that the server has after a COPY, which is rolled back."""
    columns = ", ".join(COLUMNS[table])
    try:
        with connection.cursor() as cursor:
            stream = io.BytesIO(COPY_HEADER + data + COPY_TRAILER)
            cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT binary)", stream)
            cursor.execute(f"SELECT {columns} FROM {table}")
            return [dict(zip(COLUMNS[table], row, strict=True)) for row in cursor.fetchall()]
    finally:
        connection.rollback()


def test_trades_keep_their_values_and_nulls(copied: Connection) -> None:
    trades = [Trade("A", -(2**63), NS, NS + 10**9, 0.1, 1e-300, "b"), Trade("B", 2, NS, NS, 3.5, 2.0, None, "x\u00e9")]
    first, second = through(copied, "trade", encode_trades(trades, IDS))
    assert first == {
        "instrument_id": -5, "trade_id": -(2**63), "ts_event": TIME, "ts_recv": TIME + datetime.timedelta(seconds=1),
        "price": 0.1, "size": 1e-300, "aggressor": "b", "venue_trade_id": None,
    }  # fmt: skip
    assert (second["instrument_id"], second["aggressor"], second["venue_trade_id"]) == (2**63 - 1, None, "x\u00e9")


def test_quotes_keep_their_values_and_nulls(copied: Connection) -> None:
    quotes = [
        Quote("A", NS, NS, 7, 1.0, 2.0, 3.0, 4.0, 12),
        Quote("A", None, NS, None, None, None, None, None, 13),
    ]
    first, second = sorted(
        through(copied, "quote", encode_quotes(quotes, IDS, 99)), key=lambda row: str(row["frame_seq"])
    )
    assert first == {
        "instrument_id": -5, "ts_recv": TIME, "ts_event": TIME, "session_id": 99, "frame_seq": 12, "sequence": 7,
        "bid": 1.0, "bid_size": 2.0, "ask": 3.0, "ask_size": 4.0,
    }  # fmt: skip
    assert [second[name] for name in ("ts_event", "sequence", "bid", "bid_size", "ask", "ask_size")] == [None] * 6


@pytest.mark.parametrize(("bids", "asks"), [(0, 0), (1, 0), (0, 1), (2, 3), (1000, 700)])
def test_books_keep_their_levels_whatever_their_number(copied: Connection, bids: int, asks: int) -> None:
    book = Book(
        "A",
        NS,
        NS,
        bids == 1,
        None,
        [(100 - n / 7, n / 3) for n in range(bids)],
        [(101 + n / 7, n) for n in range(asks)],
        4,
    )
    (row,) = through(copied, "book", BookEncoder().encode([book], IDS, 99))
    assert row == {
        "instrument_id": -5, "ts_recv": TIME, "ts_event": TIME, "session_id": 99, "frame_seq": 4, "sequence": None,
        "kind": "s" if bids == 1 else "d",
        "bids": [list(level) for level in book.bids], "asks": [list(level) for level in book.asks],
    }  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(amounts, min_size=4, max_size=4), levels=st.lists(st.tuples(amounts, amounts), max_size=5))
def test_every_float_comes_back_as_it_was(
    copied: Connection, numbers: list[float], levels: list[tuple[float, float]]
) -> None:
    bid, bid_size, ask, ask_size = numbers
    quote = Quote("A", NS, NS, 1, bid, bid_size, ask, ask_size)
    (row,) = through(copied, "quote", encode_quotes([quote], IDS, 1))
    assert [row[name] for name in ("bid", "bid_size", "ask", "ask_size")] == numbers
    book = Book("A", None, NS, True, 5, levels, levels[:1])
    (row,) = through(copied, "book", BookEncoder().encode([book], IDS, 1))
    assert (row["bids"], row["asks"]) == ([list(one) for one in levels], [list(one) for one in levels[:1]])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1_230_768_000 * 10**9, 4_000_000_000 * 10**9))
def test_every_instant_is_cut_to_its_microsecond(copied: Connection, time_ns: int) -> None:
    (row,) = through(copied, "trade", encode_trades([Trade("A", 1, time_ns, time_ns, 1.0, 1.0, "s")], IDS))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert row["ts_event"] == epoch + datetime.timedelta(microseconds=time_ns // 1000)


def test_gaps_keep_what_is_known_and_what_is_not(copied: Connection) -> None:
    complete = Gap(1, "A", "trade", 9, "disconnect", "healed", "a reason", 5, 8, NS, NS, NS, NS, 3)
    bare = Gap(2, "B", "book", None, "restart", "open", None, None, None, NS, None, None, None, 1)
    first, second = sorted(
        through(copied, "gap", encode_gaps([complete, bare], IDS)), key=lambda row: str(row["gap_id"])
    )
    assert list(first.values()) == [
        1, -5, "trade", 9, "disconnect", "healed", "a reason", 5, 8, TIME, TIME, TIME, TIME, 3
    ]  # fmt: skip
    assert [name for name, value in second.items() if value is None] == [
        "session_id", "reason", "last_id", "first_id", "ended_at", "last_ts_event", "first_ts_event"
    ]  # fmt: skip


def test_sessions_instruments_and_audits_keep_their_columns(copied: Connection) -> None:
    session = SessionRow(5, "kraken", "recorder", 2, "ws://x", NS, NS, "closed\0", NS, 10, 20, 3, 4, 5, 6, 7)
    (row,) = through(copied, "session", encode_sessions([session]))
    assert list(row.values()) == [
        5, "kraken", "recorder", 2, "ws://x", TIME, TIME, "closed\u2400", TIME, 10, 20, 3, 4, 5, 6, 7
    ]  # fmt: skip
    (row,) = through(copied, "instrument", encode_instruments([(-5, "kraken", "A/B")], NS))
    assert list(row.values()) == [-5, "kraken", "A/B", TIME]
    (row,) = through(copied, "book_audit", encode_audits([BookAudit(5, "A", NS, NS + 2000, 1, 2, 3, 4)], IDS))
    assert list(row.values())[4:] == [1, 2, 3, 4]


def test_witnesses_keep_their_columns(copied: Connection) -> None:
    full = WitnessRow(
        9, "recorder-x", "A", "book", "silence", NS, NS, "dead", "differs\0", NS, "4f", 5, 6, NS, 7, NS, 20, 3
    )
    (row,) = through(copied, "witness", encode_witnesses([full], IDS))
    assert list(row.values()) == [
        9, "recorder-x", -5, "book", "silence", "dead", "differs\u2400", TIME, TIME, "4f", 5, TIME, 6,
        TIME, 7, TIME, 20, 3,
    ]  # fmt: skip
    bare = WitnessRow(10, "recorder-x", "A", "trade", "schedule", NS)
    (row,) = through(copied, "witness", encode_witnesses([bare], IDS))
    assert list(row.values()) == [10, "recorder-x", -5, "trade", "schedule", "not comparable", "", TIME, *[None] * 10]
