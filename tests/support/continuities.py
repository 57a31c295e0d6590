"""A continuity that watches streams of one symbol, its input, and the gaps that it declares."""

import itertools
from collections.abc import Iterable

from recorder.capture.continuity import Continuity
from recorder.events import Book, Channel, Gap, Quote, Stream, Trade, Witness

S = 10**9
NOW = 1_700_000_000 * S
TRADES, QUOTES, BOOKS = (Stream(channel, "A") for channel in ("trade", "quote", "book"))


def fresh(*streams: Stream, contiguous: Iterable[Channel] = ("trade",)) -> Continuity:
    """Return a continuity that watches these streams in session 1 since NOW."""
    continuity = Continuity(frozenset(contiguous), itertools.count(100).__next__)
    for stream in streams:
        continuity.watch(stream, 1, NOW)
    return continuity


def trade(number: int, at_s: float = 1, ts_s: float | None = None) -> Trade:
    """Return trade `number`, received `at_s` after NOW; the venue's clock shows its number unless `ts_s` is given."""
    ts_ns = NOW + int((number / 1000 if ts_s is None else ts_s) * S)
    return Trade("A", number, ts_ns, NOW + int(at_s * S), 1.0, 1.0, "b")


def quote(at_s: float) -> Quote:
    return Quote("A", NOW + int(at_s * S) - 5, NOW + int(at_s * S), int(at_s * 10), 1.0, 1.0, 2.0, 1.0)


def book(at_s: float, *, snapshot: bool) -> Book:
    return Book("A", NOW + int(at_s * S) - 5, NOW + int(at_s * S), snapshot, None, [], [])


def witness(number: int) -> Witness:
    return Witness("A", number, NOW)


def feed(continuity: Continuity, *numbers: int) -> list[Gap]:
    for number in numbers:
        continuity.trade(trade(number))
    return continuity.take_gaps()


def latest(gaps: Iterable[Gap]) -> list[Gap]:
    """Return the highest revision of each gap."""
    by_id: dict[int, Gap] = {}
    for gap in gaps:
        assert gap.revision == (by_id[gap.gap_id].revision + 1 if gap.gap_id in by_id else 1)
        by_id[gap.gap_id] = gap
    return list(by_id.values())


def missing(gaps: Iterable[Gap]) -> set[int]:
    """Return the ids that are declared missing."""
    return {
        number
        for gap in latest(gaps)
        if gap.state == "open" and gap.last_id is not None and gap.first_id is not None
        for number in range(gap.last_id + 1, gap.first_id)
    }
