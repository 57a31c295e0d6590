"""What a model shall predict: always from after the decision time, always with the time at which it was known.

The span of a label, from decision to end, is what purged splits are made of.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from analysis.arrays import Bools, Floats, Gaps, Index, Ints, Quotes


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Answers to decision times."""

    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the answer was known, ns
    value: Floats  # (n,) NaN where it never was

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: Index) -> Self:
        """Some of them."""
        return type(self)(self.start[index], self.end[index], self.value[index])

    def known(self) -> Bools:
        """(n,) where there is an answer."""
        return ~np.isnan(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A price that can be traded at, as a step function of the venue's clock."""

    at: Ints  # ns, ascending
    price: Floats  # positive; NaN while there is none
    until: int  # ns, how far it was recorded
    gaps: Gaps

    @classmethod
    def of(cls, quotes: Quotes, until: int, gaps: Gaps) -> Self:
        """Middle of the quotes. A label may use late rows: it is made long after."""
        order = np.argsort(quotes.ts_event, kind="stable")
        return cls(quotes.ts_event[order], quotes.mid[order], until, gaps)

    def value(self, at: Ints) -> Floats:
        """(n,) price that stood at each instant; NaN in a gap, before the first and after what was recorded."""
        last = np.searchsorted(self.at, at, side="right") - 1
        prices = np.append(self.price, np.nan)[last]
        since = np.append(self.at, 0)[last]
        unseen = self.gaps.missing(since, at + 1) > 0  # a change may have been missed
        return np.where((last >= 0) & (at <= self.until) & ~unseen, prices, np.nan)


def forward_return(path: Path, times: Ints, horizon_ns: int, delay_ns: int) -> Labels:
    """Log return over a horizon that begins when an order could have been executed.

    Formula: ln(m(T + delay + horizon) / m(T + delay)), in 1.

    Args:
        path: Middle price.
        times: (n,) decision times, ns.
        horizon_ns: How long the position is held.
        delay_ns: From decision to execution; at least the measured delay of delivery.
    """
    begin, end = times + delay_ns, times + delay_ns + horizon_ns
    return Labels(times, end, np.log(path.value(end) / path.value(begin)))


def direction(path: Path, times: Ints, horizon_ns: int, delay_ns: int, dead_bp: float = 0.0) -> Labels:
    """1 where the return of `forward_return` is above a dead zone, 0 where below its negative, null inside."""
    labels = forward_return(path, times, horizon_ns, delay_ns)
    move = 1e4 * labels.value
    value = np.where(move > dead_bp, 1.0, np.where(move < -dead_bp, 0.0, np.nan))
    return Labels(labels.start, labels.end, value)


def triple_barrier(path: Path, times: Ints, horizon_ns: int, delay_ns: int, up_bp: Floats, down_bp: Floats) -> Labels:
    """Which barrier the price touches first after execution: 1 the upper, -1 the lower, 0 none within the horizon.

    Args:
        path: Middle price.
        times: (n,) decision times, ns.
        horizon_ns: The barrier in time.
        delay_ns: From decision to execution.
        up_bp: (n,) distance of the upper barrier in basis points of log price, known at the decision, positive.
        down_bp: (n,) that of the lower one.

    Returns:
        Labels that end at the touch, or with the horizon. Null where execution has no price, or where a gap, an empty
        book or the end of the recording comes before an answer.

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
    """1 or 0: what outcome 0 of a market paid. Null unless it was resolved after the decision, to exactly 1 or 0.

    Args:
        times: (n,) snapshot times, ns.
        payout: (n,) what a share paid; NaN while unresolved. Split payouts (0.5) and settled prices (0.9995) are null.
        resolved: (n,) time of resolution, ns.
    """
    exact = ((payout == 0.0) | (payout == 1.0)) & (resolved > times)
    return Labels(times, resolved, np.where(exact, payout, np.nan))
