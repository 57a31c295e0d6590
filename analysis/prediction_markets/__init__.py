"""The 66 features of a prediction market at a snapshot; `compute` builds one row of them.

Features use only what was received by the snapshot. Unknown is NaN, never 0; 0 is a count or sum that was measured as
0 while the stream was healthy.
"""

from collections.abc import Iterable

import numpy as np

from analysis.prediction_markets import depth, event, flow, market, momentum, price
from analysis.prediction_markets.view import MARKET_FEATURES, MarketTape, Snapshot

FAMILIES = (price, depth, market, flow, momentum, event)


def names() -> list[str]:
    """Return every column, in the order of the families."""
    return [feature.name for feature in MARKET_FEATURES]


def compute(tape: MarketTape, t: int, wanted: Iterable[str] | None = None) -> dict[str, float | str]:
    """Compute the features of a market at a snapshot.

    Args:
        tape: Stored rows of the market; they may reach beyond t.
        t: Time of the snapshot, ns.
        wanted: Columns; all when not given.
    """
    now = Snapshot(tape, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {name: MARKET_FEATURES[name].compute(now) for name in (names() if wanted is None else wanted)}


__all__ = ["FAMILIES", "MARKET_FEATURES", "MarketTape", "Snapshot", "compute", "names"]
