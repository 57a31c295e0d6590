"""The book of an instrument while rows of table book come: rebuilt from a snapshot and what follows it. Pure.

Planned reconnects overlap two sessions, so that each has a book of its own. After the begin of a gap the book is
unknown until the next snapshot: a delta applied to an old book gives a book that never existed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from recorder.venues.orderbook import CutDepth, Sides, uncut

MOST_LEVELS = 20
_MOST_SESSIONS = 4


class BookRow(NamedTuple):
    """One row of table book, without its instrument."""

    ts_recv: datetime
    ts_event: datetime | None
    session_id: int
    frame_seq: int
    kind: str
    bids: Sequence[Sequence[float]]  # (price, size), in the order of the message
    asks: Sequence[Sequence[float]]


class LiveBook:
    """The book of one instrument.

    Attributes:
        ts_recv: Of the row that was applied last; None before the first.
        unknown_since: When the book became unknown; None while it is known.
    """

    def __init__(self, since: datetime, cut_depth: CutDepth = uncut) -> None:
        """
        Args:
            since: When it began to be unknown.
            cut_depth: See `Venue.cut_depth`.
        """
        self._cut_depth = cut_depth
        self.ts_recv: datetime | None = None
        self.ts_event: datetime | None = None
        self.unknown_since: datetime | None = since
        self._latest = 0  # session of the row that was applied last
        self._sides: dict[int, Sides] = {}
        self._seen: dict[int, int] = {}  # number of the last frame, by session
        self._gap_at: datetime | None = None

    def apply(self, row: BookRow) -> None:
        """Apply a row; one that was applied before changes nothing."""
        if row.frame_seq <= self._seen.get(row.session_id, 0):
            return
        self._seen[row.session_id] = row.frame_seq
        if row.kind == "s":
            self._sides[row.session_id] = Sides(_levels(row.bids), _levels(row.asks), self._cut_depth)
            self.unknown_since = None
        elif row.session_id in self._sides:
            self._sides[row.session_id].apply(_levels(row.bids), _levels(row.asks))
        else:
            return
        self._latest, self.ts_recv, self.ts_event = row.session_id, row.ts_recv, row.ts_event
        while len(self._sides) > _MOST_SESSIONS:
            oldest = next(session for session in self._sides if session != self._latest)
            del self._sides[oldest]
            self._seen.pop(oldest, None)

    def gap(self, started_at: datetime) -> None:
        """Take the begin of the newest gap: rows before it say nothing about the book now."""
        if self._gap_at is None or started_at > self._gap_at:
            self._gap_at = started_at
            if self.ts_recv is None or self.ts_recv <= started_at:
                self._sides.clear()
                self.unknown_since = started_at

    def levels(self) -> tuple[list[list[float]], list[list[float]]]:
        """Return the best bids and asks as [price, size], best first; both empty while the book is unknown."""
        if self._latest not in self._sides:
            return [], []
        bids, asks = self._sides[self._latest].bids, self._sides[self._latest].asks
        return (
            [[price, bids.values[price]] for price in bids.prices[: -MOST_LEVELS - 1 : -1]],
            [[price, asks.values[price]] for price in asks.prices[:MOST_LEVELS]],
        )


def _levels(rows: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    return [(price, size) for price, size in rows]
