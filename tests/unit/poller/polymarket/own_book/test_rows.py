"""Rows of table book as the recorder encodes them, read again."""

import pytest
from support.poller.own_books import NOW_NS, number

from recorder.events import Book, Levels
from recorder.pgcopy.encode import BookEncoder
from recorder.poller.polymarket.own_book.rows import messages

NAMES = {"100": number("100"), "200": number("200")}
SHAPES: list[tuple[Levels, Levels]] = [
    ([], []), ([(0.4, 1.0)], []), ([], [(0.6, 2.5)]),
    ([(0.01 * n, float(n)) for n in range(1, 40)], [(0.6, 0.0), (0.7, 3.0)]),
]  # fmt: skip


def encoded(*books: Book) -> bytes:
    return BookEncoder().encode(list(books), NAMES, 7)


@pytest.mark.parametrize("sequence", [None, 12])
@pytest.mark.parametrize("stamp_ns", [None, NOW_NS - 10**6])
@pytest.mark.parametrize("snapshot", [True, False])
def test_every_shape_of_a_row_is_read_as_it_was_written(
    snapshot: bool, stamp_ns: int | None, sequence: int | None
) -> None:
    rows = [Book("100", stamp_ns, NOW_NS, snapshot, sequence, bids, asks) for bids, asks in SHAPES]
    found = list(messages(encoded(*rows), {NAMES["100"]}))
    assert [(one.snapshot, one.stamp_ns, one.received_ns, one.session_id) for one in found] == [
        (snapshot, stamp_ns, NOW_NS, 7)
    ] * len(SHAPES)
    assert [(one.bids, one.asks) for one in found] == SHAPES


def test_rows_of_other_tokens_are_passed_over() -> None:
    rows = [Book(token, NOW_NS, NOW_NS, False, None, bids, asks) for bids, asks in SHAPES for token in NAMES]
    assert len(list(messages(encoded(*rows), {NAMES["200"]}))) == len(SHAPES)
    assert list(messages(encoded(*rows), ())) == []


def test_bytes_that_are_no_rows_are_refused() -> None:
    data = encoded(Book("100", NOW_NS, NOW_NS, True, None, *SHAPES[3]))
    for broken in (data[:40], data[:-1], b"\0\1" + data[2:], data + b"\0"):
        with pytest.raises(ValueError):  # noqa: PT011 - what the follower catches
            list(messages(broken, {NAMES["100"]}))
