"""Judges what a venue's REST service says about the trades or the book of a stream. Pure: no clock, no I/O.

A witness never makes a loss clean: no verdict ends a gap. `quiet` only delays the next remedy for a silence, for a
bounded time, and `dead` only brings the remedy that the silence alone would bring.

Trades. REST may know a trade before the feed has brought it, so only one that is older than `GRACE_NS` counts against
the stream. A list that does not reach our newest trade comes from a cache and proves nothing. A trade of before the
silence is missing for another reason, such as a gap that is declared already.

Books. Where the venue counts the states of a book and we had the state of the answer, both are equal or they are not.
Otherwise a level counts only while it stood still: all our samples, from before the question until after the answer,
have one size for it. A difference counts if a second answer confirms it.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from recorder.events import Levels
from recorder.venues.witness import LEVELS_COMPARED, SeenBook, SeenTrade

GRACE_NS = 10 * 10**9
"""Age at which a trade should have come. Venues batch prints for up to a quarter of a second, and a REST cache is up to
five seconds old; the longest silence of a busy feed that then went on was seconds."""
CLOCK_NS = 5 * 10**9
"""How far the venue's clock may be from ours."""
_LATER_NS = 10**9
"""A trade so much later than our newest one did not come, whatever its id: a heartbeat may have named that id."""
_SAME_NS = 1_000_000  # times of one trade may be rounded differently in REST and in the feed
IDS_AHEAD_MAX = 100_000_000
"""An id further ahead of ours than this is no successor of it: the numbering differs."""
LEVELS_MIN = 4
"""Levels that must have stood still before two books are called equal."""


class OurTrade(NamedTuple):
    """The newest trade that a stream brought."""

    trade_id: int | None
    ts_event_ns: int | None


class TradeJudgement(NamedTuple):
    """What a list of trades shows."""

    verdict: Literal["quiet", "dead", "young", "not comparable"]  # young: ask the stream again after the grace
    reason: str
    newest: SeenTrade | None  # of the list


def judge_trades(listed: Sequence[SeenTrade], ours: OurTrade, silent_since_ns: int, now_ns: int) -> TradeJudgement:
    """Judge a silent stream by the newest trades of the venue.

    Args:
        listed: The trades, in any order.
        ours: What the stream brought, read after the answer came.
        silent_since_ns: Receipt of its last data, or since when it was subscribed.
        now_ns: By our clock.
    """
    if not listed:
        return TradeJudgement("not comparable", "the venue lists no trade", None)
    by_id = ours.trade_id is not None and all(trade.trade_id is not None for trade in listed)
    newest = max(listed, key=lambda trade: (trade.trade_id or 0) if by_id else trade.ts_event_ns)
    if by_id:
        assert ours.trade_id is not None
        ahead = (newest.trade_id or 0) - ours.trade_id
        if ahead > IDS_AHEAD_MAX:
            return TradeJudgement("not comparable", "its ids are of another count than ours", newest)
        last_id, last_ns = ours.trade_id, ours.ts_event_ns
        newer = [
            trade
            for trade in listed
            if (trade.trade_id or 0) > last_id or (last_ns is not None and trade.ts_event_ns > last_ns + _LATER_NS)
        ]
    elif ours.ts_event_ns is not None:
        ahead = newest.ts_event_ns - ours.ts_event_ns
        ahead = 0 if abs(ahead) <= _SAME_NS else ahead
        newer = [trade for trade in listed if trade.ts_event_ns > ours.ts_event_ns + _SAME_NS]
    else:  # the stream never brought a trade
        ahead = 0
        newer = [trade for trade in listed if trade.ts_event_ns > silent_since_ns + CLOCK_NS]
    if ahead < 0 and not newer:
        return TradeJudgement("not comparable", "its list ends before our newest trade", newest)
    if not newer:
        return TradeJudgement("quiet", "the venue has no newer trade", newest)
    since = [trade for trade in newer if trade.ts_event_ns >= silent_since_ns - CLOCK_NS]
    if not since:
        return TradeJudgement("not comparable", "its newer trades are of before the silence", newest)
    if all(trade.ts_event_ns > now_ns + CLOCK_NS for trade in since):
        return TradeJudgement("not comparable", "its newer trades are ahead of our clock", newest)
    late = sum(trade.ts_event_ns <= now_ns - GRACE_NS for trade in since)
    if late:
        return TradeJudgement("dead", f"{late} newer trades should have come", newest)
    return TradeJudgement("young", "its newer trades may be on their way", newest)


