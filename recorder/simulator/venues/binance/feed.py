"""The book of Binance: update ids, and batches of the changes between two ids."""

from recorder.simulator.market import Step, SymbolMarket
from recorder.simulator.venue import Topic
from recorder.simulator.venues.binance.rest import eight
from recorder.truth import Pairs

_OLDER = 1000  # ids between a snapshot that is always too old and the first update


class Feed:
    """The update ids of one symbol's book, and its changes since the last depth message."""

    def __init__(self, symbol: str, market: SymbolMarket, first_id: int) -> None:
        self.symbol = symbol
        self.market = market
        self.trades: Topic = ("trade", symbol, "")
        self.quotes: Topic = ("quote", symbol, "")
        self.books: Topic = ("book", symbol, "")
        self.old = first_id, self.full()
        self.last = first_id + _OLDER
        self.answered: list[tuple[float, str]] = []  # recent snapshots: the time and the User-Agent
        self._from = self.last  # id of the last update before this batch
        self._bids: dict[int, tuple[int, int]] = {}  # price: size before the batch, and now
        self._asks: dict[int, tuple[int, int]] = {}

    @property
    def pending(self) -> bool:
        """Return whether there is something to send."""
        return bool(self._bids or self._asks)

    def begin(self) -> None:
        """Start the next batch here, at the first subscriber."""
        self._from = self.last
        self._bids, self._asks = {}, {}

    def add(self, step: Step) -> None:
        """Add the changes of a market event to the batch."""
        for known, changes in ((self._bids, step.bids), (self._asks, step.asks)):
            for change in changes:
                before = known.get(change.price)
                known[change.price] = (change.old if before is None else before[0], change.new)

    def take(self) -> tuple[int, Pairs, Pairs]:
        """Return the first id of the batch and its levels, best first, and start the next batch."""
        first = self._from + 1
        bids = self._pairs([(price, now) for price, (_, now) in sorted(self._bids.items(), reverse=True)])
        asks = self._pairs([(price, now) for price, (_, now) in sorted(self._asks.items())])
        self.begin()
        return first, bids, asks

    def full(self) -> tuple[Pairs, Pairs]:
        """Return the book as it is now, best first."""
        return self._pairs(self.market.bids.levels()), self._pairs(self.market.asks.levels())

    def before(self) -> tuple[Pairs, Pairs]:
        """Return the book as it was before this batch."""
        bids = dict(self.market.bids.levels()) | {price: old for price, (old, _) in self._bids.items()}
        asks = dict(self.market.asks.levels()) | {price: old for price, (old, _) in self._asks.items()}
        return (
            self._pairs([level for level in sorted(bids.items(), reverse=True) if level[1]]),
            self._pairs([level for level in sorted(asks.items()) if level[1]]),
        )

    def _pairs(self, levels: list[tuple[int, int]]) -> Pairs:
        p, q = self.market.spec.price_decimals, self.market.spec.size_decimals
        return [(eight(price, p), eight(size, q)) for price, size in levels]


def rows(levels: Pairs) -> str:
    """Return levels in the form of the wire."""
    return ",".join([f'["{price}","{size}"]' for price, size in levels])
