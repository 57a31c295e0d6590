"""The order books of one connection, from snapshot to snapshot."""

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from recorder.events import Book, GapCause, Output, Resync
from recorder.venues.base import Audit

BookT = TypeVar("BookT")


class BookSync(Generic[BookT]):
    """Books by symbol, the snapshots that were requested for them, and their audit counters.

    A book begins with a snapshot. When a delta contradicts it, the book is dropped and one `Resync` asks the link for
    a fresh snapshot. Until that arrives the deltas still become rows, but nothing more is requested.

    A decoder reads `books` and `audits` directly where a method call per message would cost too much.

    Attributes:
        books: Books that agree with everything the venue sent.
        audits: Verdicts by symbol; the link reports and clears them.
        requested: Symbols whose snapshot was requested and has not arrived.
    """

    __slots__ = ("audits", "books", "requested")

    def __init__(self) -> None:
        self.books: dict[str, BookT] = {}
        self.audits: dict[str, Audit] = {}
        self.requested: set[str] = set()

    def start(self, symbol: str, book: BookT) -> None:
        """Keep the book of a snapshot."""
        self.books[symbol] = book
        self.requested.discard(symbol)

    def audit(self, symbol: str) -> Audit:
        """Return the counters of a symbol."""
        audit = self.audits.get(symbol)
        if audit is None:
            audit = self.audits[symbol] = Audit()
        return audit

    def forget(self, symbol: str) -> None:
        """Drop the book of a subscription that ended or starts again."""
        self.books.pop(symbol, None)
        self.requested.discard(symbol)

    def distrust(self, symbols: Iterable[str]) -> None:
        """Drop these books where the link already knows that they need snapshots."""
        for symbol in symbols:
            self.books.pop(symbol, None)
            self.requested.add(symbol)

    def resync(self, symbol: str, cause: GapCause, reason: str) -> Resync:
        """Drop a book and return the request for a fresh snapshot."""
        self.books.pop(symbol, None)
        self.requested.add(symbol)
        return Resync(symbol, cause, reason)

    def without_snapshot(self, row: Book) -> Sequence[Output]:
        """Return a delta that came before any snapshot; the first of them requests one."""
        if row.symbol in self.requested:
            return (row,)
        return self.resync(row.symbol, "no_snapshot", "delta before a snapshot"), row

    def reject(self, row: Book, cause: GapCause, reason: str) -> Sequence[Output]:
        """Return the message that contradicts its book, with the request for a fresh snapshot.

        The request precedes a delta, because the gap begins after the last good message. It follows a snapshot: a
        snapshot ends the gaps of its book, so its own failure has to open one behind it.
        """
        resync = self.resync(row.symbol, cause, reason)
        return (row, resync) if row.snapshot else (resync, row)

    def crossed(self, row: Book, bid: float, ask: float) -> Sequence[Output]:
        """Count a best bid at or above the best ask, and reject the message that led to it."""
        self.audit(row.symbol).crossed += 1
        return self.reject(row, "crossed", f"bid {bid} at or above ask {ask}")

    def checksum_failed(self, row: Book, ours: int, theirs: int) -> Sequence[Output]:
        """Count a wrong checksum, and reject the message that carried it."""
        self.audit(row.symbol).checksums_failed += 1
        return self.reject(row, "checksum", f"ours {ours}, the venue's {theirs}")
