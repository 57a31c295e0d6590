"""Holes of streams whose ids show no loss: a time without data, read with a margin on both sides. Pure.

Nothing proves such a time complete by itself. The margins must agree exactly with what is stored there, and a second
read, later than every cache, must list the same.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from recorder.healer.hole import OpenGap, StoredTrade
from recorder.healer.walk import ReadError
from recorder.identity import stable_hash64
from recorder.venues.history import PastTrade, TimedHistory

MARGIN_NS = 60 * 10**9
CACHED_NS = 60 * 10**9
"""A window ends this long ago at the latest."""
AGAIN_NS = 600 * 10**9
"""Two reads that are compared are this far apart at least."""
_SLACK_NS = 5 * 10**9  # a trade may be stamped this long before the receipt that begins a gap without a venue time


class TimeHole(NamedTuple):
    """A time of the venue's clock in which trades may be missing, and the gaps that declare it."""

    since_ns: int
    until_ns: int
    gaps: tuple[OpenGap, ...]


def unite_times(gaps: Iterable[OpenGap]) -> list[TimeHole]:
    """Return the holes of one stream, oldest first; what lies within the margins of each other is one hole."""
    holes: list[TimeHole] = []
    for gap in sorted(gaps, key=lambda one: (one.since_ns, one.gap_id)):
        since_ns = gap.since_ns - (_SLACK_NS if gap.last_ts_event_ns is None else 0)
        until_ns = max(gap.until_ns, since_ns)
        if holes and since_ns <= holes[-1].until_ns + 2 * MARGIN_NS:
            before = holes[-1]
            holes[-1] = TimeHole(before.since_ns, max(before.until_ns, until_ns), (*before.gaps, gap))
        else:
            holes.append(TimeHole(since_ns, until_ns, (gap,)))
    return holes


class TimeWalk:
    """Pages of one window of time.

    Attributes:
        trades: Everything the pages had, by id.
        from_ns: Begin of the next page.
        done: Whether there is no further page.
    """

    def __init__(self, history: TimedHistory, from_ns: int) -> None:
        self.trades: dict[int, PastTrade] = {}
        self.from_ns = from_ns
        self.done = False
        self._rows = history.rows

    def take(self, page: Sequence[PastTrade]) -> None:
        """Take the next page.

        Raises:
            ReadError: It names an id twice, differs from an earlier page, or holds one instant only.
        """
        ids = {one.trade_id for one in page}
        if len(ids) != len(page):
            raise ReadError("a page names an id twice")
        new = ids - self.trades.keys()
        for one in page:
            if self.trades.setdefault(one.trade_id, one) != one:
                raise ReadError(f"two pages differ in trade {one.trade_id}")
        if len(page) < self._rows:
            self.done = True
            return
        newest_ns = max(one.ts_event_ns for one in page)
        if newest_ns <= self.from_ns or not new:
            raise ReadError("more trades in one instant than a page holds")
        self.from_ns = newest_ns


class Compared(NamedTuple):
    """What a read of a window shows."""

    new: list[PastTrade]  # not stored
    controls: int  # trades in the margins, stored and listed
    digest: str  # of everything that was listed


def compare(hole: TimeHole, stored: Sequence[StoredTrade], listed: Mapping[int, PastTrade]) -> Compared:
    """Compare what a venue lists of a window with what is stored of it.

    Raises:
        ReadError: They differ outside of the hole, or in what is stored.
    """
    known = set()
    before = after = 0
    for one in stored:
        other = listed.get(one.trade_id)
        if other is None:
            raise ReadError(f"the venue does not list stored trade {one.trade_id}")
        if (other.price, other.size, other.aggressor) != (one.price, one.size, one.aggressor):
            raise ReadError(f"stored trade {one.trade_id} differs")
        known.add(one.trade_id)
        before += one.ts_event_ns <= hole.since_ns
        after += one.ts_event_ns >= hole.until_ns
    if not before or not after:
        raise ReadError("no stored trade on one side of the gap")
    new = [listed[trade_id] for trade_id in listed.keys() - known]
    for added in new:
        # Stored times are truncated to microseconds.
        if not hole.since_ns // 1000 <= added.ts_event_ns // 1000 <= hole.until_ns // 1000:
            raise ReadError(f"trade {added.trade_id} is missing beside the gap: it is wider than declared")
    return Compared(new, before + after, _digest(listed.values()))


def _digest(trades: Iterable[PastTrade]) -> str:
    values = sorted((one.trade_id, one.ts_event_ns, one.price, one.size, one.aggressor or "") for one in trades)
    return f"{stable_hash64(repr(values)) & (2**64 - 1):016x}"


def earlier_digest(gap: OpenGap, now_ns: int) -> str | None:
    """Return the digest of the latest read that is old enough to be compared with one of now."""
    reads = msgspec.json.decode(gap.evidence, type=list[dict[str, object]])
    for read in reversed(reads):
        at_ns, digest = read.get("at_ns"), read.get("digest")
        if isinstance(at_ns, int) and isinstance(digest, str) and now_ns - at_ns >= AGAIN_NS:
            return digest
    return None
