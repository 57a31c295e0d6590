"""The 64 features of a (venue, symbol) series at a decision time, in 65 columns; `compute` builds a table of them.

Features are point-in-time: a row counts when it was received by the decision time, and windows are measured on the
venue's clock. A bar is used as it was published, a watermark delay after its end. Unknown is NaN, never 0.
"""

from collections.abc import Iterable
from typing import overload

import numpy as np

from analysis.arrays import DAY, MINUTE, SECOND, Floats, Gaps, Quotes, Trades
from analysis.bars import Bars, BarsLike, on_grid
from analysis.features import context, dependence, flow, liquidity, orderbook, returns, volatility
from analysis.features.barview import BarView, bar_view
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView, ReceiptIndex, Tape
from analysis.features.registry import Feature, Registry
from analysis.features.returns import BARS
from analysis.framing import Frame, Instants, To, framed, instants

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


@overload
def compute(
    tape: Tape, times: Instants, wanted: Iterable[str] | None = None, *, delay_ns: int = DELAY_NS, to: None = None
) -> dict[str, Floats]: ...


@overload
def compute(
    tape: Tape, times: Instants, wanted: Iterable[str] | None = None, *, delay_ns: int = DELAY_NS, to: To
) -> Frame: ...


def compute(
    tape: Tape,
    times: Instants,
    wanted: Iterable[str] | None = None,
    *,
    delay_ns: int = DELAY_NS,
    to: To | None = None,
) -> dict[str, Floats] | Frame:
    """Compute features at decision times.

    Args:
        tape: Stored rows; they may reach beyond the times.
        times: (m,) decision times: ns, aware datetimes, ISO 8601 text, or a Series or index of instants.
        wanted: Columns; all when not given.
        delay_ns: Time after its end at which a bar is known.
        to: Library of the frame to return; None returns arrays.

    Returns:
        Column -> (m,) float64, NaN where unknown; or a frame of them, which begins with the column time.

    Raises:
        ValueError: A column does not exist, or times have no zone.
    """
    times = instants(times)
    if to is not None:
        return framed({"time": times, **compute(tape, times, wanted, delay_ns=delay_ns)}, to)
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


@overload
def of_bars(
    bars: BarsLike,
    times: Instants | None = None,
    wanted: Iterable[str] | None = None,
    *,
    gaps: Gaps | None = None,
    delay_ns: int = DELAY_NS,
    to: None = None,
) -> dict[str, Floats]: ...


@overload
def of_bars(
    bars: BarsLike,
    times: Instants | None = None,
    wanted: Iterable[str] | None = None,
    *,
    gaps: Gaps | None = None,
    delay_ns: int = DELAY_NS,
    to: To,
) -> Frame: ...


def of_bars(
    bars: BarsLike,
    times: Instants | None = None,
    wanted: Iterable[str] | None = None,
    *,
    gaps: Gaps | None = None,
    delay_ns: int = DELAY_NS,
    to: To | None = None,
) -> dict[str, Floats] | Frame:
    """Compute the features of bars of any width, recorded or of a venue; a "minute" of their names is one bar.

    Args:
        bars: Bars of one width, or a frame of them, oldest first.
        times: (m,) decision times, as in `compute`; without them, `delay_ns` after the end of each bar.
        wanted: Columns; all of BARS when not given.
        gaps: Unrecorded spans, such as those of a tape. Without them each span without a bar is one, because bars do
            not tell whether nothing traded there or nothing was recorded; and so is each bar with a coverage below 1.
        delay_ns: Time after its end at which a bar is known.
        to: Library of the frame to return; None returns arrays.

    Returns:
        As `compute`.

    Raises:
        ValueError: A column does not exist, times have no zone, or bars have several widths.
    """
    given = Bars.of(bars)
    at = given.end + delay_ns if times is None else instants(times)
    columns = [feature.name for feature in BARS] if wanted is None else list(wanted)
    unknown = [name for name in columns if name not in BARS]
    if unknown:
        raise ValueError(f"no such feature of bars: {', '.join(unknown)}; {_MORE}")
    if not len(given):
        values = {name: np.full(len(at), np.nan) for name in columns}
    else:
        width = int(given.end[0] - given.start[0])
        grid = on_grid(given, int(given.start[0]), int(given.end[-1]), width, spans_without_bars(given, gaps))
        rows = np.searchsorted(grid.end, at - delay_ns, side="right") - 1
        rows[(rows == len(grid) - 1) & (at - delay_ns >= grid.end[-1] + width)] = -1  # the bars have ended
        view = BarView(grid, rows.astype(np.int64))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = {name: BARS[name].compute(view) for name in columns}
    return values if to is None else framed({"time": at, **values}, to)


_MORE = "features of quotes, books and single trades need a tape: load.tape and features.compute"


def spans_without_bars(bars: Bars, gaps: Gaps | None = None) -> Gaps:
    """Return the gaps that bars of one width declare: bars of a coverage below 1, and given spans or missing bars.

    Args:
        bars: Bars, oldest first.
        gaps: Unrecorded spans; without them, each span between two bars is one.
    """
    if gaps is None:
        before = np.flatnonzero(bars.start[1:] > bars.end[:-1])
        gaps = Gaps(bars.end[before], bars.start[before + 1])
    cut = bars.coverage < 1.0
    return gaps.then(Gaps(bars.start[cut], bars.end[cut]))


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
    "of_bars",
    "spans_without_bars",
]
