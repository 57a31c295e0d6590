"""Trades against the book: who was the taker, what it cost, and where the price went afterwards.

All functions are pure functions of arrays and use the order of receipt, in which a recorder saw the trades and books
of two streams. A quote or book is "before" a trade when it was received earlier.
"""

from dataclasses import dataclass

import numpy as np

from analysis.arrays import Bools, Depths, Floats, Ints, Quotes, Signs, Trades


def side_by_quote(trades: Trades, quotes: Quotes) -> Signs:
    """Return (n,) the taker's side by the quote rule: 1 above the previous middle, -1 below, 0 otherwise.

    Source: Lee and Ready (1991), without the tick test for trades at the middle.
    """
    mid = _before(quotes.ts_recv, trades.ts_recv, quotes.mid)
    with np.errstate(invalid="ignore"):
        return np.where(trades.price > mid, 1, np.where(trades.price < mid, -1, 0)).astype(np.int8)


def side_by_book(trades: Trades, books: Depths) -> Signs:
    """Return (n,) the taker's side by the next book: 1 where the asks lost size at the trade's price, -1 the bids.

    This is the only estimate for venues that do not report the side, such as Figure Markets. The side is 0 where
    neither side or both lost size: the book may have been refilled, or may have moved, between the two messages.

    Args:
        trades: (n,) trades.
        books: Top levels after each change, in the order of receipt.
    """
    after = np.searchsorted(books.ts_recv, trades.ts_recv, side="left")
    good = (after > 0) & (after < len(books))
    bought, sold = np.zeros(len(trades), np.bool_), np.zeros(len(trades), np.bool_)
    at = np.flatnonzero(good)
    sides = (books.ask, books.ask_size, bought), (books.bid, books.bid_size, sold)
    for price, size, lost in sides if len(at) else ():
        had = _size_at(price[after[at] - 1], size[after[at] - 1], trades.price[at])
        has = _size_at(price[after[at]], size[after[at]], trades.price[at])
        lost[at] = has < had
    return np.where(bought & ~sold, 1, np.where(sold & ~bought, -1, 0)).astype(np.int8)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Frequency with which a rule finds the side that the venue reports."""

    rule: str
    reported: int  # trades with a side reported by the venue
    decided: int  # of these, where the rule gives a side
    right: int  # of these, where it gives the reported side


def agreement(rule: str, found: Signs, truth: Signs) -> Agreement:
    """Compare a rule with the reported sides, on the trades that have one."""
    reported = truth != 0
    decided = reported & (found != 0)
    return Agreement(rule, int(reported.sum()), int(decided.sum()), int((decided & (found == truth)).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A mean with its standard error at each of several points."""

    at: Floats  # (k,)
    mean: Floats  # (k,) NaN with fewer than two values
    error: Floats  # (k,)
    count: Ints  # (k,)


def impact(trades: Trades, quotes: Quotes, after_s: Floats) -> Curve:
    """Return how far the middle moves towards the taker, on average over trades, in basis points.

    Formula: side * 1e4 * ln(m(t + h) / m(t-)), t by receipt

    Args:
        trades: Trades; those without a side are left out.
        quotes: Quotes in the order of receipt.
        after_s: (k,) h, seconds; a trade without a quote that late is left out at that point.

    Returns:
        A curve over h. Its error assumes independent trades; trades of one burst are not, so it is a lower bound.
    """
    known = trades.take(trades.side != 0)
    mid = quotes.mid
    start = _before(quotes.ts_recv, known.ts_recv, mid)
    last = int(quotes.ts_recv[-1]) if len(quotes) else 0
    moves = []
    for seconds in after_s.tolist():
        then = known.ts_recv + int(seconds * 1e9)
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = known.side * 1e4 * np.log(_before(quotes.ts_recv, then, mid, inclusive=True) / start)
        moves.append(moved[np.isfinite(moved) & (then <= last)])
    return _curve(after_s, moves)


