"""One side of an order book, its prices kept in order.

A dict with a bisected list is four times as fast as tree containers at the sizes that venues send (tests/bench). Where
a checksum covers the best levels of every message, two lists in one order are faster still, because the checksummed
text is a slice and a join.
"""

import sys
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from recorder.venues.witness import LEVELS_COMPARED, SeenBook, levels_at

Value = TypeVar("Value")


class Side(Generic[Value]):
    """Price levels of one side.

    Attributes:
        prices: Ascending; the best bid is the last, the best ask the first.
        values: The value kept for each price: a size, or the digits that a checksum covers.
    """

    __slots__ = ("prices", "values")

    def __init__(self, levels: Iterable[tuple[float, Value]] = ()) -> None:
        self.values: dict[float, Value] = {price: value for price, value in levels if value}
        self.prices: list[float] = sorted(self.values)

    def apply(self, levels: Iterable[tuple[float, Value]]) -> None:
        """Set each level in the order given; a falsy value (size 0) removes it."""
        prices, values = self.prices, self.values
        for price, value in levels:
            if value:
                if price not in values:
                    insort(prices, price)
                values[price] = value
            elif price in values:
                del values[price]
                del prices[bisect_left(prices, price)]


CutDepth = Callable[[int], int]
"""The depth to which a book is cut, by the number of levels of its snapshot; 0: it is not cut."""


def uncut(_levels: int) -> int:
    """Return 0: the venue deletes every level itself."""
    return 0


class Sides:
    """Both sides of a book, rebuilt from its messages.

    Attributes:
        bids: Levels of the bids.
        asks: Levels of the asks.
    """

    __slots__ = ("_depth", "asks", "bids")

    def __init__(
        self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]], cut_depth: CutDepth
    ) -> None:
        """
        Args:
            bids: (price, size) of a snapshot.
            asks: The same of the other side.
            cut_depth: See `Venue.cut_depth`: without the cut, levels that left the book would come back.
        """
        self.bids, self.asks = Side(bids), Side(asks)
        self._depth = cut_depth(max(len(self.bids.prices), len(self.asks.prices)))

    def apply(self, bids: Iterable[tuple[float, float]], asks: Iterable[tuple[float, float]]) -> None:
        """Apply the levels of a message, and drop those that left the depth."""
        self.bids.apply(bids)
        self.asks.apply(asks)
        if self._depth:
            for side, gone in (self.bids, slice(None, -self._depth)), (self.asks, slice(self._depth, None)):
                for price in side.prices[gone]:
                    del side.values[price]
                del side.prices[gone]


def side_tops(bids: Side[float], asks: Side[float], sequence: int | None) -> SeenBook:
    """Return the best levels of a book."""
    return SeenBook(
        levels_at(bids.prices[: -LEVELS_COMPARED - 1 : -1], bids.values),
        levels_at(asks.prices[:LEVELS_COMPARED], asks.values),
        sequence,
    )


class RankedSide:
    """Price levels of one side, best first, as the texts that a checksum covers.

    Attributes:
        ranks: Ascending: an ask's price, or a bid's negated price, so the best is first on either side.
        texts: The checksummed text of the level at each rank.
    """

    __slots__ = ("_depth", "ranks", "texts")

    def __init__(self, levels: Iterable[tuple[float, bytes]], depth: int = sys.maxsize) -> None:
        """
        Args:
            levels: Rank and text, in any order. The later of two with one rank counts, and b"" is no level.
            depth: How many of the best levels `apply` keeps. The initial levels are kept completely.
        """
        self._depth = depth
        best_first = sorted((rank, text) for rank, text in dict(levels).items() if text)
        self.ranks: list[float] = [rank for rank, _ in best_first]
        self.texts: list[bytes] = [text for _, text in best_first]

    def apply(self, levels: Iterable[tuple[float, bytes]]) -> int:
        """Set each level in the order given, where b"" removes it, and drop the levels below the depth.

        Returns:
            How many of the best levels are unchanged: the lowest changed index, or the number of levels.
        """
        ranks, texts = self.ranks, self.texts
        same = count = len(ranks)
        for rank, text in levels:
            at = bisect_left(ranks, rank)
            if at < count and ranks[at] == rank:
                if text:
                    texts[at] = text
                else:
                    del ranks[at]
                    del texts[at]
                    count -= 1
            elif text:
                ranks.insert(at, rank)
                texts.insert(at, text)
                count += 1
            else:
                continue
            if at < same:
                same = at
        if count > self._depth:
            del ranks[self._depth :]
            del texts[self._depth :]
        return same
