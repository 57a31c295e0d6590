"""Labels that a model predicts: computed from after the decision time, with the time at which they became known.

Purged splits use the span of a label, from its decision to its end.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from analysis.arrays import Bools, Floats, Gaps, Index, Ints, Quotes, Trades
from analysis.bars import Bars, BarsLike
from analysis.features import Tape, spans_without_bars
from analysis.framing import Duration, Frame, Instants, To, duration, framed, instants
from analysis.gap_policy import complete


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Labels of decision times."""

    start: Ints  # (n,) decision time, ns
    end: Ints  # (n,) when the label became known, ns
    value: Floats  # (n,) NaN where it never became known

    def __len__(self) -> int:
        return len(self.start)

    def take(self, index: Index) -> Self:
        """Return some of the labels."""
        return type(self)(self.start[index], self.end[index], self.value[index])

    def known(self) -> Bools:
        """Return (n,) True where the label is known."""
        return ~np.isnan(self.value)

    def frame(self, to: To = "pandas") -> Frame:
        """Return the columns start, end and label as a frame, which `Dataset.of` takes, too."""
        return framed({"start": self.start, "end": self.end, "label": self.value}, to)


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A tradable price as a step function of the venue's clock."""

    at: Ints  # ns, ascending
    price: Floats  # positive; NaN while there is no price
    until: int  # ns, end of the recording
    gaps: Gaps

    @classmethod
    def of(cls, quotes: Quotes, until: int, gaps: Gaps) -> Self:
        """Return the middle of the quotes; a label may use late rows because it is computed long after."""
        order = np.argsort(quotes.ts_event, kind="stable")
        return cls(quotes.ts_event[order], quotes.mid[order], until, gaps)

    @classmethod
    def of_trades(cls, trades: Trades, until: int, gaps: Gaps) -> Self:
        """Return the price of the last trade, where there are no quotes."""
        rows = trades.ordered()
        return cls(rows.ts_event, rows.price, until, gaps)

    @classmethod
    def of_bars(cls, bars: BarsLike, gaps: Gaps | None = None) -> Self:
        """Return the closes of bars, each from the end of its bar on; the gaps are those of `features.of_bars`."""
        rows = Bars.of(bars)
        return cls(rows.end, rows.close, int(rows.end[-1]) if len(rows) else 0, spans_without_bars(rows, gaps))

    @classmethod
    def of_tape(cls, tape: Tape, until: Instants | None = None) -> Self:
        """Return the middle of the quotes of a tape, or the price of its trades where it has no quotes.

        Args:
            tape: A recording.
            until: One instant, the end of the recording; without it, the last row of the tape.
        """
        quotes, trades = tape.quotes.rows, tape.trades.rows
        rows = quotes if len(quotes) else trades
        recorded = int(rows.ts_event.max()) if len(rows) else 0
        last = recorded if until is None else int(instants(until, "until")[0])
        return cls.of(quotes, last, tape.gaps) if len(quotes) else cls.of_trades(trades, last, tape.gaps)

    def value(self, at: Ints) -> Floats:
        """Return (n,) the price at each instant; NaN in a gap, before the first price and after the recording."""
        last = np.searchsorted(self.at, at, side="right") - 1
        prices = np.append(self.price, np.nan)[last]
        since = np.append(self.at, 0)[last]
        unseen = ~complete(since, at + 1, self.gaps)  # a price change may be missing
        return np.where((last >= 0) & (at <= self.until) & ~unseen, prices, np.nan)


def forward_return(path: Path, times: Instants, horizon: Duration, delay: Duration) -> Labels:
    """Return the log return over a horizon that begins when an order could have been executed.

    Formula: ln(m(T + delay + horizon) / m(T + delay)), in 1.

    Args:
        path: Middle price.
        times: (n,) decision times: ns, aware datetimes, text, or a Series of instants.
        horizon: How long the position is held: a timedelta, or ns.
        delay: Time from decision to execution, likewise; at least the measured delay of delivery.
    """
    times = instants(times)
    begin = times + duration(delay, "delay")
    end = begin + duration(horizon, "horizon")
    return Labels(times, end, np.log(path.value(end) / path.value(begin)))


def direction(path: Path, times: Instants, horizon: Duration, delay: Duration, dead_bp: float = 0.0) -> Labels:
    """Return 1 where `forward_return` is above a dead zone, 0 where it is below the negative zone, null inside."""
    labels = forward_return(path, times, horizon, delay)
    move = 1e4 * labels.value
    value = np.where(move > dead_bp, 1.0, np.where(move < -dead_bp, 0.0, np.nan))
    return Labels(labels.start, labels.end, value)


