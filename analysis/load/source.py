"""The interface of a source: instruments, time ranges, and one consistent reader."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Protocol

import pyarrow as pa

from analysis.errors import InvalidRange
from analysis.load.tables import Channel, Layout

DAY = timedelta(days=1)
US = timedelta(microseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Instant = datetime | str
"""An aware datetime, or ISO 8601 text; text without an offset is UTC."""


def to_instant(value: Instant) -> datetime:
    """Return an aware datetime.

    Raises:
        InvalidRange: The text is not ISO 8601, or the datetime has no time zone.
    """
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidRange(f"{value!r} is not a time; write it like 2026-03-05 or 2026-03-05T14:00:00") from None
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if value.tzinfo is None:
        raise InvalidRange(f"{value} has no time zone; write datetime(..., tzinfo=UTC)")
    return value


def to_ns(at: datetime) -> int:
    """Return the exact number of nanoseconds since 1970 of an aware datetime."""
    return (at - EPOCH) // US * 1000


@dataclass(frozen=True, slots=True)
class Instrument:
    """A recorded instrument."""

    instrument_id: int
    venue: str
    symbol: str
    first_seen: datetime  # receipt of the earliest frame known to mention it
    canonical: str | None = None  # BASE-QUOTE in the common names of the assets, where known


@dataclass(frozen=True, slots=True)
class Range:
    """A half-open time range [start, end) of aware instants."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for at in (self.start, self.end):
            to_instant(at)
        if self.end < self.start:
            raise InvalidRange(f"end {self.end} is before start {self.start}")

    @property
    def start_ns(self) -> int:
        """Return `start` as ns since 1970."""
        return to_ns(self.start)

    @property
    def end_ns(self) -> int:
        """Return `end` as ns since 1970."""
        return to_ns(self.end)

    def pieces(self, length: timedelta) -> list["Range"]:
        """Split the range at multiples of `length` since midnight UTC; no piece spans a midnight."""
        cuts: list[datetime] = [self.start.astimezone(UTC)]
        midnight = cuts[0].replace(hour=0, minute=0, second=0, microsecond=0)
        at = midnight + (cuts[0] - midnight) // length * length + length
        while at < self.end:
            cuts.append(at)
            at += length
        cuts.append(self.end.astimezone(UTC))
        return [Range(a, b) for a, b in pairwise(cuts) if a < b]


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """A stretch of time for which a source holds no recording; `end` is None while it lasts."""

    start: datetime
    end: datetime | None
    reason: str


class Reader(Protocol):
    """One consistent view of a source."""

    @property
    def in_order(self) -> bool:
        """Return whether rows of one instrument already arrive in the order of their layout."""
        ...

    @property
    def graded(self) -> bool:
        """Return whether hours of this source can have certificates; those of the sample data cannot."""
        ...

    def venues(self) -> list[str]:
        """Return the names of the recorded venues, sorted."""
        ...

    def recorded_until(self, venue: str) -> datetime | None:
        """Return the receipt time of the latest frame of a venue; None when it is unknown."""
        ...

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return the recorded instruments of a venue by symbol, limited to `symbols` when given."""
        ...

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """Return the stretches of a range in which the source recorded nothing of a venue, declared as a gap or not."""
        ...

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Return rows of GAP, in any state, that may touch a range by either clock."""
        ...

    def certificates(self, whose: Sequence[Instrument], channel: Channel, span: Range) -> pa.Table | None:
        """Return rows of CERTIFICATE of the hours that a range touches; None where the source is not graded."""
        ...

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """Split a range into pieces, each small enough to be read at once."""
        ...

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return columns of the rows in one piece, in storage order."""
        ...


class Source(Protocol):
    """A place to read rows from."""

    def reading(self) -> AbstractContextManager[Reader]:
        """Open the source; one Reader sees one consistent state.

        Raises:
            StoreUnavailable: The source cannot be reached now; a later try may work.
            ConfigError: A setting is wrong.
        """
        ...


def recorded_range(
    reader: Reader, whose: Sequence[Instrument], start: Instant | None, end: Instant | None, step: timedelta = US
) -> Range:
    """Return a range; a side that is None is where the recording of all instruments begins or ends.

    The end of the recording is the receipt of the venue's latest stored frame, as this Reader sees it.

    Args:
        reader: Open source.
        whose: Instruments, at least one.
        start: First instant; None takes the latest `first_seen` of the instruments.
        end: First instant after; None takes the earliest end of recording of their venues.
        step: A default is rounded inwards to a multiple of it since 1970.

    Raises:
        InvalidRange: `end` is None and no session of a venue is known, the range is reversed, or the recording is
            too young for a range without a start.
    """
    if start is None:
        seen = max(one.first_seen for one in whose)
        begin = EPOCH - (EPOCH - seen) // step * step
    else:
        begin = to_instant(start)
    if end is not None:
        return Range(begin, to_instant(end))
    until = [reader.recorded_until(venue) for venue in sorted({one.venue for one in whose})]
    known = [one for one in until if one is not None]
    if len(known) < len(until):
        raise InvalidRange(f"it is not known how far {whose[0].venue} was recorded; give an end")
    last = EPOCH + (min(known) + US - EPOCH) // step * step
    if start is None and last <= begin:
        raise InvalidRange(
            f"{whose[0].venue} {whose[0].symbol} has no complete range yet: recorders report how far they are once a "
            "minute; try again, or give an end"
        )
    return Range(begin, last)
