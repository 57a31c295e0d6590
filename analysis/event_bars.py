"""Tick, volume and dollar bars: a bar ends when enough was traded, not when time has passed.

A bar takes trades in the order (ts_event, trade_id) and ends with the trade that brings its count, size or notional
to the threshold. A trade is never divided and nothing carries over into the next bar, so a series can continue from
the end of any bar.
"""

from typing import Literal, get_args

import numpy as np

from analysis.arrays import Floats, Gaps, Ints, Trades
from analysis.bars import Bars, reduce

Kind = Literal["tick", "volume", "dollar"]

SLACK = 1e-9
"""Relative tolerance, so that ten sizes of 0.1 reach a threshold of 1."""


def event_bars(trades: Trades, kind: Kind, threshold: float, gaps: Gaps | None = None) -> Bars:
    """Return the complete bars of `trades`; trades after the last complete bar are left out.

    Args:
        trades: Trades of one instrument, in any order.
        kind: Whether trades, base units or quote units are counted.
        threshold: Amount that completes a bar, positive.
        gaps: Unrecorded spans; None leaves `coverage` NaN.

    Returns:
        Bars whose `start` is the time of their first trade and whose `end` is one ns after that of their last.

    Raises:
        ValueError: The kind does not exist, or the threshold cannot complete a bar.
    """
    _check(kind, threshold)
    bars, _ = _cut(trades.ordered(), kind, threshold, gaps)
    return bars


def _check(kind: str, threshold: float) -> None:
    if kind not in get_args(Kind):
        raise ValueError(f"there are no {kind!r} bars; use {', '.join(get_args(Kind))}")
    if not 0 < threshold < float("inf") or (kind == "tick" and threshold != int(threshold)):
        raise ValueError(f"{kind} bars cannot end at {threshold}: give a positive number, of trades a whole one")


class EventBarStream:
    """Build the bars of `event_bars` while trades arrive in order; the result is equal to the bit."""

    def __init__(self, kind: Kind, threshold: float) -> None:
        _check(kind, threshold)
        self._kind: Kind = kind
        self._threshold = threshold
        self._open = Trades.empty()
        self._closed: tuple[int, int] | None = None

    def add(self, trades: Trades, gaps: Gaps | None = None) -> Bars:
        """Add trades and return the bars that they completed.

        Raises:
            ValueError: A trade is older than the end of a complete bar. It would change every later bar, so the series
            must be rebuilt from the store.
        """
        trades = trades.ordered()
        if len(trades) and self._closed and (int(trades.ts_event[0]), int(trades.trade_id[0])) <= self._closed:
            raise ValueError(f"trade {trades.trade_id[0]} is older than the last complete bar")
        rows = self._open.then(trades).ordered()
        bars, used = _cut(rows, self._kind, self._threshold, gaps)
        if used:
            self._closed = int(rows.ts_event[used - 1]), int(rows.trade_id[used - 1])
        self._open = rows.take(slice(used, None))
        return bars


def _cut(rows: Trades, kind: Kind, threshold: float, gaps: Gaps | None) -> tuple[Bars, int]:
    if not threshold > 0:
        raise ValueError("the threshold of a bar must be positive")
    if kind == "tick":
        ends = np.arange(int(threshold), len(rows) + 1, int(threshold), dtype=np.int64)
    else:
        ends = _ends(rows.size if kind == "volume" else rows.price * rows.size, threshold * (1 - SLACK))
    used = int(ends[-1]) if len(ends) else 0
    done = rows.take(slice(used))
    first = np.concatenate([[0], ends[:-1]]).astype(np.int64) if used else np.zeros(0, np.int64)
    return reduce(done, first, done.ts_event[first], done.ts_event[ends - 1] + 1, gaps), used


def _ends(amounts: Floats, threshold: float) -> Ints:
    """Return the position after the last row of each complete bar.

    Amounts are summed from the first row of each bar, so the result does not depend on where the series begins.
    """
    ends: list[int] = []
    at, guess = 0, 64
    while at < len(amounts):
        length = guess
        while True:
            total = np.cumsum(amounts[at : at + length])
            reached = int(np.searchsorted(total, threshold))
            if reached < len(total):
                break
            if at + length >= len(amounts):
                return np.array(ends, np.int64)
            length *= 4
        at += reached + 1
        ends.append(at)
        guess = 2 * (reached + 1) + 16
    return np.array(ends, np.int64)
