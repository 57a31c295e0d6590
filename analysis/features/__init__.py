"""The 64 features of a (venue, symbol) series at a decision time, in 65 columns; `compute` builds a table of them.

Features are point-in-time: a row counts when it was received by the decision time, and windows are measured on the
venue's clock. A bar is used as it was published, a watermark delay after its end. Unknown is NaN, never 0.
"""

from collections.abc import Iterable

import numpy as np

from analysis.arrays import DAY, MINUTE, SECOND, Floats, Gaps, Ints, Quotes, Trades
from analysis.features import context, dependence, flow, liquidity, orderbook, returns, volatility
from analysis.features.barview import BarView, bar_view
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView, ReceiptIndex, Tape
from analysis.features.registry import Feature, Registry
from analysis.features.returns import BARS

FAMILIES = (returns, volatility, dependence, flow, liquidity, orderbook, context)

DELAY_NS = 2 * SECOND
"""Watermark: a bar counts as known this long after its end."""

LOOKBACK = 21 * DAY
"""History that a live process must hold: 20 days for the same minute of day, and the warm-up of indicators."""


def names() -> list[str]:
    """Return every column, in the order of the families."""
    order = [family.__name__.rpartition(".")[2] for family in FAMILIES]
    features = [(feature.family, feature.name) for registry in (BARS, POINT_IN_TIME) for feature in registry]
    return [name for _, name in sorted(features, key=lambda pair: order.index(pair[0]))]


def compute(
    tape: Tape, times: Ints, wanted: Iterable[str] | None = None, *, delay_ns: int = DELAY_NS
) -> dict[str, Floats]:
    """Compute features at decision times.

    Args:
        tape: Stored rows; they may reach beyond the times.
        times: (m,) decision times, ns.
        wanted: Columns; all when not given.
        delay_ns: Time after its end at which a bar is known.

    Returns:
        Column -> (m,) float64, NaN where unknown.

    Raises:
        ValueError: A column does not exist.
    """
    columns = names() if wanted is None else list(wanted)
    unknown = [name for name in columns if name not in BARS and name not in POINT_IN_TIME]
    if unknown:
        raise ValueError(f"no such feature: {', '.join(unknown)}")
    out: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        if any(name in BARS for name in columns):
            view = bar_view(tape.trades.rows, tape.gaps, times, delay_ns=delay_ns, probability=tape.probability)
            out.update({name: BARS[name].compute(view) for name in columns if name in BARS})
        chosen = [POINT_IN_TIME[name] for name in columns if name in POINT_IN_TIME]
        values = np.full((len(chosen), len(times)), np.nan)
        for j, t in enumerate(times.tolist() if chosen else []):
            now = PointInTimeView(tape, t)
            for i, feature in enumerate(chosen):
                values[i, j] = feature.compute(now)
    out.update({feature.name: row for feature, row in zip(chosen, values, strict=True)})
    return {name: out[name] for name in columns}


__all__ = [
    "BARS",
    "DELAY_NS",
    "LOOKBACK",
    "MINUTE",
    "POINT_IN_TIME",
    "BarView",
    "Feature",
    "Gaps",
    "PointInTimeView",
    "Quotes",
    "ReceiptIndex",
    "Registry",
    "Tape",
    "Trades",
    "compute",
    "names",
]
