"""Whose rows count while one session takes over from another."""

import pytest

from recorder.capture.overlap import CONTROL_PREFIX, ControlRecord, Overlap, TookOverRecord
from recorder.events import Book, Output, Quote, Stream, Trade

SNAPSHOT = Book("A", None, 1, True, None, [], [])
CHANGE = Book("A", None, 1, False, None, [], [])
OTHER = Book("B", None, 1, False, None, [], [])
QUOTE = Quote("A", None, 1, None, 1.0, None, 2.0, None)
TRADE = Trade("A", 1, 1, 1, 1.0, 1.0)


@pytest.mark.parametrize("frame", [b'{"tapedeck":"none"}', b'{"tapedeck":[1]}', b'{"tapedeck":', b'{"type":"match"}'])
def test_a_frame_of_a_venue_is_no_control_record_however_it_begins(frame: bytes) -> None:
    assert ControlRecord.decode(frame) is None


def test_a_control_record_is_read_back_as_it_was_written() -> None:
    record = ControlRecord.about("handed_over", [Stream("book", "A"), Stream("quote", 'q"B')])
    assert record.encode().startswith(CONTROL_PREFIX)
    assert ControlRecord.decode(record.encode()) == record
    assert record.named == [Stream("book", "A"), Stream("quote", 'q"B')]


def test_a_session_that_joins_brings_no_change_of_a_book_before_its_own_snapshot() -> None:
    overlap = Overlap()
    overlap.apply(ControlRecord("overlap_start"))
    outputs: list[Output] = [CHANGE, QUOTE, TRADE, SNAPSHOT, CHANGE, OTHER]
    assert overlap.keep(outputs) == [QUOTE, TRADE, SNAPSHOT, CHANGE]
    assert overlap.has_snapshot("A")
    assert not overlap.has_snapshot("B")
    overlap.apply(ControlRecord("overlap_end"))
    assert overlap.keep([OTHER]) == [OTHER]


def test_a_session_keeps_its_trades_and_what_was_not_taken_over() -> None:
    overlap = Overlap()
    overlap.apply(ControlRecord.about("handed_over", [Stream("book", "A")]))
    outputs: list[Output] = [SNAPSHOT, CHANGE, OTHER, QUOTE, TRADE]
    assert overlap.keep(outputs) == [OTHER, QUOTE, TRADE]
    overlap.apply(ControlRecord.about("handed_over", [Stream("quote", "A")]))
    assert overlap.keep(outputs) == [OTHER, TRADE]


def test_what_was_asked_for_changes_nothing_here() -> None:
    overlap = Overlap()
    overlap.apply(ControlRecord.about("subscribed", [Stream("book", "A")]))
    assert overlap.keep([CHANGE, QUOTE]) == [CHANGE, QUOTE]


def test_what_another_process_stored_is_left_out_and_a_book_begins_with_its_snapshot() -> None:
    record = TookOverRecord.of([Stream("book", "A"), Stream("quote", "A")], {Stream("quote", "A"): (1, 3)})
    assert ControlRecord.decode(record.encode()) == record
    overlap = Overlap()
    overlap.apply(record)
    assert not overlap.settled
    outputs: list[Output] = [CHANGE, QUOTE, TRADE, QUOTE, OTHER, QUOTE, SNAPSHOT, CHANGE, QUOTE]
    assert overlap.keep(outputs) == [QUOTE, TRADE, OTHER, SNAPSHOT, CHANGE, QUOTE]
    assert overlap.settled


def test_a_book_begins_with_the_snapshot_behind_what_another_process_stored() -> None:
    overlap = Overlap()
    overlap.apply(TookOverRecord.of([Stream("book", "A")], {Stream("book", "A"): (0, 2), Stream("quote", "A"): (0, 0)}))
    outputs: list[Output] = [SNAPSHOT, CHANGE, SNAPSHOT, CHANGE, QUOTE]
    assert overlap.keep(outputs) == [SNAPSHOT, CHANGE, QUOTE]
    assert overlap.settled
