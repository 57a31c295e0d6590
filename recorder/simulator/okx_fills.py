"""How OKX merges fills: a print of the market is several fills of one taker, told as one trade with their count."""

from recorder.simulator.market import text

_COUNTS = (1, 1, 2, 1, 1, 3, 1, 5)
_ALL = sum(_COUNTS)


def count_of(number: int) -> int:
    """How many fills the print of that number is."""
    return _COUNTS[number % len(_COUNTS)]


def last_id(number: int) -> int:
    """Id of its last fill; the first fill of print 0 has the id 1."""
    block, place = divmod(number, len(_COUNTS))
    return block * _ALL + sum(_COUNTS[: place + 1])


def restart(first: int) -> int:
    """Number of the first print whose fills all have ids from `first` on."""
    number = max(0, first - 1) // _ALL * len(_COUNTS)
    while last_id(number) - count_of(number) + 1 < first:
        number += 1
    return number


def fills(number: int, size: int) -> list[tuple[int, int]]:
    """(id, size) of each fill of a print, in order."""
    count, last = count_of(number), last_id(number)
    share, rest = divmod(size, count)
    return [(last - count + 1 + place, share + (place < rest)) for place in range(count)]


def plain(value: int, decimals: int) -> str:
    """A number of the market as OKX prints it: without zeros at its end."""
    printed = text(value, decimals)
    return printed.rstrip("0").rstrip(".") if decimals else printed
