"""Compares our own book with an answer of the venue that was made a moment ago. Pure."""

from typing import Literal

from recorder.poller.polymarket.own_book.books import OwnBook, Sides
from recorder.venues.polymarket.polls.books import Book

Match = Literal["same", "earlier", "none"]
"""The answer is our book, an earlier state of our book, or neither."""


def match(own: OwnBook, theirs: Book) -> Match:
    """Return which of the states of our book the answer is, all levels compared.

    The answer was made between the request and its receipt, and our book went on meanwhile. Times of the venue do not
    say which state it is: some books are stamped with the time of the request.
    """
    wanted: Sides = dict(theirs.bids), dict(theirs.asks)
    sides = own.sides
    different = _different(sides, wanted)
    if not different:
        return "same"
    copied = False
    for step in reversed(own.steps):
        if step.before is not None:
            sides, copied = step.before, False
            different = _different(sides, wanted)
        else:
            if not copied:
                sides, copied = (sides[0].copy(), sides[1].copy()), True
            for place, price, size in step.undo:
                if size:
                    sides[place][price] = size
                else:
                    sides[place].pop(price, None)
                if size == wanted[place].get(price, 0.0):
                    different.discard((place, price))
                else:
                    different.add((place, price))
        if not different:
            return "earlier"
    return "none"


def _different(sides: Sides, wanted: Sides) -> set[tuple[int, float]]:
    """Return side and price of each level that differs."""
    return {
        (place, price)
        for place in (0, 1)
        if sides[place] != wanted[place]
        for price in sides[place].keys() | wanted[place].keys()
        if sides[place].get(price) != wanted[place].get(price)
    }