class BookJudgement(NamedTuple):
    """What an answer shows about a book.

    Attributes:
        verdict: `doubtful` needs a second answer.
        levels: How many levels could be compared.
        different: Those that differ: side, price, our size, that of the answer.
    """

    verdict: Literal["agrees", "differs", "doubtful", "not comparable"]
    reason: str
    levels: int
    different: frozenset[tuple[str, float, float, float]]


def judge_book(samples: Sequence[SeenBook], answer: SeenBook) -> BookJudgement:
    """Compare an answer with what our book was around it.

    Args:
        samples: Our book from before the question until after the answer, oldest first.
        answer: That of REST.
    """
    if not samples:
        return BookJudgement("not comparable", "there was no book of ours without a gap", 0, frozenset())
    same_state = [one for one in samples if one.sequence is not None and one.sequence == answer.sequence]
    levels, different = _compare(same_state[-1:] or samples, answer)
    if same_state:
        if different:
            return BookJudgement("differs", f"at sequence {answer.sequence}", levels, different)
        return BookJudgement("agrees", f"at sequence {answer.sequence}", levels, different)
    if different:
        return BookJudgement("doubtful", "levels that stood still differ", levels, different)
    empty = not (answer.bids or answer.asks or samples[-1].bids or samples[-1].asks)
    if levels < LEVELS_MIN and not empty and not _small(samples[-1], levels):
        return BookJudgement("not comparable", f"only {levels} levels stood still", levels, different)
    return BookJudgement("agrees", f"{levels} levels stood still and are equal", levels, different)


def confirm(first: BookJudgement, second: BookJudgement) -> BookJudgement:
    """Judge by two answers, of which the first was doubtful: what differs in both alike is a difference."""
    if second.verdict != "doubtful":
        return second
    lasting = first.different & second.different
    if not lasting:
        return BookJudgement("not comparable", "no difference lasted until the second answer", second.levels, lasting)
    return BookJudgement("differs", f"{len(lasting)} levels differ in two answers", second.levels, lasting)


def _small(book: SeenBook, levels: int) -> bool:
    """Return whether all levels of a book were compared."""
    return levels >= len(book.bids) + len(book.asks) > 0


def _compare(samples: Sequence[SeenBook], answer: SeenBook) -> tuple[int, frozenset[tuple[str, float, float, float]]]:
    """Return how many levels can be compared, and those that differ."""
    levels, different = 0, []
    for side, sign in (("bid", -1.0), ("ask", 1.0)):
        theirs = dict(_side(answer, side))
        ours = [dict(_side(sample, side)) for sample in samples]
        # Beyond the last level of a full list nothing is known.
        full = [max(sign * price for price in one) for one in (theirs, *ours) if len(one) >= LEVELS_COMPARED]
        last = min(full, default=float("inf"))
        for price in sorted({price for one in (theirs, *ours) for price in one}):
            sizes = {one.get(price, 0.0) for one in ours}
            if sign * price > last or len(sizes) > 1:
                continue
            levels += 1
            (size,) = sizes
            if size != theirs.get(price, 0.0):
                different.append((side, price, size, theirs.get(price, 0.0)))
    return levels, frozenset(different)


def described(different: Iterable[tuple[str, float, float, float]]) -> str:
    """Return one of the levels that differ, in words."""
    side, price, size, theirs = min(different)
    return f"such as {side} {price!r}: ours {size!r}, the venue's {theirs!r}"


def _side(book: SeenBook, side: str) -> Levels:
    return book.bids if side == "bid" else book.asks
