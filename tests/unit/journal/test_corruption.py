"""Damaged bytes of a journal are declared as gaps of the streams that they may have held, and of no others."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recorder.capture.continuity import Continuity
from recorder.events import Gap, Quote, Stream, Trade
from recorder.journal.block import BlockHeader, StreamCheckpoint
from recorder.journal.corruption import CorruptRange, gaps_of_range, gaps_of_sections
from recorder.position import Position

S = 10**9
ID = "ab" * 16


def mark(
    symbol: str = "A",
    last_id: int | None = 9,
    first_id: int | None = None,
    channel: str = "trade",
    watched: bool = True,
) -> StreamCheckpoint:
    return StreamCheckpoint(symbol, channel, 3, watched, last_id, 90, first_id, 80 if first_id else None, 1, None)  # type: ignore[arg-type]


def damage(*before: StreamCheckpoint) -> CorruptRange:
    return CorruptRange(Position(2, 500), "bytes that are not a block", list(before), 100)


def ids(gap: Gap) -> set[int]:
    """Return the ids that a gap declares missing."""
    assert gap.last_id is not None
    assert gap.first_id is not None
    return set(range(gap.last_id + 1, gap.first_id))


def test_damage_is_a_gap_between_the_blocks_before_and_after_it() -> None:
    (gap,) = gaps_of_range(damage(mark(last_id=9)), BlockHeader(200, [], [], [mark(last_id=20, first_id=15)]), ID)
    assert (gap.cause, gap.state, gap.session_id) == ("journal_damage", "open", 3)
    assert (gap.last_id, gap.first_id, gap.started_ns, gap.ended_ns) == (9, 15, 100, 200)
    assert gap.reason == "bytes that are not a block at 2:500"


def test_a_stream_that_did_not_move_up_to_a_checkpoint_lost_nothing() -> None:
    after = BlockHeader(200, [], [], [mark(last_id=9), mark("B", last_id=12)], checkpoint=True)
    (gap,) = gaps_of_range(damage(mark(last_id=9), mark("B", last_id=9)), after, ID)
    assert (gap.symbol, ids(gap)) == ("B", {10, 11, 12})


def test_a_stream_that_was_not_watched_lost_nothing() -> None:
    assert gaps_of_range(damage(mark(watched=False)), BlockHeader(200, [], [], []), ID) == []


def test_a_stream_that_the_next_block_does_not_name_may_have_lost_until_then() -> None:
    (gap,) = gaps_of_range(damage(mark()), BlockHeader(200, [], [], []), ID)
    assert (gap.last_id, gap.first_id, gap.ended_ns, gap.first_ts_event_ns) == (9, None, 200, 200)


def test_a_damaged_section_is_a_gap_of_its_streams_only() -> None:
    header = BlockHeader(200, [], [], [mark(last_id=20, first_id=15), mark("A", 7, 6, "quote"), mark("B", 4, 4)])
    gaps = gaps_of_sections(Position(2, 500), header, ["trade"], ID, 100)
    assert {gap.symbol: ids(gap) for gap in gaps} == {"A": set(range(15, 21)), "B": {4}}
    assert {gap.channel for gap in gaps} == {"trade"}
    assert gaps_of_sections(Position(2, 500), header, [""], ID, 100) == []  # frames alone: no row is lost


def test_the_same_damage_read_twice_is_the_same_gap_and_other_damage_another() -> None:
    after = BlockHeader(200, [], [], [])
    first, again = (gaps_of_range(damage(mark(), mark(channel="book")), after, ID) for _ in range(2))
    assert [gap.gap_id for gap in first] == [gap.gap_id for gap in again]
    elsewhere = CorruptRange(Position(2, 501), "x", [mark()], 100)
    everything = [*first, *gaps_of_range(elsewhere, after, ID), *gaps_of_range(damage(mark()), after, "cd" * 16)]
    assert len({gap.gap_id for gap in everything}) == 4
    assert all(0 <= gap.gap_id < 2**63 for gap in everything)


def test_a_clock_that_stepped_back_leaves_no_gap_that_ends_before_it_begins() -> None:
    (gap,) = gaps_of_range(CorruptRange(Position(1, 1), "x", [mark()], 500), BlockHeader(200, [], [], []), ID)
    assert gap.started_ns == gap.ended_ns == 200


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("AB"), st.booleans()), max_size=5), min_size=3, max_size=7), st.data()
)
def test_rows_of_a_lost_block_are_declared_missing_and_rows_of_other_blocks_are_not(
    blocks: list[list[tuple[str, bool]]], data: st.DataObject
) -> None:
    continuity = Continuity(frozenset({"trade"}), itertools.count(1).__next__)
    for symbol in "AB":
        continuity.watch(Stream("trade", symbol), 1, 0)
        continuity.watch(Stream("quote", symbol), 1, 0)
    headers = [BlockHeader(S, [], [], continuity.take_checkpoints())]
    held: list[set[tuple[str, int]]] = [set()]
    last = {"A": 100, "B": 500}
    for number, events in enumerate(blocks, 2):
        held.append(set())
        for symbol, is_trade in events:
            if is_trade:
                last[symbol] += 1
                continuity.trade(Trade(symbol, last[symbol], number * S, number * S, 1.0, 1.0))
                held[-1].add((symbol, last[symbol]))
            else:
                quote = Quote(symbol, number * S, number * S, None, 1.0, 1.0, 2.0, 1.0)
                continuity.saw(continuity.quotes, [quote])
        headers.append(BlockHeader(number * S, [], [], continuity.take_checkpoints()))
    lost = data.draw(st.integers(1, len(headers) - 2))
    before = {(one.symbol, one.channel): one for header in headers[:lost] for one in header.checkpoints}
    gaps = gaps_of_range(CorruptRange(Position(1, 1), "x", list(before.values()), lost * S), headers[lost + 1], ID)
    declared = {(gap.symbol, gap.channel): gap for gap in gaps}
    for symbol, number in held[lost]:
        gap = declared[symbol, "trade"]
        assert gap.last_id is None or gap.last_id < number
        assert gap.first_id is None or number < gap.first_id
        assert gap.ended_ns is not None
        assert gap.started_ns <= (lost + 1) * S <= gap.ended_ns
    for place, trades in enumerate(held):
        for symbol, number in trades if place != lost else ():
            gap = declared[symbol, "trade"]
            if gap.first_id is not None and gap.last_id is not None:
                assert not gap.last_id < number < gap.first_id


@pytest.mark.parametrize("first_id", [None, 15])
def test_a_section_whose_block_has_no_first_id_is_declared_by_time(first_id: int | None) -> None:
    header = BlockHeader(
        200, [], [], [mark(last_id=None if first_id is None else 20, first_id=first_id, channel="book")]
    )
    (gap,) = gaps_of_sections(Position(2, 500), header, ["book"], ID, 100)
    assert (gap.last_id, gap.started_ns, gap.ended_ns) == (None if first_id is None else 14, 100, 200)
