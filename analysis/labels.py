"""Labels that a model predicts: computed from after the decision time, with the time at which they became known.

Purged splits use the span of a label, from its decision to its end.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from analysis.arrays import Bools, Floats, Gaps, Index, Ints, Quotes
from analysis.gap_policy import complete


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of decision times."""

    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the label became known, ns
    value: Floats  # (n,) NaN where it never became known

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: Index) -> Self:
        """Return some of the labels."""
        return type(self)(self.start[index], self.end[index], self.value[index])

    def known(self) -> Bools:
        """Return (n,) True where the label is known."""
        return ~np.isnan(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A tradable price as a step function of the venue's clock."""

    at: Ints  # ns, ascending
    price: Floats  # positive; NaN while there is no price
    until: int  # ns, end of the recording
    gaps: Gaps

    @classmethod
    def of(cls, quotes: Quotes, until: int, gaps: Gaps) -> Self:
        """Return the middle of the quotes; a label may use late rows because it is computed long after."""
        order = np.argsort(quotes.ts_event, kind="stable")
        return cls(quotes.ts_event[order], quotes.mid[order], until, gaps)

    def value(self, at: Ints) -> Floats:
        """Return (n,) the price at each instant; NaN in a gap, before the first price and after the recording."""
        last = np.searchsorted(self.at, at, side="right") - 1
        prices = np.append(self.price, np.nan)[last]
        since = np.append(self.at, 0)[last]
        unseen = ~complete(since, at + 1, self.gaps)  # a price change may be missing
        return np.where((last >= 0) & (at <= self.until) & ~unseen, prices, np.nan)


def forward_return(path: Path, times: Ints, horizon_ns: int, delay_ns: int) -> Labels:
    """Return the log return over a horizon that begins when an order could have been executed.

    Formula: ln(m(T + delay + horizon) / m(T + delay)), in 1.

    Args:
        path: Middle price.
        times: (n,) decision times, ns.
        horizon_ns: How long the position is held.
        delay_ns: Time from decision to execution; at least the measured delay of delivery.
    """
    begin, end = times + delay_ns, times + delay_ns + horizon_ns
    return Labels(times, end, np.log(path.value(end) / path.value(begin)))


def direction(path: Path, times: Ints, horizon_ns: int, delay_ns: int, dead_bp: float = 0.0) -> Labels:
    """Return 1 where `forward_return` is above a dead zone, 0 where it is below the negative zone, null inside."""
    labels = forward_return(path, times, horizon_ns, delay_ns)
    move = 1e4 * labels.value
    value = np.where(move > dead_bp, 1.0, np.where(move < -dead_bp, 0.0, np.nan))
    return Labels(labels.start, labels.end, value)


def triple_barrier(path: Path, times: Ints, horizon_ns: int, delay_ns: int, up_bp: Floats, down_bp: Floats) -> Labels:
    """Return the barrier that the price touches first after execution: 1 upper, -1 lower, 0 none in the horizon.

    Args:
        path: Middle price.
        times: (n,) decision times, ns.
        horizon_ns: Time barrier.
        delay_ns: Time from decision to execution.
        up_bp: (n,) distance of the upper barrier in basis points of log price, known at the decision, positive.
        down_bp: (n,) distance of the lower barrier, likewise.

    Returns:
        Labels that end at the touch, or with the horizon. Null where there is no price at execution, or where a gap, an
        empty book or the end of the recording comes before a touch.

    Source: Lopez de Prado (2018), chapter 3.
    """
    begin = times + delay_ns
    end = begin + horizon_ns
    entry = np.log(path.value(begin))
    level = np.log(path.price)
    first = np.searchsorted(path.at, begin, side="right")
    last = np.searchsorted(path.at, end, side="right")
    gaps = path.gaps.merged()
    value, known = np.full(len(times), np.nan), end.copy()
    for i in range(len(times)):
        if np.isnan(entry[i]):
            continue
        moves = 1e4 * (level[first[i] : last[i]] - entry[i])
        stop = np.isnan(moves) | (moves >= up_bp[i]) | (moves <= -down_bp[i])
        hit = int(stop.argmax()) if stop.any() else -1
        known[i] = path.at[first[i] + hit] if hit >= 0 else end[i]
        gap = int(np.searchsorted(gaps.end, begin[i], side="right"))
        unseen = gap < len(gaps) and gaps.start[gap] <= known[i]
        if unseen or known[i] > path.until:
            known[i] = end[i]
        elif hit < 0:
            value[i] = 0.0
        elif not np.isnan(moves[hit]):
            value[i] = 1.0 if moves[hit] > 0 else -1.0
    return Labels(times, known, value)


def market_outcome(times: Ints, payout: Floats, resolved: Ints) -> Labels:
    """Return the payout of outcome 0 of a market, 1 or 0; null unless it resolved so after the decision.

    Args:
        times: (n,) snapshot times, ns.
        payout: (n,) payout of one share; NaN while unresolved. Other payouts, such as 0.5 or 0.9995, are null.
        resolved: (n,) time of resolution, ns.
    """
    exact = ((payout == 0.0) | (payout == 1.0)) & (resolved > times)
    return Labels(times, resolved, np.where(exact, payout, np.nan))
