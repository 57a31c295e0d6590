"""Family F: order book. b, a are best bid and ask, B, A their sizes, m the middle; B_i, A_i sizes at level i."""

import numpy as np

from analysis.arrays import MINUTE, Floats, Quotes
from analysis.features import windows as w
from analysis.features.liquidity import time_weighted
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView

LEVELS = 10


def _imbalance(quotes: Quotes) -> Floats:
    """Return (n,) (B - A) / (B + A); null where the book is crossed or a side is empty."""
    imbalance = w.ratio(quotes.bid_size - quotes.ask_size, quotes.bid_size + quotes.ask_size)
    return w.where(quotes.ask > quotes.bid, imbalance)


@POINT_IN_TIME.add("queue_imb", "orderbook", ["quotes"])
def queue_imb(now: PointInTimeView) -> float:
    """Imbalance of the sizes at the best prices.

    Formula: (B - A) / (B + A)
    Unit: -1 to 1
    Null: quote older than 5 s or before a gap, crossed, or a side empty
    Source: Gould and Bonart (2016)
    """
    return float(_imbalance(now.quote)[0]) if len(now.quote) else np.nan


@POINT_IN_TIME.add("queue_imb_tw_1", "orderbook", ["quotes"])
def queue_imb_tw_1(now: PointInTimeView) -> float:
    """Time-weighted imbalance of the sizes at the best prices over a minute.

    Formula: time-weighted mean of (B - A) / (B + A)
    Unit: -1 to 1
    Null: valid for less than half of the minute
    Source: Gould and Bonart (2016)
    """
    rows = now.quotes(MINUTE)
    value, known = time_weighted(_imbalance(rows), rows.ts_event, np.array([now.t - MINUTE, now.t]))
    return float(value[0]) if known[0] >= 0.5 else np.nan


@POINT_IN_TIME.add("microprice_dev", "orderbook", ["quotes"])
def microprice_dev(now: PointInTimeView) -> float:
    """Distance of the size-weighted middle from the middle.

    Formula: 1e4 ((a B + b A) / (A + B) - m) / m
    Unit: bp
    Null: quote older than 5 s or before a gap, crossed, or a side empty
    Source: Stoikov (2018), the simple weighted mid
    """
    q = now.quote
    if not len(q):
        return np.nan
    micro = w.ratio(q.ask * q.bid_size + q.bid * q.ask_size, q.ask_size + q.bid_size)
    return float(1e4 * (micro[0] - q.mid[0]) / q.mid[0])


def order_flow(bid: Floats, bid_size: Floats, ask: Floats, ask_size: Floats) -> Floats:
    """Return (n - 1, ...) the net size that joined the bid or left the ask with each change of the book.

    Source: Cont, Kukanov and Stoikov (2014), eq. 4.
    """
    joined = bid_size[1:] * (bid[1:] >= bid[:-1]) - bid_size[:-1] * (bid[1:] <= bid[:-1])
    left = ask_size[1:] * (ask[1:] <= ask[:-1]) - ask_size[:-1] * (ask[1:] >= ask[:-1])
    return joined - left


@POINT_IN_TIME.add("ofi_{k}", "orderbook", ["quotes"], k=(1, 5))
def ofi(now: PointInTimeView, k: int) -> float:
    """Order flow imbalance at the best prices over k minutes, in units of the mean depth.

    Formula: sum e_n / mean of (A + B) / 2, e_n = B_n [b_n >= b_{n-1}] - B_{n-1} [b_n <= b_{n-1}]
        - A_n [a_n <= a_{n-1}] + A_{n-1} [a_n >= a_{n-1}]
    Unit: 1
    Null: fewer than 2 updates in the window, or a gap in it
    Source: Cont, Kukanov and Stoikov (2014)
    """
    rows = now.quote_changes(k * MINUTE)
    if np.count_nonzero(rows.ts_event > now.t - k * MINUTE) < 2:
        return np.nan
    flow = order_flow(rows.bid, rows.bid_size, rows.ask, rows.ask_size)
    inside = rows.take(rows.ts_event > now.t - k * MINUTE)
    depth = w.mean((inside.bid_size + inside.ask_size)[None] / 2)
    return float(w.ratio(w.total(flow[None]), depth)[0])


def level_flows(now: PointInTimeView) -> Floats:
    """Return (10,) the order flow of each level over a minute per mean depth; null with a missing level or a gap."""
    rows = now.depth_changes(MINUTE)
    if len(rows) < 2 or rows.bid.shape[1] < LEVELS:
        return np.full(LEVELS, np.nan)
    top = slice(None), slice(LEVELS)
    bid, bid_size, ask, ask_size = rows.bid[top], rows.bid_size[top], rows.ask[top], rows.ask_size[top]
    inside = rows.ts_event > now.t - MINUTE
    depth = ((bid_size + ask_size) / 2)[inside].sum(axis=0) / max(1, int(inside.sum()))
    flows = w.ratio(order_flow(bid, bid_size, ask, ask_size).sum(axis=0), depth)
    return flows if not np.isnan(flows).any() else np.full(LEVELS, np.nan)


