"""B. Spread, depth and imbalance. b and a are best bid and ask of YES, m their middle, Q_b and Q_a the sizes there."""

import numpy as np

from analysis.arrays import Bools, Floats
from analysis.snapshots.price import number
from analysis.snapshots.view import SNAPSHOTS, Snapshot

_ROUNDING = 1e-9  # a level at exactly m - 0.01 is within 0.01
_PARKED = 1_000_000  # shares at 0.001 or 0.999: an order left there, not liquidity


def share(part: float, whole: float) -> float:
    """part / whole; NaN where whole is 0 or either is NaN."""
    return part / whole if whole else np.nan


@SNAPSHOTS.add("spread", "depth", ["book"])
def spread(now: Snapshot) -> float:
    """Spread.

    Formula: a - b
    Unit: probability
    Null: a side empty
    Source: book
    """
    return now.best_ask - now.best_bid


@SNAPSHOTS.add("spread_ticks", "depth", ["book", "listing"])
def spread_ticks(now: Snapshot) -> float:
    """Spread in ticks.

    Formula: (a - b) / tick size
    Unit: ticks
    Null: a side empty, or tick size unknown
    Source: book and listing
    """
    return share(spread(now), number(now.listing.tick_size))


@SNAPSHOTS.add("spread_rel", "depth", ["book"])
def spread_rel(now: Snapshot) -> float:
    """Spread against the smaller of the two prices.

    Formula: (a - b) / min(m, 1 - m)
    Unit: ratio
    Null: mid null, or 0 below
    Source: book
    """
    return share(spread(now), min(now.mid, 1 - now.mid))


def _within(now: Snapshot, cents: int, bids: bool) -> float:
    if now.book is None:
        return np.nan
    price, size = (now.book.bid, now.book.bid_size) if bids else (now.book.ask, now.book.ask_size)
    if not len(price):
        return 0.0
    if np.isnan(now.mid):
        return np.nan
    near = np.abs(price - now.mid) <= cents / 100 + _ROUNDING
    return float(size[near].sum())


@SNAPSHOTS.add("bid_depth_{cents}c", "depth", ["book"], cents=(1, 5))
def bid_depth(now: Snapshot, cents: int) -> float:
    """Size bid near the middle.

    Formula: sum of sizes of bids >= m - cents / 100
    Unit: shares
    Null: book missing, or no middle; 0 where there is no bid
    Source: book
    """
    return _within(now, cents, bids=True)


@SNAPSHOTS.add("ask_depth_{cents}c", "depth", ["book"], cents=(1, 5))
def ask_depth(now: Snapshot, cents: int) -> float:
    """Size offered near the middle.

    Formula: sum of sizes of asks <= m + cents / 100
    Unit: shares
    Null: book missing, or no middle; 0 where there is no ask
    Source: book
    """
    return _within(now, cents, bids=False)


@SNAPSHOTS.add("imbalance_touch", "depth", ["book"])
def imbalance_touch(now: Snapshot) -> float:
    """Imbalance at the best prices.

    Formula: (Q_b - Q_a) / (Q_b + Q_a)
    Unit: -1 to 1
    Null: a side empty
    Source: book
    """
    bid, ask = now.touch
    return share(bid - ask, bid + ask)


@SNAPSHOTS.add("imbalance_5c", "depth", ["book"])
def imbalance_5c(now: Snapshot) -> float:
    """Imbalance within five cents.

    Formula: (bid_depth_5c - ask_depth_5c) / (bid_depth_5c + ask_depth_5c)
    Unit: -1 to 1
    Null: either null, or both 0
    Source: book
    """
    bid, ask = bid_depth(now, 5), ask_depth(now, 5)
    return share(bid - ask, bid + ask)


def _real(price: Floats, size: Floats) -> Bools:
    edge = (price <= 0.001 + _ROUNDING) | (price >= 0.999 - _ROUNDING)
    return ~(edge & (size > _PARKED))


def _sizes(now: Snapshot, bids: bool) -> Floats | None:
    if now.book is None:
        return None
    price, size = (now.book.bid, now.book.bid_size) if bids else (now.book.ask, now.book.ask_size)
    return size[_real(price, size)]


@SNAPSHOTS.add("bid_levels", "depth", ["book"])
def bid_levels(now: Snapshot) -> float:
    """Number of bid prices, without parked orders.

    Formula: count of levels, but those at 0.001 or 0.999 with more than 1,000,000 shares
    Unit: count
    Null: book missing
    Source: book
    """
    sizes = _sizes(now, bids=True)
    return np.nan if sizes is None else float(len(sizes))


@SNAPSHOTS.add("ask_levels", "depth", ["book"])
def ask_levels(now: Snapshot) -> float:
    """Number of ask prices, without parked orders.

    Formula: count of levels, but those at 0.001 or 0.999 with more than 1,000,000 shares
    Unit: count
    Null: book missing
    Source: book
    """
    sizes = _sizes(now, bids=False)
    return np.nan if sizes is None else float(len(sizes))


@SNAPSHOTS.add("largest_bid_share", "depth", ["book"])
def largest_bid_share(now: Snapshot) -> float:
    """Share of the largest bid in all bids, without parked orders.

    Formula: largest bid size / sum of bid sizes
    Unit: 0 to 1
    Null: no bid
    Source: book
    """
    sizes = _sizes(now, bids=True)
    return np.nan if sizes is None or not len(sizes) else share(float(sizes.max()), float(sizes.sum()))


@SNAPSHOTS.add("largest_ask_share", "depth", ["book"])
def largest_ask_share(now: Snapshot) -> float:
    """Share of the largest ask in all asks, without parked orders.

    Formula: largest ask size / sum of ask sizes
    Unit: 0 to 1
    Null: no ask
    Source: book
    """
    sizes = _sizes(now, bids=False)
    return np.nan if sizes is None or not len(sizes) else share(float(sizes.max()), float(sizes.sum()))


@SNAPSHOTS.add("cost_buy_500", "depth", ["book"])
def cost_buy_500(now: Snapshot) -> float:
    """What buying for 500 USDC costs beyond the middle.

    Formula: 500 / shares bought by walking the asks - m
    Unit: probability
    Null: book missing, thinner than 500 USDC, or no middle
    Source: book
    """
    if now.book is None:
        return np.nan
    cash = now.book.ask * now.book.ask_size
    spent = np.minimum(cash, np.maximum(0.0, 500 - (np.cumsum(cash) - cash)))
    if spent.sum() < 500 - _ROUNDING:
        return np.nan
    return float(500 / (spent / now.book.ask).sum()) - now.mid
