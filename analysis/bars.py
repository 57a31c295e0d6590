"""Time bars from trades, their roll-up to longer timeframes, and the regular grid.

Trades are taken in the order (ts_event, trade_id), independent of their arrival; a bar holds the trades of
[start, end). Nothing is forward-filled: a minute without a trade has no bar; only `on_grid` adds one.

Candles that a venue publishes equal these bars when the venue builds them the same way: to the bit for XRP/ETH of
2019-10-11, where trades and candles of one exchange are at hand. Other candles differ for one of these reasons, each
measured on real files in the tests of candles:

- The open is the previous close instead of the first trade: every candle of Bybit and Kraken perpetuals and of
  GBP/USD. The high or the low can be that price too. Elsewhere fewer than six opens in ten equal the previous close.
- An interval without a trade has no row, as here. An unrecorded interval has none either, and a file does not
  distinguish the two.
- Candles of bid and of ask have no volume and are built separately: the bid's open is above the ask's in 1 minute of
  87.
- The day of a stock is a session, not a UTC day, and its prices before a split were divided afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, TypeAlias

import numpy as np

from analysis.arrays import DAY, HOUR, MINUTE, Columns, Floats, Gaps, Ints, Trades, require_one_symbol
from analysis.framing import Frame, columns_of, instants, numbers, require_columns
from analysis.gap_policy import complete_bars

TIMEFRAMES: Mapping[str, int] = {
    "1m": MINUTE,
    "5m": 5 * MINUTE,
    "15m": 15 * MINUTE,
    "1h": HOUR,
    "4h": 4 * HOUR,
    "1d": DAY,
}
"""Name of a timeframe -> its width in ns. All except 1m are rolled up from 1m."""

_BLOCK = 65_536  # trades


@dataclass(frozen=True, slots=True, eq=False)
class Bars(Columns):
    """Bars of one series, oldest first."""

    start: Ints  # ns, the first instant inside
    end: Ints  # ns, the first instant after
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats  # base units
    notional: Floats  # quote units, sum of price * size
    vwap: Floats  # notional / volume
    trade_count: Ints | Floats  # whole numbers; float64 on a grid, where NaN is unknown
    buy_volume: Floats  # base units bought by takers
    sell_volume: Floats
    signed_notional: Floats  # quote units, bought minus sold by takers
    coverage: Floats  # fraction of the span outside gaps, 0 to 1; NaN when the gaps are unknown

    @classmethod
    def empty(cls) -> Self:
        """Return no bars."""
        i, f = np.zeros(0, np.int64), np.zeros(0)
        return cls(i, i, f, f, f, f, f, f, f, i, f, f, f, f)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Return the bars of a frame of one series, oldest first; bars are returned as they are.

        Args:
            frame: Columns start, end, open, high, low, close and volume, such as `load.bars(...)` gives in any form.
                Each other column of bars that is missing is unknown (NaN).

        Raises:
            ValueError: A column is missing, times have no zone, there are several symbols, or two bars start at once.
        """
        if isinstance(frame, cls):
            return frame
        require_columns(frame, ("start", "end", "open", "high", "low", "close", "volume"), "bars")
        require_one_symbol(frame, "bars")
        there, start = set(columns_of(frame)), instants(frame["start"], "start")
        unknown = np.full(len(start), np.nan)
        values = {name: numbers(frame[name], name) if name in there else unknown for name in _MEASURED}
        count = values.pop("trade_count")
        found = cls(
            start=start,
            end=instants(frame["end"], "end"),
            trade_count=count if np.isnan(count).any() else count.astype(np.int64),
            **values,
        ).take(np.argsort(start, kind="stable"))
        repeated = int((np.diff(found.start) == 0).sum())
        if repeated:
            raise ValueError(f"{repeated} bars start together with another one: choose the rows of one series")
        return found


BarsLike: TypeAlias = Bars | Frame
"""Bars, or a frame that `Bars.of` reads."""

_MEASURED = tuple(name for name in Bars.__dataclass_fields__ if name not in ("start", "end"))


def time_bars(trades: Trades | Frame, width_ns: int, gaps: Gaps | None = None) -> Bars:
    """Return bars of equal spans of the venue's clock, aligned to 1970.

    Args:
        trades: Trades of one instrument, or a frame of them (`Trades.of`), in any order, each once.
        width_ns: Span of a bar.
        gaps: Unrecorded spans; None leaves `coverage` NaN.

    Returns:
        One bar for each span that holds a trade.
    """
    trades = (trades if isinstance(trades, Trades) else Trades.of(trades)).ordered()
    first, span = _spans(trades.ts_event, width_ns)
    start = span * width_ns
    return reduce(trades, first, start, start + width_ns, gaps)


