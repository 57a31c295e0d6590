"""Books from messages: what a gap, a new session and a cut window do to them, and levels summed by steps."""

from itertools import count

import pytest

from recorder.web.market_data.rebuild import Message, Rebuilt, grouped

BIDS, ASKS = [(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.0), (102.0, 2.0)]


class Feed:
    """Messages of sessions, one a second."""

    def __init__(self, book: Rebuilt) -> None:
        self.book = book
        self.frames = count(1)

    def snapshot(self, at: float, session: int = 1) -> None:
        self.book.apply(Message(at, session, next(self.frames), True, BIDS, ASKS))

    def delta(self, at: float, bid: tuple[float, float], session: int = 1) -> None:
        self.book.apply(Message(at, session, next(self.frames), False, [bid], []))


def test_a_delta_sets_a_level_and_size_0_removes_it() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10)
    feed.delta(11, (99.0, 0.0))
    feed.delta(12, (98.5, 4.0))
    levels = book.at(13, 10)
    assert levels is not None
    assert levels.bids == [(98.5, 4.0), (98.0, 2.0)]
    assert levels.asks == ASKS


def test_a_book_is_unknown_from_the_begin_of_a_gap_to_the_next_snapshot() -> None:
    book = Rebuilt()
    feed = Feed(book)
    book.gaps([20.0])
    feed.snapshot(10)
    assert book.at(19, 10) is not None
    assert book.at(20, 10) is None
    assert book.unknown_since == 20.0
    feed.delta(30, (98.5, 4.0))
    assert book.at(31, 10) is None, "a delta of an old book says nothing"
    feed.snapshot(40)
    assert book.at(41, 10) is not None
    assert book.unknown_since is None


def test_a_gap_of_which_nothing_came_before_leaves_the_book_of_after() -> None:
    book = Rebuilt()
    book.gaps([5.0])
    Feed(book).snapshot(10)
    assert book.at(11, 10) is not None


def test_a_delta_of_a_session_without_a_snapshot_changes_nothing() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10, session=1)
    feed.delta(11, (98.5, 4.0), session=2)
    levels = book.at(12, 10)
    assert levels is not None
    assert levels.bids == BIDS


def test_a_message_that_is_read_twice_counts_once() -> None:
    book = Rebuilt()
    book.apply(Message(10, 1, 1, True, BIDS, ASKS))
    later = Message(12, 1, 3, False, [(98.5, 4.0)], [])
    book.apply(Message(11, 1, 2, False, [(98.5, 9.0)], []))
    book.apply(later)
    book.apply(Message(11, 1, 2, False, [(98.5, 9.0)], []))
    levels = book.at(13, 1)
    assert levels is not None
    assert book.at(13, 10) == ([(99.0, 1.0), (98.5, 4.0), (98.0, 2.0)], ASKS)


def test_a_level_that_left_the_requested_depth_does_not_come_back() -> None:
    """The venue sends no deletion for it, and may have removed it long ago."""
    book = Rebuilt(lambda levels: 2 if levels <= 2 else 10)
    feed = Feed(book)
    feed.snapshot(10)
    feed.delta(11, (99.5, 1.0))  # 98 leaves a book of two levels
    feed.delta(12, (99.5, 0.0))
    feed.delta(13, (99.0, 0.0))
    levels = book.at(14, 10)
    assert levels is not None
    assert levels.bids == []


@pytest.mark.parametrize(
    ("levels", "step", "down", "expected"),
    [
        ([(99.95, 1.0), (99.9, 2.0), (99.85, 4.0)], 0.1, True, [(99.9, 3.0), (99.8, 4.0)]),
        ([(100.05, 1.0), (100.1, 2.0), (100.15, 4.0)], 0.1, False, [(100.1, 3.0), (100.2, 4.0)]),
        ([(0.3, 1.0)], 0.1, True, [(0.3, 1.0)]),  # 0.3 / 0.1 is 2.9999999999999996
        ([(77485.3, 1.0), (77485.1, 2.0)], 5, True, [(77485.0, 3.0)]),
    ],
)
def test_levels_are_summed_away_from_the_middle(
    levels: list[tuple[float, float]], step: float, down: bool, expected: list[tuple[float, float]]
) -> None:
    assert grouped(levels, step, down=down) == expected
