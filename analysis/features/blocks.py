"""Indicators and features of stored bars, computed in blocks so that a part computed later has the same bits.

A block is 1440 bars: a day of minutes, five days of bars of five minutes. Its values are computed from its own bars and
those of the block before it, up to each bar. They therefore depend on a limited past: a bar that changes can change the
rest of its block, the block after it, and, through the two features that compare with the same minute of 20 days, the
same minute of these days.

Where the first rows of the block before have no price yet, because the last trade is older, the recursive values would
begin at an arbitrary bar. They are null for the first WINDOW bars, after which they agree with those of the complete
history to 1e-13. obv is a sum without an end, and counts from the start of the block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.arrays import DAY, Floats, Gaps, Ints
from analysis.bars import Bars, on_grid
from analysis.features.barview import BarView
from analysis.features.flow import DAYS, against_days
from analysis.features.registry import Feature
from analysis.features.returns import BARS
from analysis.gap_policy import complete_bars
from analysis.indicators import WINDOW, Series, indicators, on_balance_volume

BLOCK = 1_440
"""Bars of a block."""

LONGEST = 241
"""Bars in the longest window of a feature, apart from those of the same minute of other days."""

SAME_MINUTE = {"vol_z_tod": "volume", "trade_count_z": "trade_count"}
"""Features that compare with the same minute of other days, and the column of bars that they compare."""

Values = dict[str, Floats]


def block_start(start_ns: int, width_ns: int) -> int:
    """Return the start of the block that holds a bar, ns."""
    return start_ns // (BLOCK * width_ns) * BLOCK * width_ns


@dataclass(eq=False)
class Block:
    """The bars of a block and of the block before it, and the rows at which values are wanted."""

    grid: Bars  # on a grid, from the start of the block before
    first: int  # position in `grid` at which the block begins
    rows: Ints  # (m,) positions in `grid`

    @classmethod
    def of(cls, bars: Bars, gaps: Gaps, start_ns: int, width_ns: int, since_ns: int) -> "Block":
        """Return a block up to its last bar.

        Args:
            bars: Bars of the block and the one before it, oldest first; later ones are left out.
            gaps: Unrecorded spans.
            start_ns: Start of the block.
            width_ns: Length of a bar.
            since_ns: Values are wanted of the bars that start then or later.
        """
        early, late = start_ns - BLOCK * width_ns, start_ns + BLOCK * width_ns
        bars = bars.take((bars.start >= early) & (bars.start < late))
        end = int(bars.end[-1]) if len(bars) else early
        wanted = bars.start[bars.start >= max(start_ns, since_ns)]
        grid = on_grid(bars, early, max(early, end), width_ns, gaps)
        return cls(grid, BLOCK, (wanted - early) // width_ns)

    @property
    def starts(self) -> Ints:
        """Return (m,) the starts of the wanted bars, ns."""
        return self.grid.start[self.rows]

    @cached_property
    def first_price(self) -> int:
        """Return the position of the first bar when the price before it is unknown only here; 0 when it is not."""
        if not len(self.grid) or not np.isnan(self.grid.close[0]) or not complete_bars(self.grid.coverage[:1])[0]:
            return 0
        interrupted = ~complete_bars(self.grid.coverage)
        priced = np.flatnonzero(~np.isnan(self.grid.close) | interrupted)
        return int(priced[0]) if len(priced) and not interrupted[priced[0]] else 0

    @cached_property
    def all_indicators(self) -> Values:
        """Return the 24 columns of indicators at every position of `grid`."""
        series = Series.of(self.grid)
        found = indicators(series)
        if self.first_price:
            null = np.flatnonzero(np.isnan(self.grid.close[self.first_price :]))
            part_end = self.first_price + int(null[0]) if len(null) else len(self.grid)
            blank = slice(self.first_price, min(part_end, self.first_price + WINDOW))
            for name in found.keys() - {"vwap"}:
                found[name] = found[name].copy()
                found[name][blank] = np.nan
        obv = np.full(len(self.grid), np.nan)
        obv[self.first :] = on_balance_volume(Series.of(self.grid.take(slice(self.first, None))))
        return {**found, "obv": obv}

    @property
    def indicators(self) -> Values:
        """Return the 24 columns of indicators at the wanted rows, (m,) each."""
        return {name: values[self.rows] for name, values in self.all_indicators.items()}


@dataclass(frozen=True, eq=False)
class _Together(BarView):
    """Several blocks behind each other. No window of a wanted row reaches beyond the begin of its own."""

    blocks: Sequence[Block] = ()

    @cached_property
    def _indicators(self) -> Values:
        each = [block.all_indicators for block in self.blocks]
        return {name: np.concatenate([one[name] for one in each]) for name in each[0]} if each else {}


def features_of(blocks: Sequence[Block], past: dict[str, Floats]) -> Values:
    """Return the 42 features of bars at the wanted rows of several blocks of minutes, one block after the other.

    Args:
        blocks: Blocks of bars of a minute, of any instruments.
        past: For each column that SAME_MINUTE names, (m, DAYS) its values at the same minute of earlier days; NaN where
            there was no complete bar.

    Returns:
        Name of each feature of BARS -> (m,) float64, NaN where it is not known.
    """
    sizes = np.array([len(block.grid) for block in blocks], np.int64)
    offsets = np.cumsum(sizes) - sizes
    empty = Bars.empty()
    bars = empty.then(*(block.grid for block in blocks))
    rows = np.concatenate(
        [np.zeros(0, np.int64), *(block.rows + at for block, at in zip(blocks, offsets, strict=True))]
    )
    view = _Together(bars, rows, blocks=blocks)
    early = [block.rows < block.first_price + LONGEST if block.first_price else block.rows < 0 for block in blocks]
    unknown = np.concatenate([np.zeros(0, np.bool_), *early])
    found: Values = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for feature in BARS:
            found[feature.name] = _values(feature, view, past)
            found[feature.name][unknown] = np.nan
    return found


def _values(feature: Feature[BarView, Floats], view: BarView, past: dict[str, Floats]) -> Floats:
    if feature.name not in SAME_MINUTE:
        return np.array(feature.compute(view), np.float64)
    column = SAME_MINUTE[feature.name]
    now = getattr(view.bars, column)[view.rows].astype(np.float64)
    return against_days(now, past[column])


def same_minutes(starts: Ints) -> Ints:
    """Return (m, DAYS) the starts of the same minute of the earlier days, ns, the nearest first."""
    return starts[:, None] - DAY * np.arange(1, DAYS + 1, dtype=np.int64)


def past_of(starts: Ints, known: tuple[Ints, dict[str, Floats]]) -> dict[str, Floats]:
    """Return what `features_of` needs of earlier days.

    Args:
        starts: (m,) starts of the wanted bars, ns.
        known: (k,) starts of complete bars that no gap touches, ns, oldest first; and their columns, (k,) each.
    """
    at_starts, columns = known
    wanted = same_minutes(starts)
    at = np.searchsorted(at_starts, wanted)
    found = np.append(at_starts, -1)[at] == wanted
    return {column: np.where(found, np.append(columns[column], np.nan)[at], np.nan) for column in SAME_MINUTE.values()}
