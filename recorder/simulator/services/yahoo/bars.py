"""Prices, bars, splits and dividends of the simulated stocks, as functions of time.

`level` is a price without any split. What was traded at a time is the level divided by the splits until then, and what
the chart serves later is the level divided by all splits until the moment of the request.
"""

import math
import struct
from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

import msgspec

from recorder.simulator.services.noise import mix, path, uniform
from recorder.simulator.services.yahoo.calendar import ALWAYS, LONDON, NEW_YORK, Exchange, Session

MINUTE_S = 60
_EMPTY = 47  # one of so many minutes has no trade
_REVISED = 2  # bars after which a bar is revised no more


class Stock(msgspec.Struct, frozen=True):
    """One symbol."""

    symbol: str
    name: str
    exchange: Exchange
    currency: str | None
    start: float
    volume: int  # of a usual minute
    kind: str = "EQUITY"
    trades: bool = True  # else its chart has no rows
    hint: int = 2

    @property
    def key(self) -> int:
        """Return the key of its random paths."""
        return int.from_bytes(self.symbol.encode().ljust(8, b"\0")[:8], "big")


class Bar(NamedTuple):
    """One bar at its level, before any split."""

    start_s: int
    open: float
    high: float
    low: float
    close: float
    volume: int
    final: bool  # it is not revised any more


class Action(NamedTuple):
    """A split (`numerator` new shares for `denominator` old ones) or a dividend on the day it takes effect."""

    at_s: int
    numerator: int = 0
    denominator: int = 0
    amount: float = 0.0  # dollars per share, at the level


STOCKS = {
    one.symbol: one
    for one in (
        Stock("TAPE", "Tapedeck Always Open", ALWAYS, "USD", 42.0, 900),
        Stock("AAPL", "Apple Inc.", NEW_YORK, "USD", 210.0, 120_000),
        Stock("VOD.L", "Vodafone Group", LONDON, "GBp", 96.0, 60_000),
        Stock("LUCYW", "Innovative Eyewear", NEW_YORK, None, 0.12, 0, trades=False, hint=4),
    )
}


def level(seed: int, stock: Stock, at_s: float) -> float:
    """Return the price without any split."""
    key = stock.key ^ mix(seed)
    return stock.start * math.exp(0.15 * path(key, at_s, 4_000_000.0) + 0.006 * path(key + 7, at_s, 7_200.0))


def float32(value: float) -> float:
    """Return a number as a float of 32 bits that was widened to 64, which is what the chart sends."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def minute_bars(seed: int, stock: Stock, session: Session, step_s: int, now_s: float) -> Iterator[Bar | int]:
    """Yield the bars of a session that have begun; for a bar without trade only its time."""
    key = stock.key ^ mix(seed ^ step_s)
    end_s = min(session.close_s, int(now_s) + 1)
    for start_s in range(session.open_s, end_s, step_s):
        first = start_s == session.open_s
        if not first and mix(key + start_s) % _EMPTY == 0:
            yield start_s
        else:
            yield _bar(seed, stock, start_s, min(step_s, session.close_s - start_s), now_s, first=first)


def day_bar(seed: int, stock: Stock, session: Session, now_s: float) -> Bar:
    """Return the bar of a session, which is incomplete while the session lasts."""
    return _bar(seed, stock, session.open_s, session.close_s - session.open_s, now_s, first=False)


def _bar(seed: int, stock: Stock, start_s: int, span_s: int, now_s: float, *, first: bool) -> Bar:
    if now_s >= start_s + span_s + _REVISED * min(span_s, MINUTE_S):
        return _final_bar(seed, stock.symbol, start_s, span_s, first)
    return _make_bar(seed, stock, start_s, span_s, now_s, first)


@lru_cache(maxsize=20_000)
def _final_bar(seed: int, symbol: str, start_s: int, span_s: int, first: bool) -> Bar:
    return _make_bar(seed, STOCKS[symbol], start_s, span_s, None, first)


def _make_bar(seed: int, stock: Stock, start_s: int, span_s: int, now_s: float | None, first: bool) -> Bar:
    """Return a bar as it is at a moment, or as it stays (None)."""
    until_s = start_s + span_s if now_s is None else min(start_s + span_s, now_s)
    points = [level(seed, stock, start_s + (until_s - start_s) * part / 6) for part in range(7)]
    usual = stock.volume * span_s / MINUTE_S * (0.3 + 2 * uniform(stock.key ^ start_s ^ span_s << 40))
    # The newest bars are revised: their volume still grows.
    done = 1.0 if now_s is None else min(1.0, max(0.05, (until_s - start_s) / span_s)) * 0.8
    volume = 0 if first else int(usual * done)
    return Bar(start_s, points[0], max(points), min(points), points[-1], volume, now_s is None)


# ---- splits and dividends


def actions(stock: Stock, first: date, last: date) -> Iterator[Action]:
    """Yield the splits and dividends of a range of days, both included.

    The stock that is always open splits every Monday, the others at the first session of every half year, each time
    the other way. It pays every Thursday, the others at the first session of every quarter.
    """
    for session in stock.exchange.sessions(first, last):
        day = session.day
        before = stock.exchange.sessions(day.replace(day=1), day - timedelta(days=1))
        opens_month = day.day <= 8 and next(before, None) is None
        always = stock.exchange.always
        if (always and day.weekday() == 0) or (not always and opens_month and day.month in (1, 7)):
            turn = day.toordinal() // 7 if always else day.month // 7
            yield Action(session.open_s, *((2, 1) if turn % 2 == 0 else (1, 2)))
        if (always and day.weekday() == 3) or (not always and opens_month and day.month in (2, 5, 8, 11)):
            yield Action(session.open_s, amount=round(stock.start * 0.004, 3))


def factor(stock: Stock, at_s: float) -> float:
    """Return how many shares there are for each one of the level."""
    splits = _splits(stock.symbol, stock.exchange.day(at_s).year)
    last = bisect_right(splits, at_s, key=lambda one: one.at_s) - 1
    # Each split undoes the one before, so the last one decides.
    return 2.0 if last >= 0 and splits[last].numerator == 2 else 1.0


@lru_cache(maxsize=64)
def _splits(symbol: str, year: int) -> list[Action]:
    found = actions(STOCKS[symbol], date(year - 1, 1, 1), date(year, 12, 31))
    return [one for one in found if one.numerator]
