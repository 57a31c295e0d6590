"""The book of one instrument at a time, rebuilt from its messages: pure, without a database.

The rules are those of the loader of analysis. Each session has a book of its own, because planned reconnects overlap.
After a gap the book is unknown until the next snapshot: a delta applied to an old book gives one that never existed.
"""

from collections.abc import Sequence
from typing import NamedTuple

from recorder.venues.orderbook import CutDepth, Sides, uncut

Level = tuple[float, float]


class Message(NamedTuple):
    """One row of the table book; times are seconds since 1970."""

    ts_recv: float
    session_id: int
    frame_seq: int
    snapshot: bool
    bids: Sequence[Level]
    asks: Sequence[Level]


class Levels(NamedTuple):
    """A book: (price, size), best first."""

    bids: list[Level]
    asks: list[Level]


class Rebuilt:
    """The books of the sessions of one instrument.

    Attributes:
        last: When the last message was received that changed a book, seconds since 1970; None before the first.
        unknown_since: When the book became unknown; None while it is known.
    """

    def __init__(self, cut_depth: CutDepth = uncut) -> None:
        """
        Args:
            cut_depth: See `Venue.cut_depth`.
        """
        self._cut_depth = cut_depth
        self._books: dict[int, Sides] = {}
        self._seen: dict[int, int] = {}
        self._newest: int | None = None
        self._gaps: list[float] = []
        self._cleared = 0
        self.last: float | None = None
        self.unknown_since: float | None = None

    def gaps(self, starts: Sequence[float]) -> None:
        """Say when the gaps of the stream began, ascending; those before the last message count no more."""
        self._gaps = [start for start in starts if self.last is None or start >= self.last]
        self._cleared = 0

    def apply(self, message: Message) -> None:
        """Apply a message; those of a session come in the order of their frames, and one that was seen is left out."""
        if message.frame_seq <= self._seen.get(message.session_id, 0):
            return
        self._forget(message.ts_recv)
        self._seen[message.session_id] = message.frame_seq
        if message.snapshot:
            self._books[message.session_id] = Sides(message.bids, message.asks, self._cut_depth)
        elif message.session_id in self._books:
            self._books[message.session_id].apply(message.bids, message.asks)
        else:
            return
        self._newest = message.session_id
        self.last = message.ts_recv
        self.unknown_since = None

    def at(self, now: float, levels: int) -> Levels | None:
        """Return the best levels of the book at a time after the last message; None where it is unknown."""
        self._forget(now, including=True)
        if self._newest is None or self._newest not in self._books:
            return None
        bids, asks = self._books[self._newest].bids, self._books[self._newest].asks
        return Levels(
            [(price, bids.values[price]) for price in bids.prices[: -levels - 1 : -1]],
            [(price, asks.values[price]) for price in asks.prices[:levels]],
        )

    def _forget(self, now: float, including: bool = False) -> None:
        """Forget all books where a gap began before a time."""
        while self._cleared < len(self._gaps) and (
            self._gaps[self._cleared] < now or (including and self._gaps[self._cleared] <= now)
        ):
            if self._books or self.unknown_since is None:
                self.unknown_since = self._gaps[self._cleared]
            self._books.clear()
            self._cleared += 1


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
