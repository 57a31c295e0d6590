"""The 64 features of a (venue, symbol) series at a decision time, 65 columns: `compute` makes a table of them.

Point-in-time: a row counts when it was received by the decision time; windows are measured on the venue's clock. Bars
are taken as they were published, a watermark delay after their end. Unknown is NaN, never 0.
"""

from collections.abc import Iterable

import numpy as np

from analysis.arrays import DAY, MINUTE, SECOND, Floats, Gaps, Ints, Quotes, Trades
from analysis.features import context, dependence, flow, liquidity, orderbook, returns, volatility
from analysis.features.barview import BarView, bar_view
from analysis.features.moment import MOMENTS, Arrivals, Moment, Tape
from analysis.features.registry import Feature, Registry
from analysis.features.returns import BARS

FAMILIES = (returns, volatility, dependence, flow, liquidity, orderbook, context)

DELAY_NS = 2 * SECOND
"""The watermark: a bar counts as known this long after its end."""

LOOKBACK = 21 * DAY
"""How much of the tape a live process must hold: 20 days of the same minute, and the indicators' warm-up."""

HEALTH = frozenset({"gap_share_60"})
"""Columns about the data rather than the market; a model leaves them out unless they are shown to be harmless."""


def names() -> list[str]:
    """Every column, in the order of the families."""
    order = [family.__name__.rpartition(".")[2] for family in FAMILIES]
    features = [(feature.family, feature.name) for registry in (BARS, MOMENTS) for feature in registry]
    return [name for _, name in sorted(features, key=lambda pair: order.index(pair[0]))]


def compute(
    tape: Tape, times: Ints, wanted: Iterable[str] | None = None, *, delay_ns: int = DELAY_NS
) -> dict[str, Floats]:
    """Features at decision times.

    Args:
        tape: What is stored; it may reach beyond the times.
        times: (m,) decision times, ns.
        wanted: Columns; all unless given.
        delay_ns: A bar is known this long after its end.

    Returns:
        Column -> (m,) float64, NaN where unknown.
    """
    columns = names() if wanted is None else list(wanted)
    unknown = [name for name in columns if name not in BARS and name not in MOMENTS]
    if unknown:
        raise ValueError(f"no such feature: {', '.join(unknown)}")
    out: dict[str, Floats] = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        if any(name in BARS for name in columns):
            view = bar_view(tape.trades.rows, tape.gaps, times, delay_ns=delay_ns, probability=tape.probability)
            out.update({name: BARS[name].compute(view) for name in columns if name in BARS})
        chosen = [MOMENTS[name] for name in columns if name in MOMENTS]
        values = np.full((len(chosen), len(times)), np.nan)
        for j, t in enumerate(times.tolist() if chosen else []):
            now = Moment(tape, t)
            for i, feature in enumerate(chosen):
                values[i, j] = feature.compute(now)
    out.update({feature.name: row for feature, row in zip(chosen, values, strict=True)})
    return {name: out[name] for name in columns}


__all__ = [
    "BARS",
    "DELAY_NS",
    "HEALTH",
    "LOOKBACK",
    "MINUTE",
    "MOMENTS",
    "Arrivals",
    "BarView",
    "Feature",
    "Gaps",
    "Moment",
    "Quotes",
    "Registry",
    "Tape",
    "Trades",
    "compute",
    "names",
]
