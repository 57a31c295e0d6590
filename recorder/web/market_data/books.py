"""Books now and at a past time: messages read from Postgres, applied in memory, and kept for the next question."""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.venues import VENUES
from recorder.venues.orderbook import CutDepth, uncut
from recorder.web.answers.prices import between
from recorder.web.market_data.rebuild import Level, Levels, Rebuilt, grouped
from recorder.web.queries import books as stored
from recorder.web.queries.books import LOOK_BACK, Place

KEPT = 64
"""Instruments whose books are kept in memory."""

MAX_MESSAGES = 500_000
"""Read for a book of the past at most; counted before, so that a longer question costs little."""

STEP = 200_000
"""Read for a book of now in one question at most; the next question goes on there."""

STALE = timedelta(seconds=20)
"""A recorder whose journal is loaded no further than this before a time says nothing of that time."""

_KEPT_FOR = timedelta(minutes=15)
DEPTH = 1_000
TRADES = 30

_TRADES = """
SELECT extract(epoch FROM ts_event)::float8, price, size, aggressor::text
  FROM trade
 WHERE instrument_id = %(id)s
   AND ts_event <= %(at)s AND ts_event > %(at)s - interval '1 day'
 ORDER BY ts_event DESC, trade_id DESC LIMIT %(limit)s"""


class BookAt(NamedTuple):
    """The book of an instrument at a time."""

    at: datetime
    levels: Levels | None
    last: datetime | None  # receipt of the last message
    unknown_since: datetime | None
    reason: str | None  # why it is unknown, in words


class _Kept:
    def __init__(self, cut_depth: CutDepth) -> None:
        self.lock = threading.Lock()
        self.rebuilt = Rebuilt(cut_depth)
        self.place: Place | None = None  # where to read on
        self.reached: datetime | None = None  # time of the last question