def roll_up(bars: BarsLike, width_ns: int, gaps: Gaps | None = None) -> Bars:
    """Combine bars into longer ones: first open, highest high, lowest low, last close, sums.

    Args:
        bars: Bars of a width that divides `width_ns`, oldest first.
        width_ns: Span of the longer bars.
        gaps: As in `time_bars`.

    Raises:
        ValueError: The width of a bar does not divide `width_ns`.
    """
    bars = Bars.of(bars)
    if len(bars) and (width_ns % (bars.end - bars.start)).any():
        raise ValueError(f"bars of this width do not add up to {width_ns} ns")
    if not len(bars):
        return bars
    first, span = _spans(bars.start, width_ns)
    volume, notional = _sum(bars.volume, first), _sum(bars.notional, first)
    start = span * width_ns
    return Bars(
        start=start,
        end=start + width_ns,
        open=bars.open[first],
        high=np.maximum.reduceat(bars.high, first),
        low=np.minimum.reduceat(bars.low, first),
        close=bars.close[np.append(first[1:], len(bars)) - 1],
        volume=volume,
        notional=notional,
        vwap=notional / volume,
        trade_count=np.add.reduceat(bars.trade_count, first),
        buy_volume=_sum(bars.buy_volume, first),
        sell_volume=_sum(bars.sell_volume, first),
        signed_notional=_sum(bars.signed_notional, first),
        coverage=_coverage(start, start + width_ns, gaps),
    )


def on_grid(
    bars: BarsLike, start_ns: int, end_ns: int, width_ns: int, gaps: Gaps, fill: Literal["flat", "none"] = "flat"
) -> Bars:
    """Return one row for each span of [start_ns, end_ns), so that neighbours in the array are neighbours in time.

    A row that was not recorded completely is NaN in every measured column, with or without trades (`gap_policy`), and
    no price is carried across it. A completely recorded row without a trade has volume 0 and, with fill "flat", the
    previous close as its four prices; with "none" its prices are NaN.

    Args:
        bars: Bars of spans of `width_ns` aligned to 1970, oldest first; those outside the range are left out.
        start_ns: Start of the first row, on the border of a bar.
        end_ns: End of the last row, on the border of a bar.
        width_ns: Span of a row.
        gaps: Unrecorded spans.
        fill: What the prices of a quiet row are.

    Raises:
        ValueError: `start_ns` or `end_ns` lies inside a bar, or a bar is not one span of the grid.
    """
    bars = Bars.of(bars)
    for name, border in (("start", start_ns), ("end", end_ns)):
        if border % width_ns:
            raise ValueError(f"the {name} of a grid, {border} ns, lies inside a bar of {width_ns} ns; choose a border")
    spans = (bars.end - bars.start == width_ns) & (bars.start % width_ns == 0)
    if not spans.all() or (bars.start[1:] <= bars.start[:-1]).any():
        raise ValueError(f"bars of a grid of {width_ns} ns must each be one of its spans; use roll_up for longer bars")
    start = np.arange(start_ns, end_ns, width_ns, dtype=np.int64)
    source = bars.take((bars.start >= start_ns) & (bars.start < end_ns))
    coverage = _coverage(start, start + width_ns, gaps)
    known = complete_bars(coverage)
    row = (source.start - start_ns) // width_ns
    source, at = source.take(known[row]), row[known[row]]
    has = np.zeros(len(start), np.bool_)
    has[at] = True
    quiet = known & ~has

    def spread(values: Floats | Ints, empty: float) -> Floats:
        out = np.where(quiet, empty, np.nan)
        out[at] = values
        return out

    close = spread(source.close, np.nan)
    if fill == "flat" and len(start):
        anchor = np.maximum.accumulate(np.where(quiet, -1, np.arange(len(start))))
        close = np.where(anchor >= 0, close[anchor], np.nan)

    def prices(values: Floats) -> Floats:
        out = close.copy()
        out[at] = values
        return out

    return Bars(
        start=start,
        end=start + width_ns,
        open=prices(source.open),
        high=prices(source.high),
        low=prices(source.low),
        close=close,
        volume=spread(source.volume, 0.0),
        notional=spread(source.notional, 0.0),
        vwap=spread(source.vwap, np.nan),
        trade_count=spread(source.trade_count, 0.0),
        buy_volume=spread(source.buy_volume, 0.0),
        sell_volume=spread(source.sell_volume, 0.0),
        signed_notional=spread(source.signed_notional, 0.0),
        coverage=coverage,
    )


