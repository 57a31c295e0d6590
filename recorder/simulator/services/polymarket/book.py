"""The books of a simulated market: functions of the market and of the time of the book's last change.

A book that is asked at some moment is the one of its last change, `changed_ns`, which its `timestamp` names. So a token
and a timestamp determine the answer, and a reader of the truth can compute it again.
"""

import hashlib
from typing import NamedTuple

from recorder.simulator.services.noise import mix
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.venues.polymarket.market import ONE, price_text, size_text

MS = 1_000_000
_S = 1_000_000_000
_LEVELS = 24  # prices of a side at which there may be a level
_HOLE = 45  # of 256 prices have no level
_TRADE_EVERY_S = 20
# (hours to the end of trading, milliseconds between two changes)
_PACE = ((48, 60_000), (12, 30_000), (4, 10_000), (1, 4_000), (0, 1_000))


class Book(NamedTuple):
    """One book in the prices of outcome 0, as (price, size) with the best first."""

    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]
    last: int | None  # price of the last trade, of outcome 0
    tick: int


def changed_ns(market: Market, now_ns: int) -> int:
    """Return when the book of a market last changed, in nanoseconds and whole milliseconds."""
    hours = (market.stop_s - now_ns / _S) / 3600
    pace_ns = next((pace for limit, pace in _PACE if hours >= limit), 1_000) * MS
    phase_ns = market.noise % 997 * MS
    return max(market.clob_s * _S, (now_ns - phase_ns) // pace_ns * pace_ns + phase_ns)


def book_at(market: Market, ts_ns: int) -> Book:
    """Return the book that changed last at an instant of `changed_ns`."""
    at_s = ts_ns / _S
    tick = market.tick_at(at_s)
    middle = market.price_at(at_s) * ONE
    draw = mix(market.noise ^ ts_ns)
    spread = tick * (1 + (draw & 3 if draw >> 8 & 7 else 12))  # now and then wide
    bid = max(tick, int((middle - spread / 2) // tick) * tick)
    ask = min(ONE - tick, bid + spread)
    bid = min(bid, ask - tick)
    second = int(at_s)
    bids = [] if market.one_sided and draw & 16 else _side(market, second, bid, -tick, range(tick, ONE))
    asks = [] if market.one_sided and not draw & 16 else _side(market, second, ask, tick, range(tick, ONE))
    return Book(bids, asks, _last(market, at_s, tick), tick)


def _side(market: Market, second: int, best: int, step: int, allowed: range) -> list[tuple[int, int]]:
    """Return the levels of a side. A level keeps its size for half a minute or so, each with a phase of its own."""
    levels = []
    key = market.noise ^ (0x51 if step > 0 else 0xB1)
    for place in range(_LEVELS):
        price = best + place * step
        if price not in allowed:
            break
        level = mix(key + price)
        age = (second + (level & 31)) >> 5
        draw = mix(level ^ age)
        if place and draw & 255 < _HOLE:
            continue
        wall = 40 if draw >> 40 & 63 == 0 else 1
        levels.append((price, (500 + (draw >> 8) % (2000 + place * 1500)) * wall))
    return levels


def _last(market: Market, at_s: float, tick: int) -> int | None:
    traded_s = int(at_s) // _TRADE_EVERY_S * _TRADE_EVERY_S
    if not market.traded or traded_s < market.clob_s:
        return None
    return min(ONE - tick, max(tick, round(market.price_at(traded_s) * ONE / tick) * tick))


def encoded(market: Market, book: Book, *, token: str, condition: str, outcome: int, ts_ns: int, v2: bool) -> bytes:
    """Return a book as the CLOB sends it: the worst price first, numbers as text."""
    sides = (book.bids, book.asks)
    if outcome:
        sides = [(ONE - price, size) for price, size in book.asks], [(ONE - price, size) for price, size in book.bids]
    bids, asks = (
        ",".join([f'{{"price":"{price_text(price)}","size":"{size_text(size)}"}}' for price, size in reversed(side)])
        for side in sides
    )
    last = "" if book.last is None else price_text(book.last)
    version = ',"version":"v2"' if v2 else ""
    digest = hashlib.sha1(f"{token}{bids}|{asks}{last}".encode(), usedforsecurity=False).hexdigest()
    return (
        f'{{"market":"{condition}","asset_id":"{token}","timestamp":"{ts_ns // MS}","hash":"{digest}","bids":[{bids}],'
        f'"asks":[{asks}],"min_order_size":"5","tick_size":"{price_text(book.tick)}",'
        f'"neg_risk":{"true" if market.neg_risk else "false"},"last_trade_price":"{last}"'
        f"{version}}}"
    ).encode()
