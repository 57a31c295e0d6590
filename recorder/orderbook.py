"""One side of an order book: prices kept sorted, a value for each.

A dict with a bisected list beats tree containers by four at the sizes venues send (tests/bench).
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

    def keep_lowest(self, depth: int) -> None:
        """Forget all but the `depth` lowest prices (an ask side cut to its subscribed depth)."""
        for price in self.prices[depth:]:
            del self.values[price]
        del self.prices[depth:]

    def keep_highest(self, depth: int) -> None:
        """Forget all but the `depth` highest prices (a bid side cut to its subscribed depth)."""
        surplus = len(self.prices) - depth
        if surplus > 0:
            for price in self.prices[:surplus]:
                del self.values[price]
            del self.prices[:surplus]
