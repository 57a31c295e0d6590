"""Which late rows of a session that is replaced are lost."""

from recorder.capture.evidence.late_rows import LateRows
from recorder.events import Book, Stream

BOOK = Stream("book", "A-USD")
S = 10**9


def change(sequence: int | None, size: float, recv_s: float = 1.0, *, snapshot: bool = False) -> Book:
    return Book("A-USD", None, int(recv_s * S), snapshot, sequence, [(1.0, size)], [])


def switched(rows: LateRows) -> LateRows:
    rows.switched(BOOK, S)
    return rows


def test_sequences_of_two_connections_are_not_compared() -> None:
    rows = switched(LateRows(connection_sequences=True))
    rows.brought(BOOK, change(7, 1.0, snapshot=True))
    rows.brought(BOOK, change(8, 2.0))
    rows.late(BOOK, change(3, 5.0))
    assert not rows.caught_up(9 * S)
    rows.late(BOOK, change(4, 2.0))
    assert rows.caught_up(0)
    (lost,) = rows.lost()
    assert lost.stream == BOOK


def test_a_change_that_the_snapshot_of_the_successor_contains_is_not_lost() -> None:
    rows = switched(LateRows())
    rows.brought(BOOK, change(7, 1.0, snapshot=True))
    rows.late(BOOK, change(7, 5.0))
    assert rows.lost() == []
    rows.late(BOOK, change(8, 5.0))
    assert len(rows.lost()) == 1


def test_of_two_equal_rows_the_one_that_came_once_more_is_lost() -> None:
    rows = switched(LateRows())
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    rows.brought(BOOK, change(None, 0.0))
    rows.late(BOOK, change(None, 0.0, 2.0))
    assert rows.lost() == []
    rows.late(BOOK, change(None, 0.0, 3.0))
    (lost,) = rows.lost()
    assert lost.ended_ns == 2 * S


def test_rows_after_the_last_that_both_brought_are_on_their_way_to_the_successor() -> None:
    rows = switched(LateRows())
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    rows.brought(BOOK, change(None, 2.0))
    rows.late(BOOK, change(None, 2.0))
    rows.late(BOOK, change(None, 3.0))
    assert rows.lost() == []


def test_a_stream_that_switched_after_the_last_common_row_may_have_lost_something() -> None:
    rows = LateRows()
    other = Stream("book", "B-USD")
    rows.switched(BOOK, S)
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    rows.brought(BOOK, change(None, 2.0, 1.5))
    rows.late(BOOK, change(None, 2.0, 1.6))  # the predecessor has read all that was sent before this row
    assert rows.caught_up(0)
    rows.switched(other, 2 * S)
    rows.brought(other, Book("B-USD", None, 2 * S, True, None, [(1.0, 1.0)], []))
    assert not rows.caught_up(9 * S)
    assert [(lost.stream, lost.started_ns, lost.ended_ns) for lost in rows.unread(S, 9 * S)] == [(other, S, 2 * S)]
    rows.brought(BOOK, change(None, 3.0, 2.5))
    rows.late(BOOK, change(None, 3.0, 2.6))
    assert rows.caught_up(0)
    assert rows.unread(S, 0) == []


def test_single_rows_in_a_quiet_market_are_caught_up_once_the_predecessor_had_nothing_to_read_for_a_while() -> None:
    rows = switched(LateRows())
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    assert not rows.caught_up(S // 2)
    assert not rows.caught_up(S + S // 2)
    assert rows.caught_up(2 * S)
    assert rows.unread(S, 2 * S) == []


def test_what_a_predecessor_had_not_read_begins_when_it_last_had_nothing_to_read() -> None:
    """It may read late, so that its last frame comes after the switch and was sent long before it."""
    rows = switched(LateRows())
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    (lost,) = rows.unread(S + 5, S // 4)
    assert (lost.started_ns, lost.ended_ns) == (S // 4, S + 5)


def test_an_empty_socket_proves_nothing_while_the_successor_goes_on() -> None:
    rows = switched(LateRows())
    rows.brought(BOOK, change(None, 1.0, snapshot=True))
    rows.brought(BOOK, change(None, 2.0))
    assert not rows.caught_up(9 * S)
    (lost,) = rows.unread(S // 2, 9 * S)
    assert (lost.started_ns, lost.ended_ns) == (S // 2, S)
