"""Our own books: complete from a snapshot on, and given up by everything that may have cost a message."""

import pytest
from support.poller.own_books import (
    ASKS,
    BIDS,
    NOW_NS,
    SESSION,
    TOKEN,
    S,
    answered,
    checkpoint,
    message,
    number,
    streamed,
)

from recorder.poller.polymarket.own_book.books import KEPT_MESSAGES, OwnBook, OwnBooks


def state(books: OwnBooks, at_s: float = 1.0) -> str:
    """Return why there is no book, or "book"."""
    found = books.get(TOKEN, NOW_NS + int(at_s * S))
    return "book" if isinstance(found, OwnBook) else found


def sides(books: OwnBooks) -> tuple[dict[float, float], dict[float, float]]:
    found = books.get(TOKEN, NOW_NS)
    assert isinstance(found, OwnBook)
    return found.sides


def test_a_book_is_its_snapshot_and_the_changes_after_it() -> None:
    books = streamed()
    books.apply(message(-2, bids=[(0.46, 10.0), (0.44, 0.0)], asks=[(0.47, 0.0), (0.48, 7.0)]))
    assert sides(books) == ({0.45: 100.0, 0.46: 10.0}, {0.48: 7.0})


def test_a_token_without_a_stream_or_without_a_snapshot_has_no_book() -> None:
    books = OwnBooks("polymarket", 30 * S)
    assert state(books) == "not streamed"
    assert state(streamed(snapshot=False)) == "no snapshot"


def test_a_change_before_any_snapshot_makes_no_book() -> None:
    books = streamed(snapshot=False)
    books.apply(message(-1))
    assert state(books) == "no snapshot"


def test_an_open_gap_ends_a_book_and_a_snapshot_after_it_begins_one() -> None:
    books = streamed()
    books.stream(checkpoint(gap_s=0), NOW_NS)
    assert state(books) == "gap"
    books.apply(message(1, snapshot=True))
    books.gap(number(), NOW_NS + S, NOW_NS + S)
    books.stream(checkpoint(), NOW_NS + S)
    assert state(books) == "book"


def test_a_gap_that_ended_after_the_snapshot_ends_the_book() -> None:
    books = streamed()
    books.gap(number(), NOW_NS - 4 * S, NOW_NS)
    assert state(books) == "no snapshot"


def test_an_old_gap_says_nothing_about_a_later_snapshot() -> None:
    books = streamed()
    books.gap(number(), NOW_NS - 6 * S, NOW_NS)
    assert state(books) == "book"


def test_another_session_needs_a_snapshot_of_its_own() -> None:
    books = streamed()
    books.apply(message(-1, session=8))
    assert state(books) == "no snapshot"
    books.apply(message(-0.5, session=8, snapshot=True))
    books.heard(8, NOW_NS)
    books.stream(checkpoint(session=8), NOW_NS)
    assert state(books) == "book"


def test_a_silent_session_proves_nothing() -> None:
    books = streamed()
    assert state(books, 29) == "book"
    assert state(books, 31) == "silent"
    books.heard(SESSION, NOW_NS + 31 * S)
    assert state(books, 32) == "book"


def test_a_crossed_book_and_one_of_the_future_are_not_used() -> None:
    books = streamed()
    books.apply(message(-1, bids=[(0.47, 1.0)], asks=[]))
    assert state(books) == "crossed"
    books = streamed()
    ahead = message(-1)._replace(stamp_ns=NOW_NS + 3600 * S)
    books.apply(ahead)
    assert state(books) == "stamp"


def test_a_lost_part_of_the_journal_ends_every_book() -> None:
    books = streamed()
    books.lost(NOW_NS)
    assert state(books) == "not streamed"
    books.stream(checkpoint(), NOW_NS)
    assert state(books) == "no snapshot"


def test_an_answer_of_the_venue_begins_a_book_with_the_changes_after_it() -> None:
    books = streamed(snapshot=False)
    books.apply(message(-1, bids=[(0.44, 70.0)], asks=[]))  # is in the answer
    books.apply(message(1, bids=[(0.44, 60.0)], asks=[]))  # is not
    assert books.seed(TOKEN, NOW_NS - S // 2, NOW_NS + 2 * S, answered(0, bids=[(0.45, 100.0), (0.44, 70.0)]))
    assert sides(books) == ({0.45: 100.0, 0.44: 60.0}, dict(ASKS))


@pytest.mark.parametrize("fault", ["gap", "unwatched", "lost since", "asked before it was read", "too many"])
def test_an_answer_begins_no_book_where_a_change_may_be_missing(fault: str) -> None:
    books, asked_ns = streamed(snapshot=False), NOW_NS
    match fault:
        case "gap":
            books.stream(checkpoint(gap_s=0), NOW_NS)
        case "unwatched":
            books.stream(checkpoint(watched=False), NOW_NS)
        case "lost since":
            books.gap(number(), NOW_NS + S, NOW_NS + 2 * S)
        case "asked before it was read":
            asked_ns = NOW_NS - 11 * S
        case _:
            for place in range(KEPT_MESSAGES + 1):
                books.apply(message(0.001 * (place + 1), bids=[(0.44, 1.0 + place)], asks=[]))
    assert not books.seed(TOKEN, asked_ns, NOW_NS + 2 * S, answered())


def test_the_messages_that_are_kept_are_bounded_in_number_and_age() -> None:
    books = streamed()
    for place in range(2 * KEPT_MESSAGES):
        books.apply(message(0.001 * place, bids=[(0.44, 1.0 + place)], asks=[]))
    found = books.get(TOKEN, NOW_NS)
    assert isinstance(found, OwnBook)
    assert (len(found.steps), found.truncated) == (KEPT_MESSAGES, True)
    books.apply(message(60, bids=[(0.44, 1.0)], asks=[]))
    assert (len(found.steps), found.truncated) == (1, False)


def test_a_token_that_is_not_asked_for_any_more_is_forgotten() -> None:
    books = streamed()
    books.want(["200"], NOW_NS + 3600 * S)
    assert list(books.wanted) == [number("200")]
    assert sides(streamed()) == (dict(BIDS), dict(ASKS))