def triple_barrier(
    path: Path, times: Instants, horizon: Duration, delay: Duration, up_bp: Floats | float, down_bp: Floats | float
) -> Labels:
    """Return the barrier that the price touches first after execution: 1 upper, -1 lower, 0 none in the horizon.

    Args:
        path: Middle price.
        times: (n,) decision times, as in `forward_return`.
        horizon: Time barrier: a timedelta, or ns.
        delay: Time from decision to execution, likewise.
        up_bp: (n,) distance of the upper barrier in basis points of log price, known at the decision, positive; or one
            for all rows.
        down_bp: (n,) distance of the lower barrier, likewise.

    Returns:
        Labels that end at the touch, or with the horizon. Null where there is no price at execution, or where a gap, an
        empty book or the end of the recording comes before a touch.

    Source: Lopez de Prado (2018), chapter 3.
    """
    times = instants(times)
    up_bp, down_bp = (np.broadcast_to(np.asarray(one, np.float64), times.shape) for one in (up_bp, down_bp))
    begin = times + duration(delay, "delay")
    end = begin + duration(horizon, "horizon")
    entry = np.log(path.value(begin))
    level = np.log(path.price)
    first = np.searchsorted(path.at, begin, side="right")
    last = np.searchsorted(path.at, end, side="right")
    gaps = path.gaps.merged()
    value, known = np.full(len(times), np.nan), end.copy()
    for i in range(len(times)):
        if np.isnan(entry[i]):
            continue
        moves = 1e4 * (level[first[i] : last[i]] - entry[i])
        stop = np.isnan(moves) | (moves >= up_bp[i]) | (moves <= -down_bp[i])
        hit = int(stop.argmax()) if stop.any() else -1
        known[i] = path.at[first[i] + hit] if hit >= 0 else end[i]
        gap = int(np.searchsorted(gaps.end, begin[i], side="right"))
        unseen = gap < len(gaps) and gaps.start[gap] <= known[i]
        if unseen or known[i] > path.until:
            known[i] = end[i]
        elif hit < 0:
            value[i] = 0.0
        elif not np.isnan(moves[hit]):
            value[i] = 1.0 if moves[hit] > 0 else -1.0
    return Labels(times, known, value)


def uniqueness(labels: Labels, subject: npt.NDArray[np.generic] | str = "") -> Floats:
    """Return (n,) weights of mean 1: how much of the span of a label is not shared with other labels of its subject.

    A label that overlaps k - 1 others all along its span counts 1 / k: ten decisions of one hour hold little more than
    one. The average is over time, so that an overlap of a moment costs little.

    Formula: mean over the span of 1 / (labels of the subject whose spans are open), divided by its mean.

    Args:
        labels: Labels with their spans; each is counted, known or not.
        subject: (n,) subject of each row; one text when all rows have the same.

    Source: Lopez de Prado (2018), chapter 4.
    """
    out = np.ones(len(labels))
    _, group = np.unique(np.broadcast_to(np.asarray(subject), out.shape), return_inverse=True)
    for number in range(int(group.max()) + 1 if len(group) else 0):
        mine = group == number
        start, end = labels.start[mine], np.maximum(labels.end[mine], labels.start[mine] + 1)
        borders = np.unique(np.concatenate([start, end]))
        length = np.diff(borders)
        opened = np.searchsorted(np.sort(start), borders[:-1], side="right")
        closed = np.searchsorted(np.sort(end), borders[:-1], side="right")
        alone = np.concatenate([[0.0], np.cumsum(length / np.maximum(opened - closed, 1))])
        first, last = np.searchsorted(borders, start), np.searchsorted(borders, end)
        out[mine] = (alone[last] - alone[first]) / (end - start)
    return out / out.mean() if len(out) else out


def market_outcome(times: Ints, payout: Floats, resolved: Ints) -> Labels:
    """Return the payout of outcome 0 of a market, 1 or 0; null unless it resolved so after the decision.

    Args:
        times: (n,) snapshot times, ns.
        payout: (n,) payout of one share; NaN while unresolved. Other payouts, such as 0.5 or 0.9995, are null.
        resolved: (n,) time of resolution, ns.
    """
    exact = ((payout == 0.0) | (payout == 1.0)) & (resolved > times)
    return Labels(times, resolved, np.where(exact, payout, np.nan))
