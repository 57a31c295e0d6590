"""Whose rows count while one session takes over from another."""

from recorder.events import Book, Output, Quote, Stream, Trade
from recorder.overlap import NOTE, Note, Overlap

SNAPSHOT = Book("A", None, 1, True, None, [], [])
CHANGE = Book("A", None, 1, False, None, [], [])
OTHER = Book("B", None, 1, False, None, [], [])
QUOTE = Quote("A", None, 1, None, 1.0, None, 2.0, None)
TRADE = Trade("A", 1, 1, 1, 1.0, 1.0)


def test_a_note_is_read_back_as_it_was_written() -> None:
    note = Note.about("over", [Stream("book", "A"), Stream("quote", 'q"B')])
    assert note.encode().startswith(NOTE)
    assert Note.decode(note.encode()) == note
    assert note.named == [Stream("book", "A"), Stream("quote", 'q"B')]


def test_a_session_that_joins_brings_no_change_of_a_book_before_its_own_snapshot() -> None:
    overlap = Overlap()
    overlap.take(Note("joins"))
    outputs: list[Output] = [CHANGE, QUOTE, TRADE, SNAPSHOT, CHANGE, OTHER]
    assert overlap.keep(outputs) == [QUOTE, TRADE, SNAPSHOT, CHANGE]
    assert overlap.begun("A")
    assert not overlap.begun("B")
    overlap.take(Note("alone"))
    assert overlap.keep([OTHER]) == [OTHER]


def test_a_session_keeps_its_trades_and_what_was_not_taken_over() -> None:
    overlap = Overlap()
    overlap.take(Note.about("over", [Stream("book", "A")]))
    outputs: list[Output] = [SNAPSHOT, CHANGE, OTHER, QUOTE, TRADE]
    assert overlap.keep(outputs) == [OTHER, QUOTE, TRADE]
    overlap.take(Note.about("over", [Stream("quote", "A")]))
    assert overlap.keep(outputs) == [OTHER, TRADE]


def test_what_was_asked_for_changes_nothing_here() -> None:
    overlap = Overlap()
    overlap.take(Note.about("asked", [Stream("book", "A")]))
    assert overlap.keep([CHANGE, QUOTE]) == [CHANGE, QUOTE]
