"""Books from messages: what a gap, a new session and a cut window do to them, and levels summed by steps."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from recorder.web.market_data.rebuild import Message, Rebuilt, grouped

BIDS, ASKS = [(99.0, 1.0), (98.0, 2.0)], [(101.0, 1.0), (102.0, 2.0)]


def t(seconds: float) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=seconds)


class Feed:
    """Messages of sessions, one a second."""

    def __init__(self, book: Rebuilt) -> None:
        self.book = book
        self.frames = count(1)

    def snapshot(self, at: float, session: int = 1) -> None:
        self.book.apply(Message(t(at), None, session, next(self.frames), True, BIDS, ASKS))

    def delta(self, at: float, bid: tuple[float, float], session: int = 1) -> None:
        self.book.apply(Message(t(at), None, session, next(self.frames), False, [bid], []))


def test_a_delta_sets_a_level_and_size_0_removes_it() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10)
    feed.delta(11, (99.0, 0.0))
    feed.delta(12, (98.5, 4.0))
    levels = book.at(t(13), 10)
    assert levels is not None
    assert levels.bids == [(98.5, 4.0), (98.0, 2.0)]
    assert levels.asks == ASKS


def test_a_book_is_unknown_from_the_begin_of_a_gap_to_the_next_snapshot() -> None:
    book = Rebuilt()
    feed = Feed(book)
    book.gaps([t(20.0)])
    feed.snapshot(10)
    assert book.at(t(19), 10) is not None
    assert book.at(t(20), 10) is None
    assert book.unknown_since(t(20)) == t(20)
    feed.delta(30, (98.5, 4.0))
    assert book.at(t(31), 10) is None, "a delta of an old book says nothing"
    feed.snapshot(40)
    assert book.at(t(41), 10) is not None
    assert book.unknown_since(t(41)) is None


def test_a_gap_of_which_nothing_came_before_leaves_the_book_of_after() -> None:
    book = Rebuilt()
    book.gaps([t(5.0)])
    Feed(book).snapshot(10)
    assert book.at(t(11), 10) is not None


def test_a_gap_that_is_declared_late_ends_the_book_that_went_on_over_it() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10)
    feed.delta(15, (98.5, 4.0))
    book.gaps([t(12)])
    assert book.at(t(16), 10) is None
    assert book.unknown_since(t(16)) == t(12)
    feed.snapshot(20, session=2)
    book.gaps([])  # a later question looks for gaps after the newest snapshot only
    feed.delta(21, (97.0, 1.0), session=1)
    assert book.at(t(22), 10) == (BIDS, ASKS), "the session before the gap has no book any more"


def test_two_sessions_that_overlap_keep_their_own_books() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10, session=1)
    feed.snapshot(11, session=2)
    feed.delta(12, (98.5, 4.0), session=1)
    feed.delta(13, (97.5, 1.0), session=2)
    levels = book.at(t(14), 10)
    assert levels is not None
    assert levels.bids == [*BIDS, (97.5, 1.0)]


def test_a_delta_of_a_session_without_a_snapshot_changes_nothing() -> None:
    book = Rebuilt()
    feed = Feed(book)
    feed.snapshot(10, session=1)
    feed.delta(11, (98.5, 4.0), session=2)
    levels = book.at(t(12), 10)
    assert levels is not None
    assert levels.bids == BIDS


def test_a_message_that_is_read_twice_counts_once() -> None:
    book = Rebuilt()
    book.apply(Message(t(10), None, 1, 1, True, BIDS, ASKS))
    later = Message(t(12), None, 1, 3, False, [(98.5, 4.0)], [])
    book.apply(Message(t(11), None, 1, 2, False, [(98.5, 9.0)], []))
    book.apply(later)
    book.apply(Message(t(11), None, 1, 2, False, [(98.5, 9.0)], []))
    levels = book.at(t(13), 1)
    assert levels is not None
    assert book.at(t(13), 10) == ([(99.0, 1.0), (98.5, 4.0), (98.0, 2.0)], ASKS)


def test_a_level_that_left_the_requested_depth_does_not_come_back() -> None:
    """The venue sends no deletion for it, and may have removed it long ago."""
    book = Rebuilt(lambda levels: 2 if levels <= 2 else 10)
    feed = Feed(book)
    feed.snapshot(10)
    feed.delta(11, (99.5, 1.0))  # 98 leaves a book of two levels
    feed.delta(12, (99.5, 0.0))
    feed.delta(13, (99.0, 0.0))
    levels = book.at(t(14), 10)
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