class Books:
    """Books of instruments; those that were asked for last are kept up to now. Any thread may ask."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._most = kept
        self._lock = threading.Lock()

    def now(
        self, cursor: Cursor, instrument_id: int, cut_depth: CutDepth = uncut, levels: int | None = DEPTH
    ) -> BookAt:
        """Return the book now; the first question reads from the last snapshot on, a later one only what came since.

        Args:
            cursor: In a transaction.
            instrument_id: Whose book.
            cut_depth: As for `Rebuilt`.
            levels: Best levels of each side to give; None gives all.
        """
        kept = self._of(instrument_id, cut_depth)
        with kept.lock:
            cursor.execute("SELECT clock_timestamp()")
            [(now,)] = cursor.fetchall()
            if kept.reached is None or not timedelta() <= now - kept.reached <= _KEPT_FOR:
                kept.rebuilt, kept.place = Rebuilt(cut_depth), None
            return _answer(cursor, instrument_id, kept, now, levels, STEP)

    def at(
        self,
        cursor: Cursor,
        instrument_id: int,
        at: datetime,
        cut_depth: CutDepth = uncut,
        levels: int | None = DEPTH,
    ) -> BookAt:
        """Return the book at a past time, rebuilt from the last snapshot before it."""
        kept = _Kept(cut_depth)
        kept.place = stored.begin(cursor, instrument_id, at)
        if kept.place is not None and stored.more_than(cursor, instrument_id, kept.place, at, MAX_MESSAGES):
            return BookAt(at, None, None, None, f"more than {MAX_MESSAGES:,} messages since its last snapshot")
        return _answer(cursor, instrument_id, kept, at, levels, MAX_MESSAGES)

    def _of(self, instrument_id: int, cut_depth: CutDepth) -> _Kept:
        with self._lock:
            kept = self._kept.pop(instrument_id, None) or _Kept(cut_depth)
            self._kept[instrument_id] = kept
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return kept


def cut_depth_of(venue: str) -> CutDepth:
    """Return how a venue cuts its books; see `Venue.cut_depth`."""
    found = VENUES.get(venue)
    return uncut if found is None else found.cut_depth


def _answer(cursor: Cursor, instrument_id: int, kept: _Kept, at: datetime, levels: int | None, most: int) -> BookAt:
    """Bring a book up to a time and return it, or since when and why it is unknown then."""
    rebuilt = kept.rebuilt
    place = kept.place or stored.begin(cursor, instrument_id, at)
    if place is None:
        reason = f"no snapshot was stored in the {LOOK_BACK[-1] / timedelta(hours=1):.0f} hours before"
        return BookAt(at, None, None, None, reason)
    kept.place, complete = stored.read(cursor, instrument_id, rebuilt, place, at, most)
    kept.reached = at
    if not complete:
        return BookAt(at, None, rebuilt.last, rebuilt.last, "older messages are still read; ask again in a second")
    found = rebuilt.at(at, levels)
    if found is None:
        return BookAt(at, None, rebuilt.last, rebuilt.unknown_since(at), "a gap, and no snapshot since")
    loaded = stored.loaded_until(cursor, rebuilt.session)
    if loaded is not None and at - loaded > STALE:
        reason = "nothing newer of this recorder is in Postgres; tapedeck status shows whether it runs"
        return BookAt(at, None, rebuilt.last, max(loaded, rebuilt.last or loaded), reason)
    return BookAt(at, found, rebuilt.last, None, None)


def trades(cursor: Cursor, instrument_id: int, at: datetime, limit: int = TRADES) -> list[dict[str, Any]]:
    """Return the last trades until a time, the newest first: ts_event (seconds), price, size, side or None."""
    cursor.execute(_TRADES, {"id": instrument_id, "at": at, "limit": limit})
    words = {"b": "buy", "s": "sell"}
    return [
        {"ts_event": ts_event, "price": price, "size": size, "side": words.get(aggressor)}
        for ts_event, price, size, aggressor in cursor.fetchall()
    ]


def shown(book: BookAt, levels: int, step: float | None) -> dict[str, Any]:
    """Return a book for the page: levels grouped and cumulated, spread, mid and imbalance of what is shown.

    Args:
        book: With all its levels.
        levels: Groups of each side to show.
        step: Width of a group, quote units; None shows single levels.
    """
    bids, asks = book.levels or Levels([], [])
    best = _touch(bids, asks)
    if step is not None:
        bids, asks = grouped(bids, step, down=True), grouped(asks, step, down=False)
    bids, asks = bids[:levels], asks[:levels]
    return {
        "at": book.at.timestamp(),
        "known": book.levels is not None,
        "last": _seconds(book.last),
        "unknown_since": _seconds(book.unknown_since),
        "reason": book.reason,
        "bids": _cumulated(bids),
        "asks": _cumulated(asks),
        **best,
        "imbalance": _imbalance(bids, asks),
    }


def document(book: BookAt, levels: int) -> dict[str, Any]:
    """Return a book as the API answers it, with so many levels of each side."""
    bids, asks = book.levels or Levels([], [])
    best = _touch(bids, asks)
    return {
        "at": book.at,
        "as_of": book.last if book.levels is not None else None,
        "known": book.levels is not None,
        "unknown_since": book.unknown_since,
        "reason": book.reason or "",
        "bids": [list(level) for level in bids[:levels]],
        "asks": [list(level) for level in asks[:levels]],
        "bid_levels": len(bids),
        "ask_levels": len(asks),
        "spread": best["spread"],
        "mid": best["mid"],
        "imbalance": _imbalance(bids[:levels], asks[:levels]),
    }


def _touch(bids: Sequence[Level], asks: Sequence[Level]) -> Mapping[str, float | None]:
    bid, ask = bids[0][0] if bids else None, asks[0][0] if asks else None
    if bid is None or ask is None:
        return {"bid": bid, "ask": ask, "spread": None, "mid": None}
    spread, mid = between(bid, ask)
    return {"bid": bid, "ask": ask, "spread": spread, "mid": mid}


def _imbalance(bids: Sequence[Level], asks: Sequence[Level]) -> float | None:
    bid_size, ask_size = sum(size for _, size in bids), sum(size for _, size in asks)
    total = bid_size + ask_size
    return (bid_size - ask_size) / total if bids and asks and total else None


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def instant_of(seconds: float) -> datetime:
    """Return the instant of seconds since 1970, in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def _cumulated(levels: list[Level]) -> list[tuple[float, float, float]]:
    total = 0.0
    found = []
    for price, size in levels:
        total += size
        found.append((price, size, total))
    return found
