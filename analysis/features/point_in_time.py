"""Point-in-time views of an instrument: rows received by a decision time, in windows of the venue's clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np

from analysis.arrays import DAY, SECOND, Depths, Floats, Gaps, Ints, Quotes, Received, Trades
from analysis.features.registry import Registry
from analysis.gap_policy import complete, ends_of_standing, enough

STALE = 5 * SECOND
"""A quote or book is stale when it was received longer ago."""

C = TypeVar("C", bound=Received)


class ReceiptIndex(Generic[C]):
    """Rows in the order of receipt, so that the rows known at an instant are a prefix."""

    def __init__(self, rows: C, gaps: Gaps | None = None) -> None:
        """Sort rows by receipt.

        Args:
            rows: Rows in any order.
            gaps: When none were received; not given where the owner of the index knows it.
        """
        if len(rows) and (rows.ts_recv[1:] < rows.ts_recv[:-1]).any():
            rows = rows.take(np.argsort(rows.ts_recv, kind="stable"))
        self.rows = rows
        self.gaps = gaps if gaps is not None else Gaps.empty()
        self._reach: Ints = np.maximum.accumulate(rows.ts_event) if len(rows) else rows.ts_event

    def known(self, t: int) -> int:
        """Return how many rows were received by t."""
        return int(np.searchsorted(self.rows.ts_recv, t, side="right"))

    def until(self, t: int) -> C:
        """Return the rows received by t, computed independently of `known` so that an audit can detect its mistakes."""
        return self.rows.take(self.rows.ts_recv <= t)

    def last(self, t: int) -> C:
        """Return the row received last by t; no row when there is none."""
        stop = self.known(t)
        return self.rows.take(slice(max(0, stop - 1), stop))

    def window(self, t: int, span_ns: int) -> C:
        """Return rows received by t whose event lies in (t - span, t], by event time."""
        rows = self.rows.take(slice(self._first(t, span_ns), self.known(t)))
        inside = (rows.ts_event > t - span_ns) & (rows.ts_event <= t)
        rows = rows if inside.all() else rows.take(inside)
        if (rows.ts_event[1:] >= rows.ts_event[:-1]).all():
            return rows
        return rows.take(np.argsort(rows.ts_event, kind="stable"))

    def standing(self, t: int, span_ns: int) -> C:
        """Return the rows of `window`, preceded by the row that was valid when it began."""
        first = self._first(t, span_ns)
        rows = self.window(t, span_ns)
        return self.rows.take(slice(first - 1, first)).then(rows) if first else rows

    def latest(self, t: int, n: int) -> C:
        """Return the n rows of latest event among those received by t, by event time."""
        stop = self.known(t)
        length = n
        while True:
            begin = max(0, stop - length)
            rows = self.rows.take(slice(begin, stop))
            rows = rows.take(rows.ts_event <= t)
            order = np.argsort(rows.ts_event, kind="stable")[-n:]
            if begin == 0 or (len(order) == n and self._reach[begin - 1] <= rows.ts_event[order[0]]):
                return rows.take(order)
            length *= 4

    def _first(self, t: int, span_ns: int) -> int:
        """Return a position before which every row has its event at or before the start of the window."""
        return int(np.searchsorted(self._reach[: self.known(t)], t - span_ns, side="right"))


@dataclass(eq=False)
class Tape:
    """Everything recorded of an instrument; a feature sees it only through a `PointInTimeView`."""

    trades: ReceiptIndex[Trades]
    quotes: ReceiptIndex[Quotes]
    depths: ReceiptIndex[Depths]
    gaps: Gaps
    others: Sequence[ReceiptIndex[Quotes]] = ()  # the same instrument on other venues, same quote currency; their gaps
    leader: ReceiptIndex[Quotes] | None = None  # the venue that tends to move first, with its gaps
    level_weights: Floats | None = None  # (10,) loadings for mlofi_pc1, fitted on the training fold only
    probability: bool = False
    masked: Sequence[str] = ()  # ranges that are gaps because of their grade, for reports (`load.hours.grades`)
    _days: dict[int, tuple[float, float]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls,
        trades: Trades | None = None,
        quotes: Quotes | None = None,
        depths: Depths | None = None,
        gaps: Gaps | None = None,
        **more: object,
    ) -> "Tape":
        """Return a tape of plain columns, in any order."""
        return cls(
            ReceiptIndex(trades if trades is not None else Trades.empty()),
            ReceiptIndex(quotes if quotes is not None else Quotes.empty()),
            ReceiptIndex(depths if depths is not None else Depths.empty()),
            gaps if gaps is not None else Gaps.empty(),
            **more,  # type: ignore[arg-type]
        )

    def until(self, t: int) -> "Tape":
        """Return the tape as it was at t: without rows received later and without gaps that began later."""

        def known(quotes: ReceiptIndex[Quotes]) -> ReceiptIndex[Quotes]:
            return ReceiptIndex(quotes.until(t), quotes.gaps.until(t))

        return replace(
            self,
            trades=ReceiptIndex(self.trades.until(t)),
            quotes=ReceiptIndex(self.quotes.until(t)),
            depths=ReceiptIndex(self.depths.until(t)),
            gaps=self.gaps.until(t),
            others=[known(other) for other in self.others],
            leader=None if self.leader is None else known(self.leader),
            _days={},
        )

    def since(self, t: int) -> "Tape":
        """Return the tape without rows received before t, as a process with limited memory holds it; see LOOKBACK."""

        def later(arrivals: ReceiptIndex[C]) -> ReceiptIndex[C]:
            return ReceiptIndex(arrivals.rows.take(arrivals.rows.ts_recv >= t), arrivals.gaps)

        return replace(
            self,
            trades=later(self.trades),
            quotes=later(self.quotes),
            depths=later(self.depths),
            others=[later(other) for other in self.others],
            leader=None if self.leader is None else later(self.leader),
            _days={},
        )

    def day_before(self, t: int) -> tuple[float, float]:
        """Return volume, and 99th percentile of a trade's notional, of the previous UTC day, as received by midnight.

        Trades of that day that arrived after midnight are left out, so published and recomputed values agree. Where a
        part of the day is missing, the volume is scaled to the full day.
        """
        midnight = t // DAY * DAY
        if midnight not in self._days:
            rows = self.trades.window(midnight, DAY)
            missing = self.gaps.share(np.array([midnight - DAY]), np.array([midnight]))
            if len(rows) and enough(missing, 1.0)[0]:
                large = float(np.percentile(rows.price * rows.size, 99))
                self._days[midnight] = float(rows.size.sum() / (1 - missing[0])), large
            else:
                self._days[midnight] = np.nan, np.nan
        return self._days[midnight]


@dataclass(frozen=True, eq=False)
class PointInTimeView:
    """A tape as known at t, in windows (t - span, t]; `gap_policy` decides which of them a gap makes empty."""

    tape: Tape
    t: int
    _missing: dict[int, int] = field(default_factory=dict, repr=False)

    def missing(self, since: int) -> int:
        """Return how much of (since, t] lies in a gap, ns."""
        if since not in self._missing:
            self._missing[since] = int(self.tape.gaps.missing(np.array([since]), np.array([self.t]))[0])
        return self._missing[since]

    def recorded(self, since: int) -> bool:
        """Return whether so little of (since, t] lies in a gap that a statistic is known."""
        return bool(enough(float(self.missing(since)), self.t - since))

    def complete(self, since: int) -> bool:
        """Return whether no gap touches (since, t], so that a sum, a count or a difference is known."""
        return self.missing(since) == 0

    def trades(self, span_ns: int) -> Trades:
        """Return trades of the window by event time, for a statistic; none when too much was not recorded."""
        if not self.recorded(self.t - span_ns):
            return Trades.empty()
        return self.tape.trades.window(self.t, span_ns)

    def last_trades(self, n: int) -> Trades:
        """Return the last n trades, for a statistic; none when too much of the time they span was not recorded."""
        rows = self.tape.trades.latest(self.t, n)
        return rows if len(rows) and self.recorded(int(rows.ts_event[0]) - 1) else Trades.empty()

    def quotes(self, span_ns: int) -> Quotes:
        """Return the quote valid at the start of the window and those in it, for a statistic.

        A quote does not stand in a gap: where one begins, a row without bid and ask follows. There is no row when too
        much of the window was not recorded.
        """
        if not self.recorded(self.t - span_ns):
            return Quotes.empty()
        rows = self.tape.quotes.standing(self.t, span_ns)
        ends = ends_of_standing(int(rows.ts_event[0]), self.t, self.tape.gaps) if len(rows) else rows.ts_event
        if not len(ends):
            return rows
        null = np.full(len(ends), np.nan)
        rows = rows.then(Quotes(ends, ends, null, null, null, null))
        return rows.take(np.argsort(rows.ts_event, kind="stable"))

    def quote_changes(self, span_ns: int) -> Quotes:
        """Return the quote valid at the start of the window and those in it, for a sum; none when a gap is there."""
        return self._unbroken(self.tape.quotes.standing(self.t, span_ns), span_ns)

    def depth_changes(self, span_ns: int) -> Depths:
        """Return the same as `quote_changes` for the levels of the book."""
        return self._unbroken(self.tape.depths.standing(self.t, span_ns), span_ns)

    def _unbroken(self, rows: C, span_ns: int) -> C:
        since = self.t - span_ns
        if len(rows):
            since = min(since, int(rows.ts_event[0]))
        return rows if self.complete(since) else rows.take(slice(0))

    @cached_property
    def quote(self) -> Quotes:
        """Return the quote at t, one row; none when it is stale, crossed, lacks a side, or a gap came after it."""
        return fresh(self.tape.quotes, self.t, self.tape.gaps)

    @cached_property
    def depth(self) -> Depths:
        """Return the book at t, one row; none when it is stale or crossed, or a gap came after it."""
        rows = self.tape.depths.last(self.t)
        good = stands(rows, self.t, self.tape.gaps)
        return rows if good and not rows.bid[0, 0] >= rows.ask[0, 0] else rows.take(slice(0))


def stands(last: Received, t: int, gaps: Gaps) -> bool:
    """Return whether the row received last is valid at t: not older than STALE, and no gap began after its receipt."""
    if not len(last) or t - last.ts_recv[0] > STALE:
        return False
    return bool(complete(last.ts_recv, np.array([t]), gaps)[0])


def fresh(quotes: ReceiptIndex[Quotes], t: int, gaps: Gaps) -> Quotes:
    """Return the quote received last by t; none when it does not stand, is crossed or has an empty side."""
    rows = quotes.last(t)
    return rows if stands(rows, t, gaps) and rows.ask[0] > rows.bid[0] else Quotes.empty()


def mid_at(quotes: ReceiptIndex[Quotes], t: int, gaps: Gaps) -> float:
    """Return the middle of the fresh quote at t, or NaN."""
    rows = fresh(quotes, t, gaps)
    return float(rows.mid[0]) if len(rows) else np.nan


def before(times: Ints, at: Ints, side: str = "left") -> Ints:
    """Return (n,) the position of the last of `times` before (side "right": at or before) each instant, or -1."""
    return np.searchsorted(times, at, side=side) - 1  # type: ignore[call-overload,no-any-return]


POINT_IN_TIME: Registry[PointInTimeView, float] = Registry()
"""Features of trades, quotes and books at a decision time: numbers 40 to 48 and 52 to 64 of the list."""