class BarStream:
    """Build time bars from trades in any order and any batches; the result equals `time_bars` of all trades.

    The stream keeps the trades of recent bars and recomputes a changed bar from all of its trades, so a late or
    repeated trade changes exactly its own bar. A trade older than the kept ones is not added; its bar is named in
    `dirty`, and the caller recomputes that bar from the store.
    """

    def __init__(self, width_ns: int) -> None:
        self._width = width_ns
        self._trades: dict[int, Trades] = {}
        self._kept_from: int | None = None
        self.dirty: set[int] = set()  # starts (ns) of bars whose trades were dropped

    def add(self, trades: Trades, gaps: Gaps | None = None) -> Bars:
        """Add trades and return the bars that they changed."""
        trades = trades.ordered()
        first, span = _spans(trades.ts_event, self._width)
        touched: list[Trades] = []
        starts: list[int] = []
        for begin, end, start in zip(first, np.append(first, len(trades))[1:], span * self._width, strict=True):
            key = int(start)
            if self._kept_from is not None and key < self._kept_from:
                self.dirty.add(key)
                continue
            part = trades.take(slice(begin, end))
            held = self._trades.get(key)
            part = (held.then(part) if held is not None else part).distinct()
            self._trades[key] = part
            touched.append(part)
            starts.append(key)
        if not touched:
            return Bars.empty()
        sizes = np.array([len(part) for part in touched])
        start_ns = np.array(starts, np.int64)
        rows = touched[0].then(*touched[1:])
        return reduce(rows, np.cumsum(sizes) - sizes, start_ns, start_ns + self._width, gaps)

    def drop_before(self, before_ns: int) -> None:
        """Drop the trades of bars that start earlier."""
        self._kept_from = max(before_ns, self._kept_from or before_ns)
        self._trades = {start: kept for start, kept in self._trades.items() if start >= self._kept_from}


def _spans(ts: Ints, width_ns: int) -> tuple[Ints, Ints]:
    """Return the position of the first row of each non-empty span, and the number of that span; `ts` is ascending."""
    if not len(ts):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    low, high = int(ts[0]) // width_ns, int(ts[-1]) // width_ns
    if (high - low) * 8 < len(ts):  # with few spans, bisection avoids a division per row
        numbers = np.arange(low, high + 1, dtype=np.int64)
        first = np.searchsorted(ts, numbers * width_ns)
        filled = np.append(first[1:], len(ts)) > first
        return first[filled], numbers[filled]
    number = ts // width_ns
    first = np.flatnonzero(np.concatenate([[True], number[1:] != number[:-1]]))
    return first, number[first]


def reduce(trades: Trades, first: Ints, start: Ints, end: Ints, gaps: Gaps | None) -> Bars:
    """Return bars of consecutive rows: bar k holds the rows from first[k] up to first[k+1].

    The order in which `reduceat` adds depends only on the length of a run, so a bar is the same to the bit wherever its
    trades lie in the array.
    """
    if not len(first):
        return Bars.empty()
    n = len(first)
    high, low, volume, notional, buy, sell, signed = np.empty((7, n))
    after = np.append(first[1:], len(trades))
    k = 0
    while k < n:  # working block by block keeps the intermediate arrays in the cache
        upto = max(k + 1, int(np.searchsorted(after, first[k] + _BLOCK, side="right")))
        rows = slice(int(first[k]), int(after[upto - 1]))
        price, size, side = trades.price[rows], trades.size[rows], trades.side[rows]
        quote = price * size
        at, out = first[k:upto] - first[k], slice(k, upto)
        np.maximum.reduceat(price, at, out=high[out])
        np.minimum.reduceat(price, at, out=low[out])
        np.add.reduceat(size, at, out=volume[out])
        np.add.reduceat(quote, at, out=notional[out])
        np.add.reduceat(size * (side > 0), at, out=buy[out])
        np.add.reduceat(size * (side < 0), at, out=sell[out])
        np.add.reduceat(quote * side, at, out=signed[out])
        k = upto
    return Bars(
        start=start,
        end=end,
        open=trades.price[first],
        high=high,
        low=low,
        close=trades.price[after - 1],
        volume=volume,
        notional=notional,
        vwap=notional / volume,
        trade_count=after - first,
        buy_volume=buy,
        sell_volume=sell,
        signed_notional=signed,
        coverage=_coverage(start, end, gaps),
    )


def _sum(values: Floats, first: Ints) -> Floats:
    return np.add.reduceat(values, first)


def _coverage(start: Ints, end: Ints, gaps: Gaps | None) -> Floats:
    if gaps is None:
        return np.full(len(start), np.nan)
    return 1.0 - gaps.share(start, end)
