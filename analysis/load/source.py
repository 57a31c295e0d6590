"""Where rows come from: a Postgres tape or a Parquet archive, behind one small interface."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from analysis.load.tables import Layout

DAY = timedelta(days=1)
US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Instrument:
    """Something recorded."""

    instrument_id: int
    venue: str
    symbol: str
    first_seen: datetime  # receipt of the first frame about it


@dataclass(frozen=True, slots=True)
class Range:
    """Instants from `start`, up to `end` and without it; both aware."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, at in (("start", self.start), ("end", self.end)):
            if at.tzinfo is None:
                raise ValueError(f"{name} {at} has no time zone; write datetime(..., tzinfo=UTC)")
        if self.end < self.start:
            raise ValueError(f"end {self.end} is before start {self.start}")

    def pieces(self, length: timedelta) -> list["Range"]:
        """The same instants in stretches that begin at multiples of `length` since midnight, UTC; none spans a day."""
        cuts: list[datetime] = [self.start.astimezone(UTC)]
        midnight = cuts[0].replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + (cuts[0] - midnight) // length * length + length
        while at < self.end:
            cuts.append(at)
            at += length
        cuts.append(self.end.astimezone(UTC))
        return [Range(a, b) for a, b in pairwise(cuts) if a < b]

    def meets(self, other: "Range") -> bool:
        """Whether they have an instant in common."""
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A stretch a source says nothing about; `end` is None where it has no end."""

    start: datetime
    end: datetime | None
    reason: str


class Reader(Protocol):
    """One consistent view of a source."""

    @property
    def in_order(self) -> bool:
        """Whether rows of one instrument come in the order of their layout by construction."""
        ...

    def venues(self) -> list[str]:
        """Venues of which anything is there, by name."""
        ...

    def recorded_until(self, venue: str) -> datetime | None:
        """Receipt of the latest frame of a venue; None where that is not known."""
        ...

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """What was recorded at a venue, by symbol; only these symbols where named."""
        ...

    def unrecorded(self, venue: str, span: Range) -> list["Unrecorded"]:
        """Stretches of a range of which the source knows that it holds nothing of a venue, gap or not."""
        ...

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Rows of GAP of these instruments that may touch a range by either clock, in any state."""
        ...

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """A range in pieces, each small enough to be read at once."""
        ...

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """These columns of the rows in one piece, in the order in which they are stored."""
        ...


class Source(Protocol):
    """Something to read from."""

    def reading(self) -> AbstractContextManager[Reader]:
        """Open it: all that one Reader gives is of one moment.

        Raises:
            StoreUnavailable: it may work later.
            ConfigError: a person has to change something.
        """
        ...
