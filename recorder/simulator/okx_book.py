"""A book as OKX tells it: a window of 400 levels, a chain of sequences, and the CRC-32 of its best 25."""

import zlib
from itertools import zip_longest

from recorder.simulator.book import BookSide
from recorder.simulator.market import Step, SymbolMarket
from recorder.simulator.okx_fills import plain
from recorder.simulator.truth import Pairs

DEPTH = 400
_CHECKED = 25

Levels = list[tuple[int, int]]


class OkxBook:
    """What is told of one symbol's book: the same on every connection."""

    def __init__(self, market: SymbolMarket, first: int) -> None:
        self._market = market
        self._offset = first - market.sequence
        self.sent = first  # seqId of the last message
        self.sent_s = 0.0
        self._worst = _worst(market)
        self._bids: set[int] = set()  # prices that changed since the last message
        self._asks: set[int] = set()

    @property
    def now(self) -> int:
        """The sequence that the market has reached."""
        return self.number(self._market.sequence)

    def number(self, sequence: int) -> int:
        """A sequence of the market as this venue counts it."""
        return max(0, sequence + self._offset)

    def restart(self) -> None:
        """Count anew."""
        self._offset = 1 - self._market.sequence

    def begin(self, now_s: float) -> None:
        """Nobody listened until now: the chain begins here."""
        self.sent, self.sent_s = self.now, now_s
        self._worst = _worst(self._market)
        self._bids, self._asks = set(), set()

    def add(self, step: Step) -> None:
        """Note the changes of a market event."""
        self._bids.update([change.price for change in step.bids])
        self._asks.update([change.price for change in step.asks])

    def take(self) -> tuple[Levels, Levels]:
        """Levels to send, best first: what changed in the window, came into it, or fell out of it."""
        if not self._bids and not self._asks:
            return [], []
        market = self._market
        before, self._worst = self._worst, _worst(market)
        bids = _changed(market.bids, self._bids, before[0], self._worst[0])
        asks = _changed(market.asks, self._asks, before[1], self._worst[1])
        self._bids, self._asks = set(), set()
        return bids, asks

    def whole(self) -> tuple[Levels, Levels]:
        """The window now."""
        return self._market.bids.levels(DEPTH), self._market.asks.levels(DEPTH)

    def checksum(self) -> int:
        """Signed CRC-32 of price and size of the best levels, a bid and an ask in turn; an ended side is left out."""
        market = self._market
        parts = []
        for both in zip_longest(market.bids.levels(_CHECKED), market.asks.levels(_CHECKED)):
            for level in both:
                if level is not None:
                    parts += [plain(level[0], market.spec.price_decimals), plain(level[1], market.spec.size_decimals)]
        number = zlib.crc32(":".join(parts).encode())
        return number - (1 << 32) if number >= 1 << 31 else number


def _worst(market: SymbolMarket) -> tuple[int | None, int | None]:
    return market.bids.worst_of(DEPTH), market.asks.worst_of(DEPTH)


def _changed(side: BookSide, prices: set[int], before: int | None, after: int | None) -> Levels:
    """As captured on 2022-05-13, a level that came and went between two messages is told as gone."""
    told = {}
    for price in prices:
        key = side.key(price)
        size = side.size(price)
        inside = after is None or key <= after
        if inside or before is None or key <= before:
            told[price] = size if inside else 0
    if before is not None and (after is None or after > before):
        for price in side.beyond(before, DEPTH):
            told.setdefault(price, side.size(price))  # it came in from below
    elif after is not None and (before is None or after < before):
        for price in side.beyond(after, len(side)):
            if before is None or side.key(price) <= before:
                told.setdefault(price, 0)
    return sorted(told.items(), key=lambda level: side.key(level[0]))


def pairs(market: SymbolMarket, levels: Levels) -> Pairs:
    """Levels as the truth log has them."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(plain(price, p), plain(size, q)) for price, size in levels]


def rows(market: SymbolMarket, levels: Levels) -> str:
    """Levels on the wire: price, size, a dead field, number of orders."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return ",".join(
        [f'["{plain(price, p)}","{plain(size, q)}","0","{1 + size % 7 if size else 0}"]' for price, size in levels]
    )
