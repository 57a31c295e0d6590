"""A seeded market that knows the truth: random-walk books, trades at the touch, contiguous trade ids.

Pure: no socket, and no clock of its own; the caller passes the time. Prices and sizes are integers in
units of the symbol's last decimal, so that a dialect prints them exactly.
"""

import random
from collections import deque
from collections.abc import Sequence
from typing import Literal

import msgspec

from recorder.simulator.book import BookSide

Taker = Literal["b", "s"]

_HISTORY = 20_000  # trades kept per symbol for REST
_PAST_TRADES = 60  # made before the market opens: Kraken's snapshot carries fifty


class Spec(msgspec.Struct, frozen=True):
    """One symbol of the market, in a venue's precision."""

    base: str
    quote: str
    price: float  # where the walk starts
    price_decimals: int
    size_decimals: int
    usual_size: float  # median of a level
    tick: int = 1  # in units of the last decimal
    weight: int = 1  # share of the events


class Trade(msgspec.Struct, gc=False):
    """One print."""

    id: int
    ts_ns: int
    price: int
    size: int
    taker: Taker
    sequence: int  # of the symbol's full feed


class Change(msgspec.Struct, gc=False):
    """One level's absolute size before and after an event."""

    price: int
    old: int
    new: int


class Step(msgspec.Struct, gc=False):
    """What one event of the market did, in order: the trades, and the net change of each level."""

    market: "SymbolMarket"
    ts_ns: int
    trades: list[Trade]
    bids: list[Change]
    asks: list[Change]
    touched: bool  # best bid or ask, or a size there, is another


class Stats(msgspec.Struct):
    """Running figures of a symbol since the market opened."""

    open: int
    high: int
    low: int
    last: int
    volume: int = 0
    notional: int = 0  # price units times size units
    trades: int = 0