def fit_level_weights(flows: Floats) -> Floats:
    """Return (10,) the first principal component of (n, 10) level flows; absolute values sum to 1, the sum is >= 0.

    Fit it on the training fold only, with `level_flows` at the times of that fold.

    Raises:
        ValueError: Fewer than two rows have all levels.

    Source: Cont, Cucuringu and Zhang (2023).
    """
    flows = flows[~np.isnan(flows).any(axis=1)]
    if len(flows) < 2:
        raise ValueError("the principal component of the book's levels needs at least two rows of order flow")
    _, _, components = np.linalg.svd(flows - flows.mean(axis=0), full_matrices=False)
    first: Floats = components[0]
    sign = 1.0 if float(first.sum()) >= 0 else -1.0
    return np.multiply(first, sign / float(np.abs(first).sum()))


@POINT_IN_TIME.add("mlofi_pc1", "orderbook", ["depths", "level_weights"])
def mlofi_pc1(now: PointInTimeView) -> float:
    """Order flow imbalance of ten levels over a minute, as one number.

    Formula: sum over levels 1 to 10 of weight x (order flow / mean depth of the level)
    Unit: 1
    Null: fewer than 10 levels, fewer than 2 updates, a gap in the minute, or no weights fitted
    Source: Cont, Cucuringu and Zhang (2023); weights by `fit_level_weights` on the training fold
    """
    weights = now.tape.level_weights
    return np.nan if weights is None else float(level_flows(now) @ weights)


@POINT_IN_TIME.add("depth_imb_10", "orderbook", ["depths"])
def depth_imb_10(now: PointInTimeView) -> float:
    """Imbalance of the sizes of ten levels.

    Formula: (sum B_i - sum A_i) / (sum B_i + sum A_i), i = 1 to 10; missing levels count 0
    Unit: -1 to 1
    Null: book older than 5 s or before a gap, crossed, or both sides empty
    Source: depth
    """
    if not len(now.depth):
        return np.nan
    bids, asks = np.nansum(now.depth.bid_size[0, :LEVELS]), np.nansum(now.depth.ask_size[0, :LEVELS])
    return float((bids - asks) / (bids + asks)) if bids + asks > 0 else np.nan


@POINT_IN_TIME.add("depth_1pct_ratio", "orderbook", ["depths"])
def depth_1pct_ratio(now: PointInTimeView) -> float:
    """Log ratio of the values bid and offered within 1 % of the middle, of the recorded levels.

    Formula: ln(sum bid notional with b_i >= 0.99 m / sum ask notional with a_i <= 1.01 m)
    Unit: 1
    Null: book older than 5 s or before a gap, crossed, or one side empty
    Source: depth
    """
    if not len(now.depth):
        return np.nan
    row = now.depth
    mid = (row.bid[0, 0] + row.ask[0, 0]) / 2
    bids = float(np.nansum((row.bid * row.bid_size)[row.bid >= 0.99 * mid]))
    asks = float(np.nansum((row.ask * row.ask_size)[row.ask <= 1.01 * mid]))
    return float(np.log(bids / asks)) if bids > 0 and asks > 0 else np.nan


@POINT_IN_TIME.add("cancel_ratio", "orderbook", ["quotes", "trades"])
def cancel_ratio(now: PointInTimeView) -> float:
    """Size removed from the best prices without a trade, divided by size added to them, over a minute.

    Formula: (max(0, bid removed - sold by takers) + max(0, ask removed - bought by takers)) / added; at an unchanged
        price the change of size; a better price adds its size; a worse one removes the size that stood before
    Unit: 1
    Null: nothing added, or a gap in the minute
    Source: quotes and trades
    """
    rows, trades = now.quote_changes(MINUTE), now.tape.trades.window(now.t, MINUTE)
    added = cancelled = 0.0
    for price, size, sign in ((rows.bid, rows.bid_size, 1), (rows.ask, rows.ask_size, -1)):
        step = sign * np.diff(price)
        change = np.diff(size)
        put = np.where(step > 0, size[1:], np.where(step == 0, np.maximum(change, 0), 0))
        gone = np.where(step < 0, size[:-1], np.where(step == 0, np.maximum(-change, 0), 0))
        added += float(np.nansum(put))
        cancelled += max(0.0, float(np.nansum(gone)) - float(trades.size[trades.side == -sign].sum()))
    return cancelled / added if added > 0 else np.nan
