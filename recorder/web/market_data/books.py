"""Books now and at a past time: messages read from Postgres, applied in memory, and kept for the next question."""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from recorder.store.database import Cursor
from recorder.venues.orderbook import CutDepth, uncut
from recorder.web.market_data.rebuild import Level, Levels, Message, Rebuilt, grouped

KEPT = 64
"""Instruments whose books are kept in memory."""

LOOK_BACK_S = (60.0, 900.0, 14_400.0, 90_000.0)
MAX_MESSAGES = 500_000
STALE_S = 20.0
"""A recorder whose journal is loaded no further than this says nothing of now."""

OVERLAP_S = 5.0
DEPTH = 1_000
TRADES = 30

_SNAPSHOT = """
SELECT extract(epoch FROM ts_recv)::float8 FROM book
 WHERE instrument_id = %(id)s AND kind = 's' AND ts_recv > to_timestamp(%(low)s) AND ts_recv <= to_timestamp(%(high)s)
 ORDER BY ts_recv DESC LIMIT 1"""
_COUNT = """
SELECT count(*) FROM (SELECT FROM book WHERE instrument_id = %(id)s AND ts_recv >= to_timestamp(%(low)s)
                         AND ts_recv <= to_timestamp(%(high)s) LIMIT %(limit)s) AS messages"""
_MESSAGES = """
SELECT extract(epoch FROM ts_recv)::float8, session_id, frame_seq, kind = 's', bids, asks
  FROM book
 WHERE instrument_id = %(id)s AND ts_recv >= to_timestamp(%(low)s) AND ts_recv <= to_timestamp(%(high)s)
 ORDER BY ts_recv, session_id, frame_seq"""
_GAPS = """
SELECT extract(epoch FROM started_at)::float8 FROM gap
 WHERE instrument_id = %(id)s AND channel = 'book' AND started_at >= to_timestamp(%(low)s)
   AND started_at <= to_timestamp(%(high)s)
 ORDER BY started_at"""
_OPEN = """
SELECT min(extract(epoch FROM started_at))::float8 FROM gap
 WHERE instrument_id = %(id)s AND channel = 'book' AND state = 'open'
   AND started_at <= to_timestamp(%(at)s) AND (ended_at IS NULL OR ended_at > to_timestamp(%(at)s))"""
_LOADED = """
SELECT max(extract(epoch FROM j.written_at))::float8, extract(epoch FROM now())::float8
  FROM journal j
 WHERE j.recorder IN (SELECT recorder FROM session WHERE session_id = %(session)s)"""
_TRADES = """
SELECT extract(epoch FROM ts_event)::float8, price, size, aggressor::text
  FROM trade
 WHERE instrument_id = %(id)s
   AND ts_event <= to_timestamp(%(at)s) AND ts_event > to_timestamp(%(at)s) - interval '1 day'
 ORDER BY ts_event DESC, trade_id DESC LIMIT %(limit)s"""


class BookAt(NamedTuple):
    """The book of an instrument at a time; seconds since 1970."""

    at: float
    levels: Levels | None
    last: float | None  # receipt of the last message
    unknown_since: float | None
    reason: str | None  # why it is unknown, in words


class _Kept:
    def __init__(self, cut_depth: CutDepth) -> None:
        self.lock = threading.Lock()
        self.rebuilt = Rebuilt(cut_depth)
        self.reached: float | None = None
        self.session = 0


