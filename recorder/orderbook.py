"""One side of an order book: prices kept sorted, a value for each.

A dict with a bisected list beats tree containers by four at the sizes venues send (tests/bench). Where a checksum reads
the best levels of every message, two lists kept in one order beat the dict: its text is a slice and a join.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Side(Generic[Value]):
    """Price levels of one side.

    Attributes:
        prices: Ascending; the best bid is the last, the best ask the first.
        values: What is kept for each price: a size, or the digits a checksum needs.
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


class RankedSide:
    """Price levels of one side, best first, as the texts a checksum reads.

    Attributes:
        ranks: Ascending; an ask's price, or a bid's negated: the best is first on either side.
        texts: What the checksum reads of the level of each rank.
    """

    __slots__ = ("ranks", "texts")

    def __init__(self, levels: Iterable[tuple[float, bytes]]) -> None:
        """
        Args:
            levels: Rank and text, in any order; of two of one rank the later counts, and b"" is no level.
        """
        best_first = sorted((rank, text) for rank, text in dict(levels).items() if text)
        self.ranks: list[float] = [rank for rank, _ in best_first]
        self.texts: list[bytes] = [text for _, text in best_first]

    def apply(self, levels: Iterable[tuple[float, bytes]]) -> int:
        """Set each level in the order given; b"" removes it.

        Returns:
            How many of the best levels are as they were: the lowest index that was changed, or the number of levels.
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
        return same

    def keep(self, depth: int) -> None:
        """Forget all but the `depth` best levels."""
        del self.ranks[depth:]
        del self.texts[depth:]
