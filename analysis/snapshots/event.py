"""G and H. The event, the category, and the large traders.

A whale is a taker whose fills of one transaction come to at least 1,000 USDC, and to the 99th percentile of the
market's own transactions once it has had 100 trades.
"""

import numpy as np

from analysis.arrays import DAY, HOUR, Floats, Ints
from analysis.snapshots.depth import share
from analysis.snapshots.flow import volume_1h
from analysis.snapshots.view import SNAPSHOTS, Fills, Snapshot

CATEGORIES = (
    "politics",
    "sports",
    "crypto",
    "economy",
    "weather",
    "tech",
    "culture",
    "world",
    "mentions",
    "other",
)

WHALE_CASH = 1_000.0
LEAST_TRADES = 100


@SNAPSHOTS.add("category", "event", ["listing"])
def category(now: Snapshot) -> str:
    """What the market is about.

    Formula: one of CATEGORIES
    Unit: categorical
    Null: never; other
    Source: listing
    """
    return now.listing.category if now.listing.category in CATEGORIES else "other"


@SNAPSHOTS.add("event_market_count", "event", ["event"])
def event_market_count(now: Snapshot) -> float:
    """How many markets of the event are open.

    Formula: count
    Unit: count
    Null: event missing
    Source: event listing
    """
    return float(len(now.event.mids)) if now.event else np.nan


@SNAPSHOTS.add("rank_in_event", "event", ["event"])
def rank_in_event(now: Snapshot) -> float:
    """Rank of the market's middle in its event.

    Formula: 1 + number of members with a higher mid
    Unit: int, 1 is the highest
    Null: one member, or mid null
    Source: event listing
    """
    if now.event is None or len(now.event.mids) < 2:
        return np.nan
    own = now.event.mids[now.event.own]
    return np.nan if np.isnan(own) else float(1 + (now.event.mids > own).sum())


def _transactions(rows: Fills) -> tuple[Floats, Floats]:
    """Cash of each transaction, and the same with the sign of its side."""
    return _per(rows.transaction, rows.cash), _per(rows.transaction, rows.cash * rows.side)


def _per(key: Ints, values: Floats) -> Floats:
    """Sum of the values of each key."""
    _, index = np.unique(key, return_inverse=True)
    return np.bincount(index, values).astype(np.float64)


def _whales(now: Snapshot) -> Floats | None:
    """Signed cash of the whales' transactions of an hour."""
    rows = now.fills(HOUR)
    if rows is None:
        return None
    least = WHALE_CASH
    known = now.tape.fills.until(now.t)
    if len(known) >= LEAST_TRADES:
        least = max(least, float(np.percentile(_transactions(known)[0], 99)))
    cash, signed = _transactions(rows)
    return signed[cash >= least]


@SNAPSHOTS.add("whale_count_1h", "event", ["fills"])
def whale_count_1h(now: Snapshot) -> float:
    """Number of whales' trades in an hour.

    Formula: count of transactions
    Unit: count
    Null: stream not healthy throughout
    Source: stream
    """
    whales = _whales(now)
    return np.nan if whales is None else float(len(whales))


@SNAPSHOTS.add("whale_net_1h", "event", ["fills"])
def whale_net_1h(now: Snapshot) -> float:
    """Net buying of YES by whales in an hour.

    Formula: sum of their signed cash / volume_1h
    Unit: -1 to 1
    Null: nothing traded, or stream not healthy throughout
    Source: stream
    """
    whales = _whales(now)
    return np.nan if whales is None else share(float(whales.sum()), volume_1h(now))


@SNAPSHOTS.add("top_wallet_share_24h", "event", ["wallet_fills"])
def top_wallet_share_24h(now: Snapshot) -> float:
    """Share of the largest taker in the value traded in a day.

    Formula: largest cash of a wallet / cash of all
    Unit: 0 to 1
    Null: wallets not fetched for the window in the last 10 minutes (an hour where polled hourly), or nothing traded
    Source: the venue's trades API, which names wallets some time later
    """
    rows = now.wallet_fills(DAY)
    if rows is None or not len(rows):
        return np.nan
    return share(float(_per(rows.wallet, rows.cash).max()), float(rows.cash.sum()))
