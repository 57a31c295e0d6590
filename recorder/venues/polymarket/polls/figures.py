"""The figures of a book of outcome 0: prices, spread, depth, largest orders and imbalance.

An empty side has no price and no size (None), and depth and levels of 0, because the book was seen. The formulas are
those of the snapshot features A and B, so that a stored figure equals the feature of that name.
"""

from typing import final

import msgspec

from recorder.venues.polymarket.polls.books import Side

CENTS = (1, 2, 5, 10)
PARKED_SHARES = 1_000_000
"""A larger order at 0.001 or 0.999 is parked there and is no liquidity: it is no level and no largest order."""
COST_USDC = 500.0
_LOW, _HIGH = 0.001, 0.999
_ROUNDING = 1e-9  # a level at exactly m - 0.01 is within 0.01
_DECIMALS = 9  # prices have at most 4, their middle 5; subtraction adds noise behind the 15th

Depth = tuple[float, float, float, float]
"""Shares within 1, 2, 5 and 10 cents of the middle."""


@final
class Figures(msgspec.Struct, frozen=True, gc=False):
    """Prices are probabilities, sizes are shares, cash is USDC."""

    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    spread: float | None
    mid: float | None
    microprice: float | None  # (a Qb + b Qa) / (Qb + Qa)
    bid_depth: Depth | None  # 0 where there is no bid; None where there are bids but no middle
    ask_depth: Depth | None
    bid_levels: int
    ask_levels: int
    bid_shares: float  # all bids except parked ones
    ask_shares: float
    largest_bid: tuple[float, float] | None  # (price, size) of the largest level except parked ones
    largest_ask: tuple[float, float] | None
    imbalance_touch: float | None  # (Qb - Qa) / (Qb + Qa)
    imbalance_5c: float | None  # the same of the depth within 5 cents
    cost_buy_500: float | None  # average price of buying for 500 USDC, minus mid


def figures(bids: Side, asks: Side) -> Figures:
    """Return the figures of a book whose sides have their best price first and no level without size."""
    bid, bid_size = bids[0] if bids else (None, None)
    ask, ask_size = asks[0] if asks else (None, None)
    spread = mid = microprice = touch = None
    if bid is not None and ask is not None and bid_size is not None and ask_size is not None:
        spread = round(ask - bid, _DECIMALS)
        mid = round((bid + ask) / 2, _DECIMALS)
        microprice = (ask * bid_size + bid * ask_size) / (bid_size + ask_size)
        touch = _imbalance(bid_size, ask_size)
    bid_depth, ask_depth = _depth(bids, mid), _depth(asks, mid)
    real_bids = _without_parked(bids)
    real_asks = _without_parked(asks)
    return Figures(
        bid, bid_size, ask, ask_size, spread, mid, microprice,
        bid_depth, ask_depth,
        len(real_bids), len(real_asks),
        sum([size for _, size in real_bids]), sum([size for _, size in real_asks]),
        max(real_bids, key=_size) if real_bids else None, max(real_asks, key=_size) if real_asks else None,
        touch,
        None if bid_depth is None or ask_depth is None else _imbalance(bid_depth[2], ask_depth[2]),
        None if mid is None else _cost(asks, mid),
    )  # fmt: skip


def _size(level: tuple[float, float]) -> float:
    return level[1]


def _imbalance(bid: float, ask: float) -> float | None:
    return (bid - ask) / (bid + ask) if bid + ask else None


def _depth(side: Side, mid: float | None) -> Depth | None:
    if not side:
        return 0.0, 0.0, 0.0, 0.0
    if mid is None:
        return None
    sums: list[float] = []
    total, number, count = 0.0, 0, len(side)
    for cents in CENTS:
        limit = cents / 100 + _ROUNDING
        while number < count and abs(side[number][0] - mid) <= limit:
            total += side[number][1]
            number += 1
        sums.append(total)
    return sums[0], sums[1], sums[2], sums[3]


def _without_parked(side: Side) -> Side:
    """Return a side without its parked orders, which can stand at either end of it only."""
    if not side or (_is_inside(side[0][0]) and _is_inside(side[-1][0])):
        return side
    return [(price, size) for price, size in side if _is_inside(price) or size <= PARKED_SHARES]


def _is_inside(price: float) -> bool:
    return _LOW + _ROUNDING < price < _HIGH - _ROUNDING


def _cost(asks: Side, mid: float) -> float | None:
    """Return the average price of buying for COST_USDC minus the middle; None where the asks are worth less."""
    left, shares = COST_USDC, 0.0
    for price, size in asks:
        cash = price * size
        if cash >= left:
            return COST_USDC / (shares + left / price) - mid
        left -= cash
        shares += size
    return None
