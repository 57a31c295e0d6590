"""The market of a question with two outcomes: two tokens, one order book seen from both sides.

Prices are ten-thousandths of a dollar between 0 and `ONE`. A bid for one token at p is an offer of the other at
`ONE` - p, and a print names whichever of the two its taker dealt in. There are no trade ids, and the clock has
milliseconds.
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
_LEAST = 3
_ON_OTHER = 0.4  # share of the takers who deal in the second token
_EQUAL_FILLS = 0.05  # share of the prints that come as two equal ones
_NO_HASH = 0.2  # share of the takers whose transaction is not told
_USUAL = 50.0  # shares, in a market that opens later


def token_id(slug: str, outcome: str) -> str:
    """The token of an outcome: the same for every seed, a decimal number of up to 78 digits."""
    return str(int.from_bytes(hashlib.sha256(f"{slug}:{outcome}".encode()).digest(), "big"))


def condition_id(slug: str) -> str:
    """The market's own id: 0x and 64 hexadecimal digits."""
    return "0x" + hashlib.sha256(slug.encode()).hexdigest()


@lru_cache(maxsize=ONE + 1)
def price_text(price: int) -> str:
    """0.52, without idle zeros."""
    return short_text(price, 4)


def size_text(size: int) -> str:
    """85.36, without idle zeros."""
    return short_text(size, SIZE_DECIMALS)


class Print(Trade, gc=False):
    """A trade of one token, its price and taker being of that token."""

    token: str
    tx: str  # hash of the transaction, "" where the venue does not tell it
    nth: int  # how many prints of that millisecond are equal to it in all they say, itself included


class OtherOutcome(SymbolMarket):
    """The second token of a market: its prints. The book is the first one's, seen from the other side."""

    def __init__(self, spec: Spec, history: deque[Trade]) -> None:
        self.spec = spec
        self.history = history


class OutcomeMarket(SymbolMarket):
    """Book and prints of one market, in prices of its first token.

    Of its spec, `base` is the market's slug, `quote` the two outcomes ("Yes/No"), and a usual size of 0 means
    that it is not open yet: it has no book.
    """

    def __init__(self, spec: Spec, rng: random.Random, depth: int, first_trade_id: int, now_ns: int) -> None:
        self.outcomes = spec.quote.split("/")
        self.tokens = [token_id(spec.base, outcome) for outcome in self.outcomes]
        self.condition = condition_id(spec.base)
        self.number = str(int(self.condition[2:10], 16))  # what Gamma calls it
        self.open = spec.usual_size > 0
        self.winner: str | None = None  # the token that paid
        self.split = 0  # so many prints still come as two equal ones
        self.other = OtherOutcome(spec, deque(maxlen=20_000))
        self._same: dict[tuple[str, int, int, Taker, str], int] = {}
        self._same_ns = 0
        super().__init__(spec, rng, min(depth, _DEPTH), first_trade_id, now_ns)

    def begin(self) -> None:
        """Open a market that was not."""
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
        """Trade on another grid from now on; levels off it are taken out."""
        self.spec = self.other.spec = msgspec.structs.replace(self.spec, tick=tick)
        for side in (self.bids, self.asks):
            for price, _ in side.levels():
                if price % tick:
                    side.set(price, 0)
            self._refill(side, {})

    def step(self, ts_ns: int) -> Step:
        """Let one thing happen, unless the market is closed."""
        if not self.open:
            return Step(self, ts_ns, [], [], [], False)
        return super().step(ts_ns)

    def levels(self, token: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Bids and asks of one of the tokens, (price, size), best first."""
        bids, asks = self.bids.levels(), self.asks.levels()
        if token == self.tokens[0]:
            return bids, asks
        return [(ONE - price, size) for price, size in asks], [(ONE - price, size) for price, size in bids]

    def touch(self, token: str) -> tuple[int, int]:
        """Best bid and ask of one of the tokens."""
        bid, ask = self.bids.best, self.asks.best
        return (bid, ask) if token == self.tokens[0] else (ONE - ask, ONE - bid)

    def _inside(self, price: int) -> int:
        tick = self.spec.tick
        return min(ONE - tick, max(tick, price // tick * tick))

    def _refill(self, side: BookSide, changes: dict[int, Change]) -> None:
        short = self._depth * 3 // 4 - len(side)
        if short <= 0:
            return
        tick = self.spec.tick
        if len(side) >= _LEAST:  # outwards, as far as there is room: near an edge a side has few prices
            room = range(self.asks.best, ONE, tick) if side is self.asks else range(tick, self.bids.best, tick)
        else:
            room = range(self.bids.best + tick, ONE, tick) if side is self.asks else range(tick, self.asks.best, tick)
        free = [price for price in room if not side.size(price)]
        for price in self._rng.sample(free, min(short, len(free))):
            self._set(side, changes, price, self._size())

    def _eatable(self, side: BookSide) -> bool:
        return len(side) > _LEAST

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

    def _nth(self, ts_ns: int, said: tuple[str, int, int, Taker, str]) -> int:
        if ts_ns != self._same_ns:
            self._same_ns = ts_ns
            self._same.clear()
        self._same[said] = nth = self._same.get(said, 0) + 1
        return nth
