"""A seeded market: books that follow a random walk, trades at the touch, contiguous trade ids.

It has no socket and no clock; the caller passes the time. Prices and sizes are integers in units of the symbol's last
decimal, so that a venue can print them exactly.
"""

import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from recorder.simulator.book import BookSide

Taker = Literal["b", "s"]

_HISTORY = 20_000  # trades kept per symbol for REST
_PAST_TRADES = 60  # made before the market opens: Kraken's snapshot carries fifty
_REACH = 3  # a side may reach this many times its depth in typical gaps; a full side fills about half of it


class Spec(msgspec.Struct, frozen=True):
    """One symbol of the market, with the precision of a venue."""

    base: str
    quote: str
    price: float  # where the walk starts
    price_decimals: int
    size_decimals: int
    usual_size: float  # median of a level
    tick: int = 1  # in units of the last decimal
    weight: int = 1  # its part of the events, relative to the other symbols


class Trade(msgspec.Struct, gc=False):
    """One print."""

    id: int
    ts_ns: int
    price: int
    size: int
    taker: Taker
    sequence: int  # number in the symbol's full feed


class Change(msgspec.Struct, gc=False):
    """One level's absolute size before and after an event."""

    price: int
    old: int
    new: int


class Step(msgspec.Struct, gc=False):
    """The effects of one market event: its trades in order, and the net change of each level."""

    market: "SymbolMarket"
    ts_ns: int
    trades: list[Trade]
    bids: list[Change]
    asks: list[Change]
    touched: bool  # the best bid or ask, or its size, changed


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
    """Book and prints of one symbol.

    Every level lies between `lowest` and `highest`, and takers pull the price back to where it began. So a market
    that runs for days neither reaches the floor nor runs out of prices for its book.
    """

    least = 3
    """Levels of a side from which on it grows outwards only; with fewer it may also grow into the spread."""

    def __init__(self, spec: Spec, rng: random.Random, depth: int, first_trade_id: int, now_ns: int) -> None:
        self.spec = spec
        self.bids = BookSide(-1)
        self.asks = BookSide(1)
        self.next_id = first_trade_id
        self.sequence = rng.randint(10_000, 90_000) * 1000
        self.history: deque[Trade] = deque(maxlen=_HISTORY)
        self.past: Sequence[Trade] = self.history  # as REST lists it
        self._rng = rng
        self._depth = depth
        self._start = round(spec.price * 10**spec.price_decimals / spec.tick) * spec.tick
        self.lowest, self.highest = self._bounds()
        # The typical distance of neighbouring levels is a twentieth of a basis point of the price, at least a tick.
        self._spacing = max(1.0, self._start * 0.000005 / spec.tick)
        # How far a side may reach from its best price. An exponential gap rounds up, hence a mean of about 1.6 ticks.
        self._reach = int(depth * _REACH * self._spacing) * spec.tick
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
        """Make one event: a trade (28 %), a level set (44 %), or a level cancelled."""
        bids: dict[int, Change] = {}
        asks: dict[int, Change] = {}
        trades: list[Trade] = []
        best = (self.bids.best, self.asks.best)
        sizes = (self.bids.size(best[0]), self.asks.size(best[1]))
        draw = self._rng.random()
        self.sequence += 1 + int(draw * 7)  # the full feed also counts orders that the book does not show
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

    def resume(self, trades: Sequence[Trade]) -> None:
        """Continue after the prints of an earlier run, in place of the past that this one invented.

        Args:
            trades: In order, at least one.
        """
        self.history.clear()
        self.history.extend(trades)
        self.next_id = trades[-1].id + 1

    def restart_ids(self, first: int) -> None:
        """Number the trades from `first` on again."""
        self.next_id = first

    def _bounds(self) -> tuple[int, int]:
        """Return the lowest and the highest price of a level."""
        tick = self.spec.tick
        return max(tick, self._start // 4 // tick * tick), self._start * 4

    def _inside(self, price: int) -> int:
        """Return the nearest price that a level may have."""
        return min(self.highest, max(self.lowest, price))

    def _may_shrink(self, side: BookSide) -> bool:
        """Return whether a trade may remove a level of a side."""
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
        """Let a taker trade at the touch, sometimes through a few levels: one print per level."""
        rng = self._rng
        pull = (self._start - self.asks.best) / self._start * 4  # keeps the price near its start
        taker: Taker = "b" if rng.random() < 0.5 + max(-0.35, min(0.35, pull)) else "s"
        side, changes = (self.asks, asks) if taker == "b" else (self.bids, bids)
        remaining = self._size() // 2 + 1
        trades: list[Trade] = []
        while remaining > 0 and len(trades) < 4 and self._may_shrink(side):
            price = side.best
            available = side.size(price)
            size = min(remaining, available)
            self._set(side, changes, price, available - size)
            self.sequence += 1
            trade = Trade(self.next_id, ts_ns, price, size, taker, self.sequence)
            self.next_id += 1
            remaining -= size
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
        """Set a level: a new one inside the spread or near the touch, or another size at an existing one."""
        rng = self._rng
        side, changes = (self.bids, bids) if rng.random() < 0.5 else (self.asks, asks)
        spread = (self.asks.best - self.bids.best) // self.spec.tick
        draw = rng.random()
        if spread > 3 * self._spacing and draw < 0.6:
            middle = self.bids.best + spread // 2 * self.spec.tick  # without these the spread would widen for ever
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
        """Remove a level near the touch, or the outermost one where the price has left it behind."""
        side, changes = (self.bids, bids) if self._rng.random() < 0.5 else (self.asks, asks)
        price = side.price_at(len(side) - 1)
        if abs(price - side.best) <= self._reach:
            price = side.price_at(min(len(side) - 1, int(self._rng.expovariate(0.08))))
        self._set(side, changes, price, 0)
        self._refill(side, changes)

    def _refill(self, side: BookSide, changes: dict[int, Change]) -> None:
        """Add levels until a side has three quarters of its depth, as far as there are free prices."""
        for _ in range(self._depth * 3 // 4 - len(side)):
            price = self._free_price(side)
            if price is None:
                return
            self._set(side, changes, price, self._size())

    def _free_price(self, side: BookSide) -> int | None:
        """Return a price without a level, the first one from a random price on; None where every price is used."""
        room = self._room(side)
        if not room:
            return None
        first = int(self._rng.expovariate(5 / len(room)))  # mostly near the touch, where trades and cancels thin it out
        for index in range(len(room)):  # ends after as many turns as the room has levels, and one more
            price = room[(first + index) % len(room)]
            if not side.size(price):
                return price
        return None

    def _room(self, side: BookSide) -> range:
        """Return the prices at which a side may grow, near the touch first."""
        tick = self.spec.tick
        if side is self.asks:
            start = side.best if len(side) >= self.least else (self.bids.best // tick + 1) * tick
            return range(start, min(self.highest, start + self._reach) + 1, tick)
        start = side.best if len(side) >= self.least else (self.asks.best - 1) // tick * tick
        return range(start, max(self.lowest, start - self._reach) - 1, -tick)


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
        self._last_ns = now_ns // 1_000_000 * 1_000_000  # some venues print only milliseconds
        self.origin_ns = self._last_ns - _PAST_TRADES * 1_000_000_000
        self.symbols = [
            kind(spec, random.Random(self._rng.getrandbits(64)), depth, first_trade_id, self._last_ns) for spec in specs
        ]
        self._weighted = [symbol for symbol in self.symbols for _ in range(symbol.spec.weight)]

    def step(self, now_ns: int) -> Step:
        """Make one event of a random symbol, at least a microsecond later than the event before."""
        self._last_ns = max(now_ns // 1000 * 1000, self._last_ns + 1000)
        return self._rng.choice(self._weighted).step(self._last_ns)


def minutes(trades: Iterable[Trade], first_s: int, last_s: int) -> list[tuple[int, list[Trade]]]:
    """Return the trades of each minute that has any, with its begin in seconds; the ends are included."""
    found: dict[int, list[Trade]] = {}
    for one in trades:
        minute = one.ts_ns // 60_000_000_000 * 60
        if first_s <= minute <= last_s:
            found.setdefault(minute, []).append(one)
    return sorted(found.items())


def text(value: int, decimals: int) -> str:
    """Return an integer in units of the last decimal as text with all its decimals."""
    if decimals == 0:
        return str(value)
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def short_text(value: int, decimals: int) -> str:
    """Return an integer in units of the last decimal as text without trailing zeros."""
    return text(value, decimals).rstrip("0").rstrip(".") if decimals else str(value)
