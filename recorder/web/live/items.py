"""Rows as items of the stream. Ids of 64 bits are text, because JavaScript rounds them. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recorder.web.live.protocol import WIDTH_NAMES, finite, instant
from recorder.web.market_data.rebuild import Levels, Rebuilt

Item = dict[str, Any]
_SIDES = {"b": "buy", "s": "sell"}


def _about(kind: str, instrument_id: int, name: str) -> Item:
    return {"kind": kind, "instrument": name, "instrument_id": str(instrument_id)}


def quote(name: str, row: Sequence[Any]) -> Item:
    """Return the item of a row of QUOTES."""
    instrument_id, ts_recv, ts_event, *values = row
    keys = ("bid", "bid_size", "ask", "ask_size")
    return {
        **_about("quote", instrument_id, name),
        "ts_recv": instant(ts_recv),
        "ts_event": instant(ts_event),
        **{key: finite(value) for key, value in zip(keys, values, strict=True)},
    }


def trade(name: str, row: Sequence[Any]) -> Item:
    """Return the item of a row of TRADES."""
    instrument_id, ts_recv, ts_event, price, size, aggressor, trade_id = row
    return {
        **_about("trade", instrument_id, name),
        "ts_recv": instant(ts_recv),
        "ts_event": instant(ts_event),
        "price": finite(price),
        "size": finite(size),
        "side": _SIDES.get(aggressor or ""),
        "trade_id": trade_id,
    }


_BAR = ("open", "high", "low", "close", "volume", "vwap")
_BAR_SIDES = ("buy_volume", "sell_volume", "coverage")


def bar(name: str, row: Sequence[Any]) -> Item:
    """Return the item of a row of BARS; `complete` says whether it is closed."""
    instrument_id, width_s, start, *rest = row
    values, trade_count = rest[:6], rest[6]
    sides, (in_gap, complete, revision) = rest[7:10], rest[10:]
    return {
        **_about("bar", instrument_id, name),
        "width": WIDTH_NAMES[width_s],
        "start": instant(start),
        **{key: finite(value) for key, value in zip(_BAR, values, strict=True)},
        "trade_count": trade_count,
        **{key: finite(value) for key, value in zip(_BAR_SIDES, sides, strict=True)},
        "in_gap": in_gap,
        "complete": complete,
        "revision": revision,
    }


MOST_LEVELS = 20
"""Levels of a side of a book."""


def book(name: str, instrument_id: int, rebuilt: Rebuilt, found: Levels | None, unknown_since: datetime | None) -> Item:
    """Return the item of a book: the best levels as [price, size], best first; none while it is unknown."""
    bids, asks = found or Levels([], [])
    return {
        **_about("book", instrument_id, name),
        "ts_recv": instant(rebuilt.last),
        "ts_event": instant(rebuilt.last_event),
        "unknown_since": None if found is not None else instant(unknown_since),
        "bids": [list(level) for level in bids],
        "asks": [list(level) for level in asks],
    }


def gap(row: Sequence[Any]) -> Item:
    """Return the message of a gap."""
    gap_id, instrument_id, channel, cause, state, reason, started_at, ended_at, last_id, first_id, revision = row[:11]
    venue, symbol = row[11:]
    return {
        "op": "gap",
        "gap_id": str(gap_id),
        "instrument": f"{venue}:{symbol}" if venue else str(instrument_id),
        "instrument_id": str(instrument_id),
        "channel": channel,
        "cause": cause,
        "state": state,
        "going_on": state == "open" and ended_at is None,
        "reason": reason,
        "started_at": instant(started_at),
        "ended_at": instant(ended_at),
        "last_id": None if last_id is None else str(last_id),
        "first_id": None if first_id is None else str(first_id),
        "revision": revision,
    }


def with_quality(item: Item, as_of: datetime, coverage: float | None) -> Item:
    """Return an item of a snapshot: with the time of the look, and the covered share of the last hour."""
    return {**item, "as_of": instant(as_of), "coverage": None if coverage is None else round(coverage, 6)}
