"""Families G and H: the event, the category, and large traders.

A whale is a taker whose fills in one transaction total at least 1,000 USDC, and at least the 99th percentile of the
market's own transactions once it has had 100 trades.
"""

import numpy as np

from analysis.arrays import DAY, HOUR, Floats, Ints
from analysis.prediction_markets.depth import ratio
from analysis.prediction_markets.flow import volume_1h
from analysis.prediction_markets.view import MARKET_FEATURES, Fills, Snapshot

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
MIN_TRADES = 100


@MARKET_FEATURES.add("category", "event", ["listing"])
def category(now: Snapshot) -> str:
    """Category of the market.

    Formula: one of CATEGORIES
    Unit: categorical
    Null: never; other
    Source: listing
    """
    return now.listing.category if now.listing.category in CATEGORIES else "other"


@MARKET_FEATURES.add("event_market_count", "event", ["event"])
def event_market_count(now: Snapshot) -> float:
    """Number of open markets of the event.

    Formula: count
    Unit: count
    Null: event missing
    Source: event listing
    """
    return float(len(now.event.mids)) if now.event else np.nan


@MARKET_FEATURES.add("rank_in_event", "event", ["event"])
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
    """Return the cash of each transaction, unsigned and signed by side."""
    return _per(rows.transaction, rows.cash), _per(rows.transaction, rows.cash * rows.side)


def _per(key: Ints, values: Floats) -> Floats:
    """Return the sum of the values for each key."""
    _, index = np.unique(key, return_inverse=True)
    return np.bincount(index, values).astype(np.float64)


def _whales(now: Snapshot) -> Floats | None:
    """Return the signed cash of the whales' transactions of an hour."""
    rows = now.fills(HOUR)
    if rows is None:
        return None
    least = WHALE_CASH
    known = now.tape.fills.until(now.t)
    if len(known) >= MIN_TRADES:
        least = max(least, float(np.percentile(_transactions(known)[0], 99)))
    cash, signed = _transactions(rows)
    return signed[cash >= least]


@MARKET_FEATURES.add("whale_count_1h", "event", ["fills"])
def whale_count_1h(now: Snapshot) -> float:
    """Number of whale transactions in an hour.

    Formula: count of transactions
    Unit: count
    Null: stream not healthy throughout
    Source: stream
    """
    whales = _whales(now)
    return np.nan if whales is None else float(len(whales))


@MARKET_FEATURES.add("whale_net_1h", "event", ["fills"])
def whale_net_1h(now: Snapshot) -> float:
    """Net buying of YES by whales in an hour.

    Formula: sum of their signed cash / volume_1h
    Unit: -1 to 1
    Null: nothing traded, or stream not healthy throughout
    Source: stream
    """
    whales = _whales(now)
    return np.nan if whales is None else ratio(float(whales.sum()), volume_1h(now))


@MARKET_FEATURES.add("top_wallet_share_24h", "event", ["wallet_fills"])
def top_wallet_share_24h(now: Snapshot) -> float:
    """Fraction of a day's traded value from the largest taker.

    Formula: largest cash of a wallet / cash of all
    Unit: 0 to 1
    Null: wallets not fetched for the window in the last 10 minutes (an hour when polled hourly), or nothing traded;
        on a recorded tape always: it needs every trade of the market with its wallet, and the poller asks the feed of
        the site for large fills only (whale_event). All fills are about 350,000 rows a day.
    Source: the venue's trades API, which names wallets with a delay
    """
    rows = now.wallet_fills(DAY)
    if rows is None or not len(rows):
        return np.nan
    return ratio(float(_per(rows.wallet, rows.cash).max()), float(rows.cash.sum()))
