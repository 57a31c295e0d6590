"""The book of OKX: a window of 400 levels, a chain of sequences, and the CRC-32 of its best 25 levels."""

import zlib
from itertools import zip_longest

from recorder.simulator.book import BookSide
from recorder.simulator.market import Step, SymbolMarket
from recorder.simulator.venues.okx.fills import plain
from recorder.truth import Pairs

DEPTH = 400
_CHECKED = 25

Levels = list[tuple[int, int]]


class OkxBook:
    """The published state of one symbol's book, which is the same on every connection."""

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
        """Return the sequence that the market has reached."""
        return self.number(self._market.sequence)

    def number(self, sequence: int) -> int:
        """Return the venue's number for a sequence of the market."""
        return max(0, sequence + self._offset)

    def restart(self) -> None:
        """Restart the sequence."""
        self._offset = 1 - self._market.sequence

    def begin(self, now_s: float) -> None:
        """Start the chain here, at the first subscriber."""
        self.sent, self.sent_s = self.now, now_s
        self._worst = _worst(self._market)
        self._bids, self._asks = set(), set()

    def add(self, step: Step) -> None:
        """Add the changes of a market event."""
        self._bids.update([change.price for change in step.bids])
        self._asks.update([change.price for change in step.asks])

    def take(self) -> tuple[Levels, Levels]:
        """Return the levels to send, best first: those that changed in the window, entered it or left it."""
        if not self._bids and not self._asks:
            return [], []
        market = self._market
        before, self._worst = self._worst, _worst(market)
        bids = _changed(market.bids, self._bids, before[0], self._worst[0])
        asks = _changed(market.asks, self._asks, before[1], self._worst[1])
        self._bids, self._asks = set(), set()
        return bids, asks

    def full(self) -> tuple[Levels, Levels]:
        """Return the window as it is now."""
        return self._market.bids.levels(DEPTH), self._market.asks.levels(DEPTH)

    def checksum(self) -> int:
        """Return the signed CRC-32 of price and size of the best levels, bid and ask in turn while a side has any."""
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
    """Return the levels to send. A level that came and went between two messages is deleted (captured 2022-05-13)."""
    changed = {}
    for price in prices:
        key = side.key(price)
        size = side.size(price)
        inside = after is None or key <= after
        if inside or before is None or key <= before:
            changed[price] = size if inside else 0
    if before is not None and (after is None or after > before):
        for price in side.beyond(before, DEPTH):
            changed.setdefault(price, side.size(price))  # it entered the window from below
    elif after is not None and (before is None or after < before):
        for price in side.beyond(after, len(side)):
            if before is None or side.key(price) <= before:
                changed.setdefault(price, 0)
    return sorted(changed.items(), key=lambda level: side.key(level[0]))


def pairs(market: SymbolMarket, levels: Levels) -> Pairs:
    """Return levels in the form of the truth log."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(plain(price, p), plain(size, q)) for price, size in levels]


def rows(market: SymbolMarket, levels: Levels) -> str:
    """Return levels in the form of the wire: price, size, an unused field, number of orders."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return ",".join(
        [f'["{plain(price, p)}","{plain(size, q)}","0","{1 + size % 7 if size else 0}"]' for price, size in levels]
    )