class SymbolMarket:
    """Book and prints of one symbol."""

    def __init__(self, spec: Spec, rng: random.Random, depth: int, first_trade_id: int, now_ns: int) -> None:
        self.spec = spec
        self.bids = BookSide(-1)
        self.asks = BookSide(1)
        self.next_id = first_trade_id
        self.sequence = rng.randint(10_000, 90_000) * 1000
        self.history: deque[Trade] = deque(maxlen=_HISTORY)
        self._rng = rng
        self._depth = depth
        self._start = round(spec.price * 10**spec.price_decimals / spec.tick) * spec.tick
        # Typical distance of neighbouring levels: a twentieth of a basis point of the price, at least a tick.
        self._spacing = max(1.0, self._start * 0.000005 / spec.tick)
        self._median = max(1, round(spec.usual_size * 10**spec.size_decimals))
        self.stats = Stats(self._start, self._start, self._start, self._start)
        for side in (self.bids, self.asks):
            price = self._start
            for _ in range(depth):
                price += self._gap() if side is self.asks else -self._gap()
                side.set(self._inside(price), self._size())
        for index in range(_PAST_TRADES):
            past_ns = now_ns - (_PAST_TRADES - index) * 1_000_000_000
            self._trade(past_ns, {}, {})
            for _ in range(3):
                self._place({}, {})

    def step(self, ts_ns: int) -> Step:
        """Let one thing happen: a trade (28 %), a level set (44 %), or a level cancelled."""
        bids: dict[int, Change] = {}
        asks: dict[int, Change] = {}
        trades: list[Trade] = []
        best = (self.bids.best, self.asks.best)
        sizes = (self.bids.size(best[0]), self.asks.size(best[1]))
        draw = self._rng.random()
        self.sequence += 1 + int(draw * 7)  # the full feed counts orders that we do not show
        if draw < 0.28:
            trades = self._trade(ts_ns, bids, asks)
        elif draw < 0.72:
            self._place(bids, asks)
        else:
            self._cancel(bids, asks)
        after = (self.bids.best, self.asks.best)
        touched = after != best or (self.bids.size(after[0]), self.asks.size(after[1])) != sizes
        changed = [c for c in bids.values() if c.old != c.new], [c for c in asks.values() if c.old != c.new]
        return Step(self, ts_ns, trades, changed[0], changed[1], touched)

    def restart_ids(self, first: int) -> None:
        """Count trades anew from `first`."""
        self.next_id = first

    def _inside(self, price: int) -> int:
        """The nearest price there can be."""
        return max(self.spec.tick, price)

    def _eatable(self, side: BookSide) -> bool:
        """Whether a side has levels to spare."""
        return len(side) > self._depth // 2 + 1

    def _gap(self) -> int:
        return (1 + int(self._rng.expovariate(1.0 / self._spacing))) * self.spec.tick

    def _size(self) -> int:
        return max(1, int(self._median * self._rng.lognormvariate(0.0, 1.2)))

    def _set(self, side: BookSide, changes: dict[int, Change], price: int, size: int) -> None:
        old = side.set(price, size)
        known = changes.get(price)
        if known is None:
            changes[price] = Change(price, old, size)
        else:
            known.new = size

    def _trade(self, ts_ns: int, bids: dict[int, Change], asks: dict[int, Change]) -> list[Trade]:
        """A taker eats from the touch, at times through a few levels: one print per level."""
        rng = self._rng
        pull = (self._start - self.asks.best) / self._start * 4  # towards where it began, so that it never runs off
        taker: Taker = "b" if rng.random() < 0.5 + max(-0.35, min(0.35, pull)) else "s"
        side, changes = (self.asks, asks) if taker == "b" else (self.bids, bids)
        wanted = self._size() // 2 + 1
        trades: list[Trade] = []
        while wanted > 0 and len(trades) < 4 and self._eatable(side):
            price = side.best
            there = side.size(price)
            size = min(wanted, there)
            self._set(side, changes, price, there - size)
            self.sequence += 1
            trade = Trade(self.next_id, ts_ns, price, size, taker, self.sequence)
            self.next_id += 1
            wanted -= size
            trades.append(trade)
            self.history.append(trade)
            self._count(trade)
        self._refill(side, changes)
        return trades

    def _count(self, trade: Trade) -> None:
        stats = self.stats
        stats.last = trade.price
        stats.high = max(stats.high, trade.price)
        stats.low = min(stats.low, trade.price)
        stats.volume += trade.size
        stats.notional += trade.size * trade.price
        stats.trades += 1

    def _place(self, bids: dict[int, Change], asks: dict[int, Change]) -> None:
        """Set a level: new inside the spread, new near the touch, or another size at an old one."""
        rng = self._rng
        side, changes = (self.bids, bids) if rng.random() < 0.5 else (self.asks, asks)
        spread = (self.asks.best - self.bids.best) // self.spec.tick
        draw = rng.random()
        if spread > 3 * self._spacing and draw < 0.6:
            middle = self.bids.best + spread // 2 * self.spec.tick  # offers gather there, or it widens for ever
            price = middle + (-self._gap() if side is self.bids else self._gap())
        elif spread > 1 and draw < 0.25:
            better = rng.randint(1, min(spread - 1, int(self._spacing) + 1)) * self.spec.tick
            price = side.best + (better if side is self.bids else -better)
        elif draw < 0.75:
            price = side.price_at(min(len(side) - 1, int(rng.expovariate(0.12))))
        else:
            near = side.price_at(min(len(side) - 1, int(rng.expovariate(0.08))))
            price = near + (-self._gap() if side is self.bids else self._gap())
        self._set(side, changes, self._inside(price), self._size())
        if len(side) > self._depth * 5 // 4:
            self._set(side, changes, side.price_at(len(side) - 1 - rng.randrange(8)), 0)

    def _cancel(self, bids: dict[int, Change], asks: dict[int, Change]) -> None:
        side, changes = (self.bids, bids) if self._rng.random() < 0.5 else (self.asks, asks)
        price = side.price_at(min(len(side) - 1, int(self._rng.expovariate(0.08))))
        self._set(side, changes, price, 0)
        self._refill(side, changes)

    def _refill(self, side: BookSide, changes: dict[int, Change]) -> None:
        while len(side) < self._depth * 3 // 4:
            price = side.price_at(len(side) - 1)
            price += self._gap() if side is self.asks else -self._gap()
            self._set(side, changes, self._inside(price), self._size())


class Market:
    """All symbols of one venue, from one seed."""

    def __init__(
        self,
        specs: Sequence[Spec],
        *,
        seed: int,
        now_ns: int,
        depth: int = 400,
        first_trade_id: int = 1_000_000,
        kind: type[SymbolMarket] = SymbolMarket,
    ) -> None:
        self.seed = seed
        self.depth = depth
        self._rng = random.Random(seed)
        self._last_ns = now_ns // 1_000_000 * 1_000_000  # whole: some venues print no more than milliseconds
        self.origin_ns = self._last_ns - _PAST_TRADES * 1_000_000_000
        self.symbols = [
            kind(spec, random.Random(self._rng.getrandbits(64)), depth, first_trade_id, self._last_ns) for spec in specs
        ]
        self._weighted = [symbol for symbol in self.symbols for _ in range(symbol.spec.weight)]

    def step(self, now_ns: int) -> Step:
        """One event of some symbol, at a time that rises by at least a microsecond each event."""
        self._last_ns = max(now_ns // 1000 * 1000, self._last_ns + 1000)
        return self._rng.choice(self._weighted).step(self._last_ns)


def text(value: int, decimals: int) -> str:
    """An integer in units of the last decimal, with all its decimals."""
    if decimals == 0:
        return str(value)
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def short_text(value: int, decimals: int) -> str:
    """An integer in units of the last decimal, without idle zeros."""
    return text(value, decimals).rstrip("0").rstrip(".") if decimals else str(value)
