"""Columns of events as aligned arrays.

Times are int64 nanoseconds since 1970, UTC. Prices are float64 in quote units per base unit, sizes in base units.
All columns of one value have the same length, which is its `len`.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from analysis.framing import Frame, To, columns_of, framed, instants, numbers, require_columns, words

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Signs = npt.NDArray[np.int8]
Index = slice | Ints | Bools

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
FOREVER = np.iinfo(np.int64).max
"""End of a gap that has not ended."""


class Columns:
    """Base class of the values below: aligned columns that can be selected and concatenated."""

    __slots__ = ()

    def __len__(self) -> int:
        first: npt.NDArray[np.generic] = getattr(self, fields(self)[0].name)  # type: ignore[arg-type]
        return len(first)

    def take(self, index: Index) -> Self:
        """Return the rows of a slice, a mask or an array of positions."""
        names = (field.name for field in fields(self))  # type: ignore[arg-type]
        return type(self)(**{name: getattr(self, name)[index] for name in names})

    def then(self, *others: Self) -> Self:
        """Return these rows followed by those of `others`."""
        names = (field.name for field in fields(self))  # type: ignore[arg-type]
        parts = (self, *others)
        return type(self)(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def frame(self, to: To = "pandas") -> Frame:
        """Return the same rows as a frame; instants are UTC, in whole microseconds."""
        return framed({field.name: getattr(self, field.name) for field in fields(self)}, to)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Received(Columns):
    """Rows with both clocks."""

    ts_event: Ints  # venue's clock, ns; the loader substitutes ts_recv when the venue sends none
    ts_recv: Ints  # our clock, ns


@dataclass(frozen=True, slots=True, eq=False)
class Trades(Received):
    """Trades of one instrument."""

    trade_id: Ints
    price: Floats
    size: Floats
    side: Signs  # of the taker: 1 buy, -1 sell, 0 unknown

    @classmethod
    def empty(cls) -> Self:
        """Return no trades."""
        return cls(_ints(), _ints(), _ints(), _floats(), _floats(), np.zeros(0, np.int8))

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Return the trades of a frame of one instrument, such as `load.trades(...)` gives in any form.

        Args:
            frame: Columns ts_event, ts_recv, trade_id, price, size, and aggressor ("b", "s" or null) where known.

        Raises:
            ValueError: A column is missing, times have no zone, or there are several symbols.
        """
        require_columns(frame, ("ts_event", "ts_recv", "trade_id", "price", "size"), "trades")
        require_one_symbol(frame, "trades")
        size = numbers(frame["size"], "size")
        side = np.zeros(len(size), np.int8)
        if "aggressor" in columns_of(frame):
            side[:] = [{"b": 1, "s": -1}.get(word, 0) for word in words(frame["aggressor"])]
        return cls(
            instants(frame["ts_event"], "ts_event"),
            instants(frame["ts_recv"], "ts_recv"),
            instants(frame["trade_id"], "trade_id"),
            numbers(frame["price"], "price"),
            size,
            side,
        )

    def ordered(self) -> Self:
        """Return the same trades by (ts_event, trade_id), independent of their order of arrival.

        Trades already in order are not copied.
        """
        ts = self.ts_event
        if len(ts) < 2:
            return self
        step = ts[1:] >= ts[:-1]
        if step.all():
            ties = np.flatnonzero(ts[1:] == ts[:-1])
            if (self.trade_id[ties + 1] >= self.trade_id[ties]).all():
                return self
        return self.take(np.lexsort((self.trade_id, ts)))

    def distinct(self) -> Self:
        """Return ordered trades in which each (ts_event, trade_id) occurs once: the first that arrived."""
        rows = self.ordered()
        if len(rows) < 2:
            return rows
        repeated = (rows.ts_event[1:] == rows.ts_event[:-1]) & (rows.trade_id[1:] == rows.trade_id[:-1])
        return rows.take(np.concatenate([[True], ~repeated])) if repeated.any() else rows


@dataclass(frozen=True, slots=True, eq=False)
class Quotes(Received):
    """Best bid and ask after each change; NaN for an empty side."""

    bid: Floats
    bid_size: Floats
    ask: Floats
    ask_size: Floats

    @classmethod
    def empty(cls) -> Self:
        """Return no quotes."""
        return cls(_ints(), _ints(), _floats(), _floats(), _floats(), _floats())

    @property
    def mid(self) -> Floats:
        """Return (n,) the middle of bid and ask; NaN where a side is empty (NaN or 0) or the book is crossed."""
        return np.where((self.ask > self.bid) & (self.bid > 0), (self.ask + self.bid) / 2, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Depths(Received):
    """Top levels of the book after each change, best first; NaN for a missing level."""

    bid: Floats  # (n, levels) prices
    bid_size: Floats
    ask: Floats
    ask_size: Floats

    @classmethod
    def empty(cls, levels: int = 10) -> Self:
        """Return no books."""
        empty = np.zeros((0, levels))
        return cls(_ints(), _ints(), empty, empty, empty, empty)


@dataclass(frozen=True, slots=True, eq=False)
class Gaps(Columns):
    """Half-open spans of time in which the stream was not recorded; `end` is FOREVER while a gap lasts."""

    start: Ints
    end: Ints

    @classmethod
    def empty(cls) -> Self:
        """Return no gaps."""
        return cls(_ints(), _ints())

    def merged(self) -> Self:
        """Return the same spans sorted and without overlaps."""
        if (self.start[1:] > self.end[:-1]).all():
            return self
        order = np.argsort(self.start, kind="stable")
        start, end = self.start[order], np.maximum.accumulate(self.end[order])
        first = np.concatenate([[True], start[1:] > end[:-1]])
        last = np.concatenate([first[1:], [True]])
        return type(self)(start[first], end[last])

    def until(self, t: int) -> Self:
        """Return the spans as they were known at t: those that had begun, none beyond t."""
        begun = self.take(self.start < t)
        return type(self)(begun.start, np.minimum(begun.end, t))

    def missing(self, start: Ints, end: Ints) -> Ints:
        """Return (n,) the nanoseconds of each span [start, end) that lie in a gap."""
        gaps = self.merged()
        if not len(gaps):
            return np.zeros(len(start), np.int64)
        length = np.concatenate([[0], np.cumsum(gaps.end[:-1] - gaps.start[:-1])])

        def before(at: Ints) -> Ints:
            k = np.searchsorted(gaps.start, at, side="right") - 1
            inside = np.minimum(at, gaps.end[k]) - gaps.start[k]
            return np.where(k >= 0, length[k] + inside, 0)

        return before(end) - before(start)

    def share(self, start: Ints, end: Ints) -> Floats:
        """Return (n,) the fraction of each span that lies in a gap, 0 to 1."""
        fraction: Floats = self.missing(start, end) / np.maximum(end - start, 1)
        return fraction


def require_one_symbol(frame: Frame, what: str) -> None:
    """Refuse a frame of several instruments.

    Raises:
        ValueError: The message names them.
    """
    for name in ("venue", "symbol"):
        if name in columns_of(frame):
            found: list[Any] = sorted({str(word) for word in words(frame[name])})
            if len(found) > 1:
                few = ", ".join(found[:5])
                raise ValueError(f"{what} of {len(found)} values of {name} ({few}): choose the rows of one of them")


def _ints() -> Ints:
    return np.zeros(0, np.int64)


def _floats() -> Floats:
    return np.zeros(0, np.float64)
