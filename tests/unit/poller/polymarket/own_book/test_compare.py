"""Comparing our own book with an answer: it must be a state that our book had within the last seconds."""

import random

from support.poller.own_books import ASKS, BIDS, NOW_NS, TOKEN, answered, message, streamed

from recorder.events import Levels
from recorder.poller.polymarket.own_book.books import OwnBook
from recorder.poller.polymarket.own_book.compare import match


def own(*changes: tuple[Levels, Levels] | None) -> OwnBook:
    """Return a book after some changes; None is a snapshot of one other level."""
    books = streamed()
    for place, change in enumerate(changes):
        at_s = -4 + 0.01 * place
        if change is None:
            books.apply(message(at_s, bids=[(0.3, 1.0)], asks=[], snapshot=True))
        else:
            books.apply(message(at_s, bids=change[0], asks=change[1]))
    found = books.get(TOKEN, NOW_NS)
    assert isinstance(found, OwnBook)
    return found


def test_an_answer_is_the_book_or_an_earlier_state_of_it_or_neither() -> None:
    assert match(own(), answered()) == "same"
    assert match(own(([(0.45, 90.0)], [])), answered()) == "earlier"
    assert match(own(([(0.45, 0.0)], [(0.48, 5.0)]), ([], [(0.47, 0.0)])), answered()) == "earlier"
    assert match(own(), answered(bids=[(0.45, 99.0), (0.44, 50.0)])) == "none"
    assert match(own(), answered(bids=[(0.45, 100.0)])) == "none"
    assert match(own(), answered(asks=[*ASKS, (0.9, 1.0)])) == "none"


def test_a_mixture_of_two_states_is_neither() -> None:
    book = own(([(0.45, 90.0)], []), ([(0.44, 40.0)], []))
    assert match(book, answered(bids=[(0.45, 100.0), (0.44, 40.0)])) == "none"


def test_states_before_a_snapshot_are_reached_through_it() -> None:
    book = own(([(0.45, 90.0)], []), None, ([(0.31, 2.0)], []))
    assert match(book, answered(bids=[(0.3, 1.0)], asks=[])) == "earlier"
    assert match(book, answered(bids=[(0.45, 90.0), (0.44, 50.0)])) == "earlier"
    assert match(book, answered()) == "earlier"
    assert book.sides == ({0.3: 1.0, 0.31: 2.0}, {})  # the comparison changes nothing


def test_every_state_of_a_random_book_is_found_and_no_other() -> None:
    draw = random.Random(5)
    for _ in range(50):
        changes, states = [], [(dict(BIDS), dict(ASKS))]
        for _ in range(20):
            bids = [(round(draw.uniform(0.3, 0.45), 2), float(draw.randint(0, 3)))]
            asks = [(round(draw.uniform(0.47, 0.6), 2), float(draw.randint(0, 3)))]
            changes.append((bids, asks))
            now = states[-1][0] | dict(bids), states[-1][1] | dict(asks)
            states.append(({p: s for p, s in now[0].items() if s}, {p: s for p, s in now[1].items() if s}))
        book = own(*changes)
        for bids_then, asks_then in states:
            assert match(book, answered(bids=list(bids_then.items()), asks=list(asks_then.items()))) != "none"
        foreign = [*states[7][0].items(), (0.01, 5.0)]
        assert match(book, answered(bids=foreign, asks=list(states[7][1].items()))) == "none"
