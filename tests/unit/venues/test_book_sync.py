"""The life of a book: one request per doubt, in the right order beside the row, and counted verdicts."""

from recorder.events import Book, Resync
from recorder.venues.base import Audit
from recorder.venues.book_sync import BookSync


def row(symbol: str = "A", *, snapshot: bool = False) -> Book:
    return Book(symbol, None, 1, snapshot, None, [], [])


def test_only_the_first_delta_without_a_snapshot_requests_one() -> None:
    sync = BookSync[str]()
    assert sync.without_snapshot(row()) == (Resync("A", "no_snapshot", "delta before a snapshot"), row())
    assert sync.without_snapshot(row()) == (row(),)
    assert sync.without_snapshot(row("B")) == (Resync("B", "no_snapshot", "delta before a snapshot"), row("B"))


def test_a_snapshot_ends_the_request_and_the_next_doubt_makes_another() -> None:
    sync = BookSync[str]()
    sync.without_snapshot(row())
    sync.start("A", "book")
    assert (sync.books, sync.requested) == ({"A": "book"}, set())
    assert sync.reject(row(), "sequence", "3 after 1") == (Resync("A", "sequence", "3 after 1"), row())
    assert (sync.books, sync.requested) == ({}, {"A"})


def test_a_snapshot_precedes_the_request_that_its_own_failure_makes() -> None:
    outputs = BookSync[str]().checksum_failed(row(snapshot=True), 1, 2)
    assert outputs == (row(snapshot=True), Resync("A", "checksum", "ours 1, the venue's 2"))


def test_verdicts_are_counted_by_symbol_and_go_on_after_the_counters_were_reported() -> None:
    sync = BookSync[str]()
    sync.crossed(row(), 2.0, 1.0)
    sync.checksum_failed(row("B"), 1, 2)
    sync.audit("B").checksums_passed += 1
    assert sync.audits == {"A": Audit(crossed=1), "B": Audit(checksums_passed=1, checksums_failed=1)}
    sync.audits.clear()
    sync.crossed(row(), 2.0, 1.0)
    assert sync.audits == {"A": Audit(crossed=1)}


def test_books_that_the_link_requests_itself_are_not_requested_twice() -> None:
    sync = BookSync[str]()
    sync.start("A", "book")
    sync.distrust(["A", "B"])
    assert sync.without_snapshot(row()) == (row(),)
    assert sync.without_snapshot(row("B")) == (row("B"),)


def test_a_new_subscription_begins_without_a_book_and_without_a_request() -> None:
    sync = BookSync[str]()
    sync.start("A", "book")
    sync.distrust(["A"])
    sync.forget("A")
    assert isinstance(sync.without_snapshot(row())[0], Resync)
