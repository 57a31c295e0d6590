"""Helpers to compare bars and to write trades by hand."""

import numpy as np

from analysis.arrays import Trades
from analysis.bars import Bars
from support.analysis.market_data import T0


def same(a: Bars, b: Bars) -> bool:
    """Return whether bars are equal to the bit, NaN included."""
    names = Bars.__dataclass_fields__
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in names)


def few(rows: list[tuple[int, float, float, int]], received: int | None = None) -> Trades:
    """Return trades from (ms after T0, price, size, side)."""
    ts = np.array([T0 + ms * 1_000_000 for ms, *_ in rows], np.int64)
    price, size = (np.array([row[i] for row in rows], np.float64) for i in (1, 2))
    side = np.array([row[3] for row in rows], np.int8)
    return Trades(ts, ts if received is None else np.full(len(ts), received), np.arange(len(ts)), price, size, side)
