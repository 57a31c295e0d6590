"""The view that bar features read: one-minute bars on a grid, and the rows at which a value is wanted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.arrays import Bools, Floats, Gaps, Ints, Trades
from analysis.bars import Bars, on_grid, time_bars
from analysis.features import windows as w
from analysis.gap_policy import complete_bars, enough
from analysis.indicators import Series, indicators

_BLOCK = 2_000_000  # maximum number of values in a block of windows


@dataclass(frozen=True, eq=False)
class BarView:
    """Minute bars and the wanted rows; every method returns values at those rows from bars up to them.

    A feature of row i reads bars 0..i only. Returns are log differences, or logit differences of probabilities. A bar
    that a gap touches is null, and `gap_policy` decides what it makes null.
    """

    bars: Bars  # on a grid, where a bar that a gap touches is null: see bars.on_grid
    rows: Ints  # (m,) positions in `bars`; -1 before the first bar
    probability: bool = False

    @cached_property
    def level(self) -> Floats:
        """Return (n,) the log of the close, or its logit with p clipped to [0.005, 0.995]."""
        if self.probability:
            p = np.clip(self.bars.close, 0.005, 0.995)
            return np.log(p / (1 - p))
        return w.positive_log(self.bars.close)

    @cached_property
    def returns(self) -> Floats:
        """Return (n,) the change of `level` from the previous bar; null at the first bar and beside a gap."""
        return np.diff(self.level, prepend=np.nan)

    @cached_property
    def _missing(self) -> Floats:
        """Return (n + 1,) the number of null bars before each bar: in a gap, or after it and before the next trade."""
        null = ~complete_bars(self.bars.coverage) | np.isnan(self.bars.close)
        return np.concatenate([[0.0], np.cumsum(null)])

    def _missing_of(self, n: int, lag: int) -> tuple[Floats, Bools]:
        """Return (m,) how many of the n bars until `lag` bars before each row are null; (m,) whether they exist."""
        end = self.rows + 1 - lag
        missing = self._missing[np.maximum(end, 0)] - self._missing[np.maximum(end - n, 0)]
        return missing, end >= n

    def recorded(self, n: int, lag: int = 0) -> Floats:
        """Return (m,) 1.0 where n bars exist of which so few are null that a statistic is known, else null."""
        missing, exist = self._missing_of(n, lag)
        return np.where(exist & enough(missing, n), 1.0, np.nan)

    def complete(self, n: int) -> Floats:
        """Return (m,) 1.0 where the last n bars exist and none is null, else null."""
        missing, exist = self._missing_of(n, 0)
        return np.where(exist & (missing == 0), 1.0, np.nan)

    def at(self, values: Floats, lag: int = 0) -> Floats:
        """Return (m,) the values `lag` bars before each row; null before the first bar."""
        index = self.rows - lag
        return np.where(index >= 0, values[np.maximum(index, 0)] if len(values) else np.nan, np.nan)

    def over(self, n: int, compute: Callable[..., Floats], *columns: Floats, more: int = 0, lag: int = 0) -> Floats:
        """Return (m,) a statistic of the last n values of each column; null where too many bars are missing.

        Args:
            n: Length of the window.
            compute: Takes one (k, n) array for each column and returns (k,).
            columns: (len(bars),) each.
            more: Bars required before the window; 1 for a window of returns.
            lag: Bars from the end of the window to the row.
        """
        out = np.full(len(self.rows), np.nan)
        good = np.flatnonzero(~np.isnan(self.recorded(n + more, lag)))
        back = np.arange(1 - n, 1) - lag
        step = max(1, _BLOCK // n)
        for i in range(0, len(good), step):
            part = good[i : i + step]
            index = self.rows[part][:, None] + back
            out[part] = compute(*(column[index] for column in columns))
        return out

    def over_returns(self, n: int, compute: Callable[..., Floats], *columns: Floats, lag: int = 0) -> Floats:
        """Return (m,) a statistic of the last n returns and the same rows of other columns."""
        return self.over(n, compute, self.returns, *columns, more=1, lag=lag)

    @cached_property
    def _indicators(self) -> dict[str, Floats]:
        return indicators(Series.of(self.bars))

    def indicator(self, name: str) -> Floats:
        """Return (m,) an indicator of the same bars."""
        return self.at(self._indicators[name])


def published(trades: Trades, width_ns: int, delay_ns: int) -> Trades:
    """Return the trades that had arrived when their bar was published: by its end plus the watermark delay."""
    end = (trades.ts_event // width_ns + 1) * width_ns
    return trades.take(trades.ts_recv <= end + delay_ns)


def bar_view(
    trades: Trades,
    gaps: Gaps,
    times: Ints,
    *,
    delay_ns: int,
    width_ns: int = 60_000_000_000,
    probability: bool = False,
) -> BarView:
    """Return bars as they were published, and for each decision time the last bar known by then.

    Args:
        trades: All stored trades; those that arrived after the publication of their bar are left out of it.
        gaps: Unrecorded spans, healed since or not, because a healed trade was not known at the time.
        times: (m,) decision times, ns.
        delay_ns: Time after its end at which a bar is known.
        width_ns: Width of a bar.
        probability: Whether prices are probabilities.
    """
    known = published(trades, width_ns, delay_ns)
    bars = time_bars(known, width_ns)
    last = int(times.max()) - delay_ns if len(times) else 0
    if len(bars):
        start = int(bars.start[0])
        bars = on_grid(bars, start, max(start, last // width_ns * width_ns), width_ns, gaps)
    rows = np.searchsorted(bars.end, times - delay_ns, side="right") - 1
    return BarView(bars, rows.astype(np.int64), probability)
