"""The holes of a stream of trades: gaps that are open, united where their ids overlap. Pure."""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec


class StoredTrade(NamedTuple):
    """A stored trade beside a hole: the venue must list it with the same values."""

    trade_id: int
    ts_event_ns: int
    price: float
    size: float
    aggressor: str | None


class OpenGap(msgspec.Struct, frozen=True):
    """A row of `gap` of a trade stream that is open and has ended; instants in nanoseconds.

    Attributes:
        last_id: Of the trade before it; of the stored trade next to it where the row has none.
        first_id: Likewise after it.
        reads: How often its range was read without success; `first_read_ns`, `next_read_ns`, `evidence` as in gap_read.
    """

    gap_id: int
    instrument_id: int
    session_id: int | None
    cause: str
    last_id: int | None
    first_id: int | None
    started_ns: int
    ended_ns: int
    last_ts_event_ns: int | None
    first_ts_event_ns: int | None
    revision: int
    reads: int = 0
    first_read_ns: int = 0
    next_read_ns: int = 0
    evidence: bytes = b"[]"  # JSON

    @property
    def since_ns(self) -> int:
        """When the last trade before it was made, as far as that is known."""
        return self.started_ns if self.last_ts_event_ns is None else self.last_ts_event_ns

    @property
    def until_ns(self) -> int:
        """When the first trade after it was made, as far as that is known."""
        return self.ended_ns if self.first_ts_event_ns is None else self.first_ts_event_ns


class Hole(msgspec.Struct, frozen=True):
    """Ids between two that are stored, and the gaps that declare them missing."""

    last_id: int
    first_id: int
    gaps: tuple[OpenGap, ...]  # the first of them goes on in the rows that follow from a read

    @property
    def gap(self) -> OpenGap:
        """The gap that stands for all of them."""
        return self.gaps[0]

    @property
    def ids(self) -> int:
        """How many ids lie inside."""
        return self.first_id - self.last_id - 1

    @property
    def ended_ns(self) -> int:
        """When the last of its gaps ended, by our clock."""
        return max(one.ended_ns for one in self.gaps)


def unite(gaps: Iterable[OpenGap]) -> list[Hole]:
    """Return the holes of one stream, lowest ids first.

    Args:
        gaps: With both ids; one without is left out. One whose ids are lower after it than before is a hole of its own.
    """
    holes: list[Hole] = []
    named = [(one.last_id, one.first_id, one) for one in gaps if one.last_id is not None and one.first_id is not None]
    fallen = [Hole(last_id, first_id, (gap,)) for last_id, first_id, gap in named if first_id <= last_id]
    risen = [one for one in named if one[1] > one[0]]
    for last_id, first_id, gap in sorted(risen, key=lambda one: (one[0], one[1], one[2].gap_id)):
        if holes and last_id < holes[-1].first_id:
            before = holes[-1]
            holes[-1] = Hole(before.last_id, max(before.first_id, first_id), (*before.gaps, gap))
        else:
            holes.append(Hole(last_id, first_id, (gap,)))
    return holes + fallen
