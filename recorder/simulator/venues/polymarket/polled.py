"""The markets of the simulated services on the stream: the same books and trades as at CLOB and Data API.

The world is a function of its seed, so the stream has one of its own, and no thread waits for another.
"""

from collections.abc import Iterable, Iterator

import msgspec

from recorder.simulator.services.polymarket.book import MS
from recorder.simulator.services.polymarket.feed import LAG_S, Feed
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.venues.polymarket.market import ONE, Print
from recorder.truth import BookItem, Pairs

_S = 1_000_000_000
_SIDES = {"BUY": "b", "SELL": "s"}
_BEATS = 5  # that may be late before a state of a book is left out
_LATE_S = 60  # after a jump of the clock no older trades are sent


class _Level(msgspec.Struct):
    price: str
    size: str


class _Book(msgspec.Struct):
    market: str
    bids: list[_Level]
    asks: list[_Level]


_decode = msgspec.json.Decoder(_Book).decode


class PolledMarkets:
    """Books and trades of the tokens that have subscribers."""

    def __init__(self, markets: int, seed: int, trades_per_s: float) -> None:
        self._world = World(markets, seed)
        self._feed = Feed(self._world, trades_per_s)
        self._next_s: int | None = None
        self._sent_ns: dict[str, int] = {}  # time of the last book of each token

    def condition(self, token: str, now_ns: int) -> str | None:
        """Return the condition id of a token; None where it is not one of these markets."""
        named = self._world.by_token(token, now_ns // _S)
        return None if named is None else named[0].condition(named[1].version)

    def book(self, token: str, now_ns: int) -> BookItem | None:
        """Return the book of a token, the worst price first; None without a book."""
        served = self._world.served(token, now_ns)
        if served is None:
            return None
        self._sent_ns[token] = served[0]
        book = _decode(served[1])
        bids, asks = _pairs(book.bids), _pairs(book.asks)
        return BookItem(0, token, served[0] // MS * MS, now_ns, True, bids, asks)

    def changed(self, tokens: Iterable[str], now_ns: int) -> Iterator[BookItem]:
        """Yield the books that have changed since they were read last."""
        for token in tokens:
            before = self._sent_ns.get(token, now_ns)
            for at_ns in range(max(before + _S, now_ns - _BEATS * _S), now_ns, _S):
                book = self.book(token, at_ns)  # a book changes once a second at most, and a beat may be late
                if book is not None and book.ts is not None and book.ts > before:
                    before = book.ts
                    yield book
            newest = self.book(token, now_ns)
            if newest is not None and newest.ts != before:
                yield newest

    def forget(self, token: str) -> None:
        """Forget a token without subscribers."""
        self._sent_ns.pop(token, None)

    def trades(self, tokens: set[str], now_ns: int) -> Iterator[Print]:
        """Yield the trades since the last call, as late as the Data API has them."""
        until_s = now_ns // _S - LAG_S
        first_s = until_s if self._next_s is None else max(self._next_s, until_s - _LATE_S)
        self._next_s = until_s + 1
        seen: dict[tuple[object, ...], int] = {}
        for at_s in range(first_s, until_s + 1):
            for row in self._feed.second(at_s) if tokens else ():
                if row.token not in tokens:
                    continue
                price, size = round(row.price * ONE), round(row.size * 100)
                taker = _SIDES[row.side]
                key = (at_s, row.token, price, size, taker, row.tx)
                seen[key] = nth = seen.get(key, 0) + 1
                yield Print(0, at_s * _S, price, size, "b" if taker == "b" else "s", 0, row.token, row.tx, nth)


def _pairs(levels: list[_Level]) -> Pairs:
    return [(level.price, level.size) for level in levels]
