"""The 66 features of a prediction market at a snapshot: `compute` makes a row of them.

Everything uses only what had been received by the snapshot. Unknown is NaN, never 0; 0 is a count or sum that was
measured as 0 while the stream was healthy.
"""

from collections.abc import Iterable

import numpy as np

from analysis.snapshots import depth, event, flow, market, momentum, price
from analysis.snapshots.view import SNAPSHOTS, MarketTape, Snapshot

FAMILIES = (price, depth, market, flow, momentum, event)


def names() -> list[str]:
    """Every column, in the order of the families."""
    return [feature.name for feature in SNAPSHOTS]


def compute(tape: MarketTape, t: int, wanted: Iterable[str] | None = None) -> dict[str, float | str]:
    """Features of a market at a snapshot.

    Args:
        tape: What is stored of it; it may reach beyond t.
        t: The snapshot, ns.
        wanted: Columns; all unless given.
    """
    now = Snapshot(tape, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: SNAPSHOTS[name].compute(now) for name in (names() if wanted is None else wanted)}


__all__ = ["FAMILIES", "SNAPSHOTS", "MarketTape", "Snapshot", "compute", "names"]
