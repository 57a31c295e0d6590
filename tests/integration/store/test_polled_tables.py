"""Tables of the poller: what POLLED says of their columns is what Postgres has, and every kind of value arrives."""

import datetime
import io

import psycopg2
import pytest

from recorder.pgcopy import polled
from recorder.pgcopy.polled import POLLED, Kind, RowError, encode_row, encode_rows
from recorder.pgcopy.stream import COPY_HEADER, COPY_TRAILER
from recorder.store.staging.merge import KEYS

TYPES: dict[Kind, str] = {
    "int8": "bigint", "int4": "integer", "float8": "double precision", "text": "text", "bool": "boolean",
    "instant": "timestamp with time zone", "jsonb": "jsonb", "bytea": "bytea", "textarray": "text[]",
    "date": "date",
}  # fmt: skip
DAY = datetime.date(2026, 10, 2)
NS = 1_772_719_200_123_456_789
TIME = datetime.datetime(2026, 3, 5, 14, 0, 0, 123456, tzinfo=datetime.UTC)


@pytest.mark.parametrize("table", sorted(POLLED))
def test_the_columns_and_the_key_of_a_table_are_those_of_postgres(table: str, database: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", (table,)
        )  # fmt: skip
        stored = dict(cursor.fetchall())
        cursor.execute(
            "SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_index i JOIN pg_attribute a"
            " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)"
            " WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indpred IS NULL GROUP BY i.indexrelid",
            (table,),
        )  # fmt: skip
        keys = [row[0] for row in cursor.fetchall()]
        cursor.execute("SELECT has_table_privilege('tapedeck_writer', %s, 'SELECT, INSERT')", (table,))
        assert cursor.fetchone() == (True,)
    connection.close()
    kinds = {name: "text" if stored_as == '"char"' else stored_as for name, stored_as in stored.items()}  # a letter
    assert {name: TYPES[kind] for name, kind in POLLED[table]}.items() <= kinds.items()
    assert sorted(KEYS[table]) in keys, "a row that is loaded twice is stored once"


def test_every_kind_of_value_and_its_absence_arrives_in_postgres(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLLED, "kinds", tuple((f"c_{kind}", kind) for kind in TYPES))
    values = (-5, 7, 0.1, "a\0b", True, NS, {"a": [1, "x\0y"]}, b"\0\xff", ("one", "zwei"), DAY)
    empty = (2**63 - 1, -(2**31), float("inf"), "", False, 0, b"[]", b"", (), datetime.date(1962, 1, 2))
    absent = (None,) * len(TYPES)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TEMP TABLE kinds ({', '.join(f'c_{kind} {name}' for kind, name in TYPES.items())})")
        data = COPY_HEADER + encode_rows("kinds", [values, empty, absent]) + COPY_TRAILER
        cursor.copy_expert("COPY kinds FROM STDIN BINARY", io.BytesIO(data))
        cursor.execute("SET timezone = 'UTC'; SELECT * FROM kinds")
        first, second, third = cursor.fetchall()
    connection.close()
    assert (*first[:7], bytes(first[7]), *first[8:]) == (
        -5, 7, 0.1, "a\u2400b", True, TIME, {"a": [1, "x\u2400y"]}, b"\0\xff", ["one", "zwei"], DAY,
    )  # fmt: skip
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    assert (*second[:7], bytes(second[7]), *second[8:]) == (
        2**63 - 1, -(2**31), float("inf"), "", False, epoch, [], b"", [],
        datetime.date(1962, 1, 2),
    )  # fmt: skip
    assert third == absent


@pytest.mark.parametrize("value", [2**63, 1.5, "5", b"5", [1]])
def test_a_value_that_a_column_cannot_hold_is_refused_by_its_name(value: object) -> None:
    row = (1, "job", NS, value, "done", "", None, None, 0, 0, 0, 0, 0, (), (), None, None)
    with pytest.raises(RowError, match=r"poll_run\.slots cannot hold"):
        encode_row("poll_run", row)


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(RowError, match="3 values for 6 columns"):
        encode_row("poll_schedule", (1, 2, 3))
    assert polled.encode_rows("poll_schedule", []) == b""
