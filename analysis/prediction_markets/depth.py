"""Family B: spread, depth and imbalance. b, a are best bid and ask of YES, m their middle, Q_b, Q_a their sizes."""

import numpy as np

from analysis.arrays import Bools, Floats
from analysis.prediction_markets.price import number
from analysis.prediction_markets.view import MARKET_FEATURES, Snapshot

_ROUNDING = 1e-9  # a level at exactly m - 0.01 is within 0.01
_PARKED = 1_000_000  # shares at 0.001 or 0.999: an order parked there, not liquidity


def ratio(part: float, whole: float) -> float:
    """Return part / whole; NaN when whole is 0 or either is NaN."""
    return part / whole if whole else np.nan


@MARKET_FEATURES.add("spread", "depth", ["book"])
def spread(now: Snapshot) -> float:
    """Spread in units of probability.

    Formula: a - b
    Unit: probability
    Null: a side empty
    Source: book
    """
    return now.best_ask - now.best_bid


@MARKET_FEATURES.add("spread_ticks", "depth", ["book", "listing"])
def spread_ticks(now: Snapshot) -> float:
    """Spread in ticks.

    Formula: (a - b) / tick size
    Unit: ticks
    Null: a side empty, or tick size unknown
    Source: book and listing
    """
    return ratio(spread(now), number(now.listing.tick_size))


@MARKET_FEATURES.add("spread_rel", "depth", ["book"])
def spread_rel(now: Snapshot) -> float:
    """Spread divided by the price of the cheaper outcome.

    Formula: (a - b) / min(m, 1 - m)
    Unit: ratio
    Null: mid null, or denominator 0
    Source: book
    """
    return ratio(spread(now), min(now.mid, 1 - now.mid))


def _stored(now: Snapshot, name: str) -> float | None:
    """Return a feature that was stored with a book without its levels; None where the levels are known."""
    if now.book is None or now.book.stored is None:
        return None
    return now.book.stored[name]


def _within(now: Snapshot, cents: int, bids: bool) -> float:
    if now.book is None:
        return np.nan
    stored = _stored(now, f"{'bid' if bids else 'ask'}_depth_{cents}c")
    if stored is not None:
        return stored
    price, size = (now.book.bid, now.book.bid_size) if bids else (now.book.ask, now.book.ask_size)
    if not len(price):
        return 0.0
    if np.isnan(now.mid):
        return np.nan
    near = np.abs(price - now.mid) <= cents / 100 + _ROUNDING
    return float(size[near].sum())


@MARKET_FEATURES.add("bid_depth_{cents}c", "depth", ["book"], cents=(1, 5))
def bid_depth(now: Snapshot, cents: int) -> float:
    """Bid size near the middle.

    Formula: sum of sizes of bids >= m - cents / 100
    Unit: shares
    Null: book missing, or no middle; 0 without a bid
    Source: book
    """
    return _within(now, cents, bids=True)


@MARKET_FEATURES.add("ask_depth_{cents}c", "depth", ["book"], cents=(1, 5))
def ask_depth(now: Snapshot, cents: int) -> float:
    """Ask size near the middle.

    Formula: sum of sizes of asks <= m + cents / 100
    Unit: shares
    Null: book missing, or no middle; 0 without an ask
    Source: book
    """
    return _within(now, cents, bids=False)


@MARKET_FEATURES.add("imbalance_touch", "depth", ["book"])
def imbalance_touch(now: Snapshot) -> float:
    """Imbalance at the best prices.

    Formula: (Q_b - Q_a) / (Q_b + Q_a)
    Unit: -1 to 1
    Null: a side empty
    Source: book
    """
    bid, ask = now.touch
    return ratio(bid - ask, bid + ask)


@MARKET_FEATURES.add("imbalance_5c", "depth", ["book"])
def imbalance_5c(now: Snapshot) -> float:
    """Imbalance within five cents.

    Formula: (bid_depth_5c - ask_depth_5c) / (bid_depth_5c + ask_depth_5c)
    Unit: -1 to 1
    Null: either null, or both 0
    Source: book
    """
    bid, ask = bid_depth(now, 5), ask_depth(now, 5)
    return ratio(bid - ask, bid + ask)


def _real(price: Floats, size: Floats) -> Bools:
    edge = (price <= 0.001 + _ROUNDING) | (price >= 0.999 - _ROUNDING)
    return ~(edge & (size > _PARKED))


def _sizes(now: Snapshot, bids: bool) -> Floats | None:
    if now.book is None:
        return None
    price, size = (now.book.bid, now.book.bid_size) if bids else (now.book.ask, now.book.ask_size)
    return size[_real(price, size)]


@MARKET_FEATURES.add("bid_levels", "depth", ["book"])
def bid_levels(now: Snapshot) -> float:
    """Number of bid prices, without parked orders.

    Formula: count of levels except those at 0.001 or 0.999 with more than 1,000,000 shares
    Unit: count
    Null: book missing
    Source: book
    """
    stored = _stored(now, "bid_levels")
    if stored is not None:
        return stored
    sizes = _sizes(now, bids=True)
    return np.nan if sizes is None else float(len(sizes))


@MARKET_FEATURES.add("ask_levels", "depth", ["book"])
def ask_levels(now: Snapshot) -> float:
    """Number of ask prices, without parked orders.

    Formula: count of levels except those at 0.001 or 0.999 with more than 1,000,000 shares
    Unit: count
    Null: book missing
    Source: book
    """
    stored = _stored(now, "ask_levels")
    if stored is not None:
        return stored
    sizes = _sizes(now, bids=False)
    return np.nan if sizes is None else float(len(sizes))


@MARKET_FEATURES.add("largest_bid_share", "depth", ["book"])
def largest_bid_share(now: Snapshot) -> float:
    """Size of the largest bid level divided by all bid sizes, without parked orders.

    Formula: largest bid size / sum of bid sizes
    Unit: 0 to 1
    Null: no bid
    Source: book
    """
    stored = _stored(now, "largest_bid_share")
    if stored is not None:
        return stored
    sizes = _sizes(now, bids=True)
    return np.nan if sizes is None or not len(sizes) else ratio(float(sizes.max()), float(sizes.sum()))


@MARKET_FEATURES.add("largest_ask_share", "depth", ["book"])
def largest_ask_share(now: Snapshot) -> float:
    """Size of the largest ask level divided by all ask sizes, without parked orders.

    Formula: largest ask size / sum of ask sizes
    Unit: 0 to 1
    Null: no ask
    Source: book
    """
    stored = _stored(now, "largest_ask_share")
    if stored is not None:
        return stored
    sizes = _sizes(now, bids=False)
    return np.nan if sizes is None or not len(sizes) else ratio(float(sizes.max()), float(sizes.sum()))


@MARKET_FEATURES.add("cost_buy_500", "depth", ["book"])
def cost_buy_500(now: Snapshot) -> float:
    """Price paid above the middle when buying for 500 USDC.

    Formula: 500 / shares bought by walking the asks - m
    Unit: probability
    Null: book missing, thinner than 500 USDC, or no middle
    Source: book
    """
    if now.book is None:
        return np.nan
    stored = _stored(now, "cost_buy_500")
    if stored is not None:
        return stored
    cash = now.book.ask * now.book.ask_size
    spent = np.minimum(cash, np.maximum(0.0, 500 - (np.cumsum(cash) - cash)))
    if spent.sum() < 500 - _ROUNDING:
        return np.nan
    return float(500 / (spent / now.book.ask).sum()) - now.mid
