"""The rule for what a gap does to a value; bars, indicators, and features of bars and of snapshots apply it.

A gap may make a value null. It never moves a value outside its unit, never makes a zero that was not measured, and
never changes a value whose window it does not touch. What it does depends on the kind of the value:

- A value of a bar (prices, volume and counts of a row of `on_grid`) is null when a gap touches the bar.
- A difference (ret_60, efficiency_ratio_60, mom_z_60, lead_ret_5s) is null when a gap lies between its ends.
- A count or sum (trades_1h, volume_1h, ofi_5, cancel_ratio) is null when a gap touches its window.
- A statistic (rv_60, kurt_240, spread_z, close_vs_vwap_day) is computed of what is there when at most MAX_GAP of its
  window is missing, and is null otherwise.
- A standing value (the last quote, book or trade) ends where a gap begins.
- A recursive value (ema_12, rsi_14, obv) begins again after the gap.

A statistic drops the pairs of neighbours that a gap separates: a return, a time between trades, a product of returns.
A sum inside a statistic, such as that of squared returns, is scaled to the full window. A window of bars counts its
null bars: those that a gap touches, and quiet ones after it, whose price is unknown until the next trade. A window of
time counts the time in gaps.

Bars outside a grid (`time_bars`, `event_bars`) hold what was recorded, and their `coverage` says how much that is.
"""

import numpy as np

from analysis.arrays import Bools, Floats, Gaps, Ints

MAX_GAP = 0.10
"""Largest missing fraction of a window of which a statistic is still known."""

_ROUNDING = 1e-9


def enough(missing: Floats | float, total: Floats | float) -> Bools:
    """Return where so little is missing that a statistic of the rest is known: at most MAX_GAP of the total.

    Args:
        missing: (n,) the missing part of each window, in bars or in time.
        total: The complete window, in the same unit.
    """
    few: Bools = np.asarray(missing <= MAX_GAP * total + _ROUNDING)
    return few


def complete(start: Ints, end: Ints, gaps: Gaps) -> Bools:
    """Return (n,) where no gap touches the span [start, end): a sum, a count or a difference over it is known."""
    whole: Bools = gaps.missing(start, end) == 0
    return whole


def complete_bars(coverage: Floats) -> Bools:
    """Return (n,) where no gap touches a bar; a bar whose gaps are unknown (NaN) counts as complete."""
    return ~(coverage < 1.0)


def continues(at: Ints, gaps: Gaps) -> Bools:
    """Return (n,) where no gap lies between the previous instant and this one; the first instant continues nothing.

    Args:
        at: (n,) instants, ns, ascending.
        gaps: Unrecorded spans.
    """
    out = np.zeros(len(at), np.bool_)
    out[1:] = complete(at[:-1], at[1:], gaps)
    return out


def steps(values: Floats | Ints, at: Ints, gaps: Gaps) -> Floats:
    """Return (n - 1,) the differences of neighbouring values; null where a gap separates the two.

    Args:
        values: (n,) values, in order.
        at: (n,) their instants, ns, ascending.
        gaps: Unrecorded spans.
    """
    return np.where(continues(at, gaps)[1:], np.diff(values), np.nan)


def ends_of_standing(since: int, until: int, gaps: Gaps) -> Ints:
    """Return the starts of the gaps in [since, until), at each of which a standing value ends."""
    return gaps.start[(gaps.start >= since) & (gaps.start < until)]
