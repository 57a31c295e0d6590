"""An invented market: trades, best prices and a book of one symbol, in whole ticks."""

import random
from dataclasses import dataclass, field

_RANGE = 20  # ticks a side in which levels come and go
_LEAST = 12  # levels a side that always stay
NEAR = 10  # levels a side from which the level that changes is drawn


@dataclass
class Market:
    """One symbol. Bids lie below `middle`, asks at and above it, so the book never crosses."""

    symbol: str
    middle: int
    rng: random.Random
    trade_id: int = 0
    update_id: int = 0
    bids: dict[int, int] = field(default_factory=dict)  # tick: number that makes the size
    asks: dict[int, int] = field(default_factory=dict)

    def fill(self, number: int) -> None:
        """Put the first levels into the book."""
        for step in range(_RANGE):
            self.bids[self.middle - 1 - step] = number
            self.asks[self.middle + step] = number

    def change_book(self, number: int) -> tuple[dict[int, int], dict[int, int]]:
        """Change some levels; one of the best of a side takes the number.

        Returns:
            The changed bids and asks; 0 removes a level.
        """
        rng = self.rng
        bids: dict[int, int] = {}
        asks: dict[int, int] = {}
        for own, changed, first in self._sides(bids, asks):
            removable = self.near(own, first, len(own))
            if len(own) > _LEAST and rng.random() < 0.4:
                changed[rng.choice(removable)] = 0
            if rng.random() < 0.3:
                tick = self.middle + rng.randrange(_RANGE) if own is self.asks else self.middle - 1 - rng.randrange(20)
                changed[tick] = number
            apply(own, changed)
        own, changed = rng.choice([(self.bids, bids), (self.asks, asks)])
        tick = rng.choice(self.near(own, own is self.bids, NEAR))
        changed[tick] = number
        apply(own, changed)
        return bids, asks

    def near(self, side: dict[int, int], falling: bool, depth: int) -> list[int]:
        """Return the best ticks of a side, best first."""
        return sorted(side, reverse=falling)[:depth]

    def _sides(self, bids: dict[int, int], asks: dict[int, int]) -> list[tuple[dict[int, int], dict[int, int], bool]]:
        return [(self.bids, bids, True), (self.asks, asks, False)]


def apply(side: dict[int, int], changed: dict[int, int]) -> None:
    """Set the changed levels of a side."""
    for tick, number in changed.items():
        if number:
            side[tick] = number
        else:
            side.pop(tick, None)