class Books:
    """The live books of the instruments that were asked for last; any thread may ask."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._most = kept
        self._lock = threading.Lock()

    def now(self, cursor: Cursor, instrument_id: int, cut_depth: CutDepth = uncut, levels: int = DEPTH) -> BookAt:
        """Return the book now; the first question reads from the last snapshot on, a later one only what came since.

        Args:
            cursor: In a transaction.
            instrument_id: Whose book.
            cut_depth: As for `Rebuilt`.
            levels: Best levels of each side to give.
        """
        kept = self._of(instrument_id, cut_depth)
        with kept.lock:
            cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
            [(now,)] = cursor.fetchall()
            if kept.reached is None or now - kept.reached > LOOK_BACK_S[1]:
                kept.rebuilt = Rebuilt(cut_depth)
                low = _snapshot_before(cursor, instrument_id, now)
            else:
                low = kept.reached - OVERLAP_S
            if low is None or not _read(cursor, instrument_id, kept, low, now):
                return BookAt(now, None, None, None, _no_snapshot(low))
            return self._judged(cursor, instrument_id, kept, now, levels)

    def at(
        self, cursor: Cursor, instrument_id: int, at: float, cut_depth: CutDepth = uncut, levels: int = DEPTH
    ) -> BookAt:
        """Return the book at a past time, rebuilt from the last snapshot before it."""
        low = _snapshot_before(cursor, instrument_id, at)
        kept = _Kept(cut_depth)
        if low is None or not _read(cursor, instrument_id, kept, low, at):
            return BookAt(at, None, None, None, _no_snapshot(low))
        return _answer(cursor, instrument_id, kept, at, levels)

    def _of(self, instrument_id: int, cut_depth: CutDepth) -> _Kept:
        with self._lock:
            kept = self._kept.pop(instrument_id, None) or _Kept(cut_depth)
            self._kept[instrument_id] = kept
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return kept

    def _judged(self, cursor: Cursor, instrument_id: int, kept: _Kept, now: float, levels: int) -> BookAt:
        cursor.execute(_LOADED, {"session": kept.session})
        [(loaded, clock)] = cursor.fetchall()
        if loaded is not None and clock - loaded > STALE_S:
            reason = "nothing newer of this recorder is in Postgres; tapedeck status shows whether it runs"
            return BookAt(now, None, kept.rebuilt.last, max(loaded, kept.rebuilt.last or loaded), reason)
        return _answer(cursor, instrument_id, kept, now, levels)


def trades(cursor: Cursor, instrument_id: int, at: float, limit: int = TRADES) -> list[dict[str, Any]]:
    """Return the last trades until a time, the newest first: ts_event, price, size, side (buy, sell or None)."""
    cursor.execute(_TRADES, {"id": instrument_id, "at": at, "limit": limit})
    words = {"b": "buy", "s": "sell"}
    return [
        {"ts_event": ts_event, "price": price, "size": size, "side": words.get(aggressor)}
        for ts_event, price, size, aggressor in cursor.fetchall()
    ]


def _answer(cursor: Cursor, instrument_id: int, kept: _Kept, at: float, levels: int) -> BookAt:
    found = kept.rebuilt.at(at, levels)
    if found is None:
        return BookAt(at, None, kept.rebuilt.last, kept.rebuilt.unknown_since, "a gap, and no snapshot since")
    cursor.execute(_OPEN, {"id": instrument_id, "at": at})
    [(since,)] = cursor.fetchall()
    last = kept.rebuilt.last
    if since is not None and last is not None and since >= last:
        return BookAt(at, None, last, since, "a gap that goes on")
    return BookAt(at, found, last, None, None)


def _no_snapshot(low: float | None) -> str:
    if low is not None:
        return f"more than {MAX_MESSAGES:,} messages since its last snapshot"
    return f"no snapshot was stored in the {LOOK_BACK_S[-1] / 3600:.0f} hours before"


def _snapshot_before(cursor: Cursor, instrument_id: int, at: float) -> float | None:
    """Return when the last snapshot before a time was received; a short look back is tried first."""
    high = at
    for seconds in LOOK_BACK_S:
        low = at - seconds
        cursor.execute(_SNAPSHOT, {"id": instrument_id, "low": low, "high": high})
        found = cursor.fetchone()
        if found is not None:
            return float(found[0])
        high = low
    return None


def _read(cursor: Cursor, instrument_id: int, kept: _Kept, low: float, high: float) -> bool:
    """Apply the messages of a time; return False where there are too many of them."""
    # Receipt times are stored in microseconds and a float of seconds is not exact to them.
    values = {"id": instrument_id, "low": low - 1e-5, "high": high, "limit": MAX_MESSAGES + 1}
    cursor.execute(_COUNT, values)
    if (cursor.fetchone() or (0,))[0] > MAX_MESSAGES:
        return False
    cursor.execute(_GAPS, values)
    kept.rebuilt.gaps([start for (start,) in cursor.fetchall()])
    cursor.execute(_MESSAGES, values)
    for message in _messages(cursor):
        kept.rebuilt.apply(message)
        kept.session = message.session_id
    kept.reached = high
    return True


def _messages(cursor: Cursor) -> Iterator[Message]:
    while rows := cursor.fetchmany(2_000):
        for ts_recv, session_id, frame_seq, snapshot, bids, asks in rows:
            yield Message(ts_recv, session_id, frame_seq, snapshot, bids, asks)


def shown(book: BookAt, levels: int, step: float | None) -> dict[str, Any]:
    """Return a book for the page: levels grouped and cumulated, spread, mid and imbalance of what is shown.

    Args:
        book: With all its levels.
        levels: Groups of each side to show.
        step: Width of a group, quote units; None shows single levels.
    """
    bids, asks = book.levels or Levels([], [])
    best_bid, best_ask = bids[0][0] if bids else None, asks[0][0] if asks else None
    both = best_bid is not None and best_ask is not None
    if step is not None:
        bids, asks = grouped(bids, step, down=True), grouped(asks, step, down=False)
    bids, asks = bids[:levels], asks[:levels]
    bid_size, ask_size = sum(size for _, size in bids), sum(size for _, size in asks)
    total = bid_size + ask_size
    return {
        "at": book.at,
        "known": book.levels is not None,
        "last": book.last,
        "unknown_since": book.unknown_since,
        "reason": book.reason,
        "bids": _cumulated(bids),
        "asks": _cumulated(asks),
        "bid": best_bid,
        "ask": best_ask,
        "spread": best_ask - best_bid if best_bid is not None and best_ask is not None else None,
        "mid": (best_ask + best_bid) / 2 if best_bid is not None and best_ask is not None else None,
        "imbalance": (bid_size - ask_size) / total if both and total else None,
    }


def _cumulated(levels: list[Level]) -> list[tuple[float, float, float]]:
    total = 0.0
    found = []
    for price, size in levels:
        total += size
        found.append((price, size, total))
    return found
