"""The book of one instrument at a time, rebuilt from its messages: pure, without a database.

The rules are those of the loader of analysis. Each session has a book of its own, because planned reconnects overlap.
After a gap the book is unknown until the next snapshot: a delta applied to an old book gives one that never existed.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from recorder.venues.orderbook import CutDepth, Sides, uncut

MOST_SESSIONS = 4
"""Sessions of one instrument whose books are kept; two overlap at a planned reconnect."""

Level = tuple[float, float]


class Message(NamedTuple):
    """One row of the table book, without its instrument."""

    ts_recv: datetime
    ts_event: datetime | None
    session_id: int
    frame_seq: int
    snapshot: bool
    bids: Sequence[Sequence[float]] | None  # (price, size), in the order of the message
    asks: Sequence[Sequence[float]] | None


class Levels(NamedTuple):
    """A book: (price, size), best first."""

    bids: list[Level]
    asks: list[Level]


class _Book:
    def __init__(self, message: Message, cut_depth: CutDepth) -> None:
        self.sides = Sides(_levels(message.bids), _levels(message.asks), cut_depth)
        self.began = message.ts_recv  # receipt of its snapshot


class Rebuilt:
    """The books of the sessions of one instrument.

    Attributes:
        last: Receipt of the last message that changed a book; None before the first.
        last_event: The venue's time of that message, where it says one.
        session: Session of that message; 0 before the first.
        began: Receipt of the newest snapshot; None before the first.
    """

    def __init__(self, cut_depth: CutDepth = uncut) -> None:
        """
        Args:
            cut_depth: See `Venue.cut_depth`.
        """
        self._cut_depth = cut_depth
        self._books: dict[int, _Book] = {}  # the session of the last message is the last one
        self._seen: dict[int, int] = {}  # number of the last frame, by session
        self._gaps: list[datetime] = []
        self.last: datetime | None = None
        self.last_event: datetime | None = None
        self.session = 0
        self.began: datetime | None = None

    def gaps(self, starts: Sequence[datetime]) -> None:
        """Take when the gaps of the stream began, ascending: all since the newest snapshot, those known before too.

        A gap that is declared late counts from its begin: a book that began before it is forgotten.
        """
        for known in (self._gaps, starts):
            self._gaps = list(known)
            for session in [session for session, book in self._books.items() if self._broken(book) is not None]:
                del self._books[session]

    def apply(self, message: Message) -> None:
        """Apply a message; those of a session come in the order of their frames, and one that was seen is left out."""
        session = message.session_id
        if message.frame_seq <= self._seen.get(session, 0):
            return
        if message.snapshot:
            book = _Book(message, self._cut_depth)
            self.began = message.ts_recv if self.began is None else max(self.began, message.ts_recv)
        else:
            found = self._books.get(session)
            if found is None:
                return
            broken = self._broken(found)
            if broken is not None and broken < message.ts_recv:
                del self._books[session]
                return
            book = found
            book.sides.apply(_levels(message.bids), _levels(message.asks))
        self._books.pop(session, None)
        self._books[session] = book
        self._seen[session] = message.frame_seq
        self.session, self.last, self.last_event = session, message.ts_recv, message.ts_event
        while len(self._books) > MOST_SESSIONS:
            oldest = next(iter(self._books))
            del self._books[oldest]
        if len(self._seen) > 2 * MOST_SESSIONS:
            self._seen = {one: frame for one, frame in self._seen.items() if one in self._books}

    def at(self, now: datetime, levels: int | None = None) -> Levels | None:
        """Return the best levels of the book at a time after the last message; None where it is unknown.

        Args:
            now: The time; gaps that begin later do not count.
            levels: Most levels of a side; None gives all.
        """
        for book in reversed(self._books.values()):
            broken = self._broken(book)
            if broken is not None and broken <= now:
                continue
            bids, asks = book.sides.bids, book.sides.asks
            best = reversed(bids.prices) if levels is None else bids.prices[: -levels - 1 : -1]
            return Levels(
                [(price, bids.values[price]) for price in best],
                [(price, asks.values[price]) for price in asks.prices[:levels]],
            )
        return None

    def unknown_since(self, now: datetime) -> datetime | None:
        """Return the begin of the first gap after the newest snapshot; None where there was none."""
        first = 0 if self.began is None else bisect_left(self._gaps, self.began)
        return self._gaps[first] if first < len(self._gaps) and self._gaps[first] <= now else None

    def _broken(self, book: _Book) -> datetime | None:
        """Return when the first gap began after the snapshot of a book; None without one."""
        first = bisect_left(self._gaps, book.began)
        return self._gaps[first] if first < len(self._gaps) else None


def grouped(levels: Sequence[Level], step: float, *, down: bool) -> list[Level]:
    """Return levels summed by multiples of a step, in the same order.

    Args:
        levels: (price, size), best first.
        step: Width of a group, quote units; above 0.
        down: Whether a price belongs to the multiple below it (bids), else above it (asks).
    """
    found: dict[int, float] = {}
    for price, size in levels:
        # A price is a multiple of the tick up to the rounding of its decimals; without a margin it would slip a group.
        number = price / step
        whole = round(number)
        if abs(number - whole) > 1e-6:
            whole = int(number // 1) + (0 if down else 1)
        found[whole] = found.get(whole, 0.0) + size
    digits = max(0, min(12, _decimals(step)))
    return [(round(whole * step, digits), size) for whole, size in found.items()]


def _decimals(step: float) -> int:
    text = f"{step:.12f}".rstrip("0")
    return len(text.partition(".")[2])


def _levels(stored: Sequence[Sequence[float]] | None) -> list[Level]:
    return [(price, size) for price, size in stored or ()]
