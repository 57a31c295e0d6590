"""Merged fills of OKX: a print of the market is several fills of one taker, sent as one trade with their count."""

from recorder.simulator.market import text

_COUNTS = (1, 1, 2, 1, 1, 3, 1, 5)
_ALL = sum(_COUNTS)


def count_of(number: int) -> int:
    """Return how many fills the print of that number has."""
    return _COUNTS[number % len(_COUNTS)]


def last_id(number: int) -> int:
    """Return the id of its last fill; the first fill of print 0 has the id 1."""
    block, place = divmod(number, len(_COUNTS))
    return block * _ALL + sum(_COUNTS[: place + 1])


def restart(first: int) -> int:
    """Return the number of the first print whose fills all have ids from `first` on."""
    number = max(0, first - 1) // _ALL * len(_COUNTS)
    while last_id(number) - count_of(number) + 1 < first:
        number += 1
    return number


def fills(number: int, size: int) -> list[tuple[int, int]]:
    """Return (id, size) of each fill of a print, in order."""
    count, last = count_of(number), last_id(number)
    share, rest = divmod(size, count)
    return [(last - count + 1 + place, share + (place < rest)) for place in range(count)]


def plain(value: int, decimals: int) -> str:
    """Return a number of the market as OKX prints it, without trailing zeros."""
    printed = text(value, decimals)
    return printed.rstrip("0").rstrip(".") if decimals else printed
