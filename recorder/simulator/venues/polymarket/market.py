"""The market of a question with two outcomes: two tokens, and one order book that both share.

Prices are ten-thousandths of a dollar between 0 and `ONE`. A bid for one token at p is an offer of the other at
`ONE` - p, and a print names the token in which its taker traded. There are no trade ids, and times are milliseconds.
"""

import hashlib
import random
from collections import deque
from functools import lru_cache

import msgspec

from recorder.simulator.book import BookSide
from recorder.simulator.market import Change, Spec, Step, SymbolMarket, Taker, Trade, short_text

ONE = 10_000
SIZE_DECIMALS = 2
_DEPTH = 20  # a grid of cents has 99 prices for both sides
_ON_OTHER = 0.4  # fraction of the takers who trade the second token
_EQUAL_FILLS = 0.05  # fraction of the prints that are sent as two equal ones
_NO_HASH = 0.2  # fraction of the takers without a transaction hash
_USUAL = 50.0  # usual size in a market that opens later


def token_id(slug: str, outcome: str) -> str:
    """Return the token of an outcome, a decimal number of up to 78 digits; it is the same for every seed."""
    return str(int.from_bytes(hashlib.sha256(f"{slug}:{outcome}".encode()).digest(), "big"))


def condition_id(slug: str) -> str:
    """Return the id of the market itself: 0x and 64 hexadecimal digits."""
    return "0x" + hashlib.sha256(slug.encode()).hexdigest()


@lru_cache(maxsize=ONE + 1)
def price_text(price: int) -> str:
    """Return a price like 0.52, without trailing zeros."""
    return short_text(price, 4)


def size_text(size: int) -> str:
    """Return a size like 85.36, without trailing zeros."""
    return short_text(size, SIZE_DECIMALS)


class Print(Trade, gc=False):
    """A trade of one token, with the price and the taker's side of that token."""

    token: str
    tx: str  # hash of the transaction, "" where the venue does not publish it
    nth: int  # its number among the equal prints of that millisecond, from 1


class OtherOutcome(SymbolMarket):
    """The prints of a market's second token. Its book is the mirror image of the first token's."""

    def __init__(self, spec: Spec, history: deque[Trade]) -> None:
        self.spec = spec
        self.history = history


class OutcomeMarket(SymbolMarket):
    """Book and prints of one market, in prices of its first token.

    In its spec, `base` is the market's slug and `quote` the two outcomes ("Yes/No"). A usual size of 0 means that the
    market is not open yet and publishes no book.
    """

    def __init__(self, spec: Spec, rng: random.Random, depth: int, first_trade_id: int, now_ns: int) -> None:
        self.outcomes = spec.quote.split("/")
        self.tokens = [token_id(spec.base, outcome) for outcome in self.outcomes]
        self.condition = condition_id(spec.base)
        self.number = str(int(self.condition[2:10], 16))  # its id at Gamma
        self.open = spec.usual_size > 0
        self.winner: str | None = None  # the token that paid
        self.split = 0  # how many more prints are sent as two equal ones
        self.other = OtherOutcome(spec, deque(maxlen=20_000))
        self._same: dict[tuple[str, int, int, Taker, str], int] = {}
        self._same_ns = 0
        super().__init__(spec, rng, min(depth, _DEPTH), first_trade_id, now_ns)

    def begin(self) -> None:
        """Open a market that was not open."""
        self.open = True
        self._median = round(_USUAL * 10**SIZE_DECIMALS)
        for side in (self.bids, self.asks):
            for price, _ in side.levels():
                side.set(price, self._size())

    def resolve(self, winner: str) -> None:
        """End trading; the winning token pays one dollar."""
        self.open = False
        self.winner = winner

    def set_tick(self, tick: int) -> None:
        """Trade on another grid from now on; levels off the grid are removed.

        Raises:
            ValueError: the grid has no price for one of the sides.
        """
        if not (tick < self.asks.best and self.bids.best < (ONE - 1) // tick * tick):
            raise ValueError(f"a tick of {price_text(tick)} leaves no price for one of the sides")
        self.spec = self.other.spec = msgspec.structs.replace(self.spec, tick=tick)
        self.lowest, self.highest = self._bounds()
        for side in (self.bids, self.asks):
            for price, _ in side.levels():
                if price % tick:
                    side.set(price, 0)
            self._refill(side, {})

    def step(self, ts_ns: int) -> Step:
        """Make one event, unless the market is closed."""
        if not self.open:
            return Step(self, ts_ns, [], [], [], False)
        return super().step(ts_ns)

    def levels(self, token: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return bids and asks of one of the tokens as (price, size), best first."""
        bids, asks = self.bids.levels(), self.asks.levels()
        if token == self.tokens[0]:
            return bids, asks
        return [(ONE - price, size) for price, size in asks], [(ONE - price, size) for price, size in bids]

    def touch(self, token: str) -> tuple[int, int]:
        """Return the best bid and ask of one of the tokens."""
        bid, ask = self.bids.best, self.asks.best
        return (bid, ask) if token == self.tokens[0] else (ONE - ask, ONE - bid)

    def _bounds(self) -> tuple[int, int]:
        tick = self.spec.tick
        return tick, (ONE - 1) // tick * tick

    def _inside(self, price: int) -> int:
        return super()._inside(price // self.spec.tick * self.spec.tick)

    def _may_shrink(self, side: BookSide) -> bool:
        return len(side) > self.least

    def _trade(self, ts_ns: int, bids: dict[int, Change], asks: dict[int, Change]) -> list[Trade]:
        if not self.open:
            return []
        eaten = super()._trade(ts_ns, bids, asks)
        rng = self._rng
        on_other = rng.random() < _ON_OTHER
        token, history = (self.tokens[1], self.other.history) if on_other else (self.tokens[0], self.history)
        tx = "" if rng.random() < _NO_HASH else f"0x{rng.getrandbits(256):064x}"
        for _ in eaten:
            self.history.pop()
        prints: list[Trade] = []
        ts_ns = ts_ns // 1_000_000 * 1_000_000
        for trade in eaten:
            price, taker = trade.price, trade.taker
            if on_other:
                price, taker = ONE - price, "s" if taker == "b" else "b"
            for size in self._fills(trade.size):
                nth = self._nth(ts_ns, (token, price, size, taker, tx))
                prints.append(Print(trade.id, ts_ns, price, size, taker, trade.sequence, token, tx, nth))
        history.extend(prints)
        return prints

    def _fills(self, size: int) -> list[int]:
        if size < 2 or not (self.split or self._rng.random() < _EQUAL_FILLS):
            return [size]
        self.split = max(0, self.split - 1)
        half = size // 2
        return [half, half, *([1] if size % 2 else [])]

    def _nth(self, ts_ns: int, key: tuple[str, int, int, Taker, str]) -> int:
        if ts_ns != self._same_ns:
            self._same_ns = ts_ns
            self._same.clear()
        self._same[key] = nth = self._same.get(key, 0) + 1
        return nth
