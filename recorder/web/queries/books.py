"""The book at an instant, made again from the recorded messages."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.venues import VENUES
from recorder.venues.orderbook import Sides, uncut
from recorder.web.answers.ranges import Span
from recorder.web.queries.instruments import Instrument

LOOK_BACK = timedelta(days=2)
MOST_DELTAS = 200_000

_SNAPSHOT = """
SELECT ts_recv, session_id, frame_seq, bids, asks FROM book
 WHERE instrument_id = %s AND kind = 's' AND ts_recv <= %s AND ts_recv > %s
 ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1"""
_DELTAS = """
SELECT ts_recv, bids, asks FROM book
 WHERE instrument_id = %s AND session_id = %s AND kind = 'd' AND ts_recv >= %s AND ts_recv <= %s
   AND (ts_recv, frame_seq) > (%s, %s)
 ORDER BY ts_recv, frame_seq LIMIT %s"""
_GAP = """
SELECT started_at, cause FROM gap
 WHERE instrument_id = %s AND channel = 'book' AND started_at >= %s AND started_at <= %s ORDER BY started_at LIMIT 1"""


class BookAt(NamedTuple):
    """A book, or since when it is not known."""

    at: datetime  # asked for
    as_of: datetime | None  # of the last message; None while the book is not known
    bids: list[tuple[float, float]]  # price and size, best first
    asks: list[tuple[float, float]]
    unknown_since: datetime | None  # begin of the gap; None where the book is known, or nothing was recorded
    reason: str

    def document(self, levels: int) -> dict[str, Any]:
        """Return it as answers carry it, with so many levels of each side."""
        bid, ask = self.bids[0][0] if self.bids else None, self.asks[0][0] if self.asks else None
        both = bid is not None and ask is not None
        bids, asks = self.bids[:levels], self.asks[:levels]
        bid_depth = sum((size for _price, size in bids), 0.0)
        ask_depth = sum((size for _price, size in asks), 0.0)
        depth = bid_depth + ask_depth
        return {
            "at": self.at,
            "as_of": self.as_of,
            "known": self.as_of is not None,
            "unknown_since": self.unknown_since,
            "reason": self.reason,
            "bids": [list(level) for level in bids],
            "asks": [list(level) for level in asks],
            "bid_levels": len(self.bids),
            "ask_levels": len(self.asks),
            "spread": ask - bid if bid is not None and ask is not None else None,
            "mid": (bid + ask) / 2 if bid is not None and ask is not None else None,
            "imbalance": (bid_depth - ask_depth) / depth if both and depth else None,
        }


def book_at(cursor: Cursor, one: Instrument, at: datetime) -> BookAt:
    """Return the book of an instrument at an instant, by our clock.

    It is that of the session whose snapshot came last before. After a gap the book is unknown until the next snapshot:
    a delta on a stale book gives a book that never existed.
    """
    cursor.execute(_SNAPSHOT, (one.instrument_id, at, at - LOOK_BACK))
    row = cursor.fetchone()
    if row is None:
        return BookAt(at, None, [], [], None, "no snapshot of this book was recorded in the two days before")
    since, session, frame, bids, asks = row
    cursor.execute(_GAP, (one.instrument_id, since, at))
    gap = cursor.fetchone()
    if gap is not None and gap[0] > since:
        return BookAt(at, None, [], [], gap[0], f"a gap began then ({gap[1]}), and no snapshot followed")
    venue = VENUES.get(one.venue)
    book = Sides(_levels(bids), _levels(asks), uncut if venue is None else venue.cut_depth)
    as_of = since
    cursor.execute(_DELTAS, (one.instrument_id, session, since, at, since, frame, MOST_DELTAS + 1))
    deltas = cursor.fetchall()
    if len(deltas) > MOST_DELTAS:
        return BookAt(at, None, [], [], None, f"more than {MOST_DELTAS:,} messages since the last snapshot")
    for recv, bid_levels, ask_levels in deltas:
        book.apply(_levels(bid_levels), _levels(ask_levels))
        as_of = recv
    best = [(price, book.bids.values[price]) for price in reversed(book.bids.prices)]
    return BookAt(at, as_of, best, [(price, book.asks.values[price]) for price in book.asks.prices], None, "")


def around(at: datetime) -> Span:
    """Return the range whose quality an answer about an instant carries."""
    return Span(at - timedelta(minutes=1), at)


def _levels(stored: list[list[float]] | None) -> list[tuple[float, float]]:
    return [(price, size) for price, size in stored or []]