def imbalance(quotes: Quotes) -> Floats:
    """Return (n,) (bid size - ask size) / (bid size + ask size) at the best prices, -1 to 1; NaN for an empty side."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (quotes.bid_size - quotes.ask_size) / (quotes.bid_size + quotes.ask_size)


def next_move(quotes: Quotes, horizon_s: float) -> Floats:
    """Return (n,) the move of the middle in bp within `horizon_s` after each quote; NaN beyond the last quote."""
    then = quotes.ts_recv + int(horizon_s * 1e9)
    last = int(quotes.ts_recv[-1]) if len(quotes) else 0
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = 1e4 * np.log(_before(quotes.ts_recv, then, quotes.mid, inclusive=True) / quotes.mid)
    return np.where(then <= last, moved, np.nan)


def binned(x: Floats, y: Floats, edges: Floats) -> Curve:
    """Return the mean of y in bins of x; the last edge belongs to the last bin.

    Args:
        x: (n,) values that choose the bin.
        y: (n,) values to average.
        edges: (k + 1,) ascending.

    Returns:
        A curve of k points; `at` is the mean of x in the bin.
    """
    good = np.isfinite(x) & np.isfinite(y)
    place = np.clip(np.searchsorted(edges, x[good], side="right") - 1, -1, len(edges) - 2)
    place = np.where(x[good] > edges[-1], -1, place)
    parts = [place == k for k in range(len(edges) - 1)]
    centre = np.array([x[good][part].mean() if part.any() else np.nan for part in parts])
    return _curve(centre, [y[good][part] for part in parts])


def spread_bp(quotes: Quotes) -> Floats:
    """Return (n,) 1e4 (ask - bid) / middle; NaN where a side is empty or the book is crossed."""
    with np.errstate(invalid="ignore"):
        return np.asarray(1e4 * (quotes.ask - quotes.bid) / quotes.mid, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Depth:
    """Average cumulative size up to each level of a book."""

    bid_bp: Floats  # (levels,) distance from the middle, basis points
    bid: Floats  # (levels,) base units up to it
    ask_bp: Floats
    ask: Floats


def depth(books: Depths) -> Depth:
    """Return distance and size by level, averaged over books with two sides, without levels that most books lack."""
    good = books.take(books.ask[:, 0] > books.bid[:, 0])
    mid = (good.bid[:, :1] + good.ask[:, :1]) / 2
    out: list[Floats] = []
    for price, size in ((good.bid, good.bid_size), (good.ask, good.ask_size)):
        there = np.isfinite(price)
        kept = there.mean(axis=0) > 0.5 if len(good) else np.zeros(price.shape[1], np.bool_)
        away = np.abs(1e4 * (price - mid) / mid)[:, kept]
        within = np.cumsum(np.where(there, size, 0.0), axis=1)[:, kept]
        out += [np.nanmean(away, axis=0), within.mean(axis=0)] if kept.any() else [np.zeros(0), np.zeros(0)]
    return Depth(*out)


def _curve(at: Floats, samples: list[Floats]) -> Curve:
    enough = [len(one) > 1 for one in samples]
    pairs = list(zip(samples, enough, strict=True))
    return Curve(
        at,
        np.array([one.mean() if ok else np.nan for one, ok in pairs]),
        np.array([one.std(ddof=1) / np.sqrt(len(one)) if ok else np.nan for one, ok in pairs]),
        np.array([len(one) for one in samples], np.int64),
    )


def _before(at: Ints, when: Ints, values: Floats, *, inclusive: bool = False) -> Floats:
    """Return (m,) the last value received before each instant; NaN when there is none."""
    place = np.searchsorted(at, when, side="right" if inclusive else "left") - 1
    return np.asarray(np.where(place >= 0, np.append(values, np.nan)[place], np.nan), np.float64)


def _size_at(price: Floats, size: Floats, wanted: Floats) -> Floats:
    """Return (m,) the size at a price; 0 when there is none.

    Args:
        price: (m, levels) prices.
        size: (m, levels) sizes.
        wanted: (m,) price to find.
    """
    same: Bools = price == wanted[:, None]
    return np.asarray(np.where(same, size, 0.0).sum(axis=1), np.float64)
