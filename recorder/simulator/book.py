"""One side of a market's book: price levels in integers, best first."""

from bisect import bisect_left, insort


class BookSide:
    """The levels of one side. `sign` is +1 for asks and -1 for bids, so that ascending keys run from the best price."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []  # sign * price, ascending: the best is first
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def size(self, price: int) -> int:
        """Return the size at a price, 0 where there is no level."""
        return self._sizes.get(price, 0)

    def price_at(self, index: int) -> int:
        """Return the price of the level `index` steps from the touch."""
        return self._keys[index] * self._sign

    @property
    def best(self) -> int:
        """Return the price at the touch."""
        return self._keys[0] * self._sign

    def worst_of(self, depth: int) -> int | None:
        """Return the key of the last level of a window of `depth`, None where the side has fewer levels."""
        return self._keys[depth - 1] if len(self._keys) >= depth else None

    def key(self, price: int) -> int:
        """Return the sort key of a price; the smaller it is, the nearer is the price to the touch."""
        return price * self._sign

    def levels(self, depth: int | None = None) -> list[tuple[int, int]]:
        """Return (price, size) of the levels, best first."""
        sizes, sign = self._sizes, self._sign
        return [(key * sign, sizes[key * sign]) for key in self._keys[:depth]]

    def beyond(self, key: int, depth: int) -> list[int]:
        """Return the prices inside a window of `depth` that lie beyond a key."""
        start = bisect_left(self._keys, key + 1)
        return [found * self._sign for found in self._keys[start:depth]]

    def set(self, price: int, size: int) -> int:
        """Set the absolute size at a price, where 0 removes the level, and return the old size."""
        old = self._sizes.get(price, 0)
        if size:
            self._sizes[price] = size
            if not old:
                insort(self._keys, price * self._sign)
        elif old:
            del self._sizes[price]
            del self._keys[bisect_left(self._keys, price * self._sign)]
        return old
