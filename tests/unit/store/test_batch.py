import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.batches import HandBlock, HandPart, batch, quotes_part, raw_tuple, trades_part

from recorder.pgcopy.stream import COPY_HEADER, COPY_TRAILER, CopyReader, copy_stream, int8_field, tuple_end
from recorder.position import Position
from recorder.store.batch import groups_of

fields = st.lists(st.none() | st.binary(max_size=40), max_size=6)


@given(st.lists(fields, min_size=1, max_size=20))
def test_tuples_split_where_they_were_joined(tuples: list[list[bytes | None]]) -> None:
    encoded = [raw_tuple(*one) for one in tuples]
    part = HandPart("t", ("a",), len(encoded), b"".join(encoded))
    (group,) = groups_of(batch(None, [part]))
    found, broken = group.split()
    assert [row.data for row in found] == encoded
    assert [row.place.item for row in found] == list(range(len(encoded)))
    assert broken == []


@given(fields.filter(bool), st.data())
def test_a_truncated_tuple_is_recognised(one: list[bytes | None], data: st.DataObject) -> None:
    complete = raw_tuple(*one)
    cut = data.draw(st.integers(0, len(complete) - 1))
    with pytest.raises(ValueError, match="cut short"):
        tuple_end(complete[:cut], 0)


def test_rows_after_a_broken_tuple_are_counted_as_one_broken_stretch() -> None:
    good = raw_tuple(b"x")
    part = HandPart("t", ("a",), 5, good + good + struct.pack("!hi", 1, -7) + good)
    (group,) = groups_of(batch(None, [part]))
    found, (rest,) = group.split()
    assert len(found) == 2
    assert (rest.place.item, rest.rows, rest.reason) == (2, 3, "a field has the length -7")


def test_parts_of_one_table_and_segment_become_one_group_and_rows_of_a_block_are_numbered_through() -> None:
    groups = groups_of(batch(None, [trades_part(0, 3), quotes_part(0, 2)], [quotes_part(2, 4), trades_part(3, 4)]))
    assert [(group.table, group.rows, len(group.parts)) for group in groups] == [("trade", 4, 2), ("quote", 4, 2)]
    assert [place.item for place, _ in groups[1].parts] == [3, 0]


def test_segments_are_kept_apart_for_the_ledger() -> None:
    made = batch(None, [trades_part(0, 3)])
    second = HandBlock(Position(2, 64), 9, [trades_part(3, 5)])
    both = type(made)(made.journal_id, made.recorder, None, Position(2, 900), [*made.blocks, second])
    assert [(group.segment, group.rows) for group in groups_of(both)] == [(1, 3), (2, 2)]


@given(st.lists(st.binary(max_size=600_000), max_size=4))
def test_a_copy_stream_is_header_tuples_trailer_in_bounded_pieces(tuples: list[bytes]) -> None:
    reader = CopyReader(copy_stream(tuples))
    pieces = list(iter(reader.read, b""))
    assert b"".join(pieces) == COPY_HEADER + b"".join(tuples) + COPY_TRAILER
    assert max(map(len, pieces)) <= 1 << 18


def test_a_bigint_is_found_by_its_column() -> None:
    data = raw_tuple(None, b"abc", (-5).to_bytes(8, "big", signed=True), b"short")
    columns = ("a", "b", "c", "d")
    assert [int8_field(data, columns, name) for name in (*columns, "e")] == [None, None, -5, None, None]
