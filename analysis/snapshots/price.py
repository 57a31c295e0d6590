"""A. Price. b and a are best bid and ask of YES, m their middle, Q_b and Q_a the sizes there."""

import numpy as np

from analysis.snapshots.view import SNAPSHOTS, Snapshot


@SNAPSHOTS.add("mid", "price", ["book"])
def mid(now: Snapshot) -> float:
    """Middle of the book.

    Formula: (b + a) / 2
    Unit: probability
    Null: a side empty
    Source: book
    """
    return now.mid


@SNAPSHOTS.add("best_bid", "price", ["book"])
def best_bid(now: Snapshot) -> float:
    """Highest price bid.

    Formula: b
    Unit: probability
    Null: no bid
    Source: book
    """
    return now.best_bid


@SNAPSHOTS.add("best_ask", "price", ["book"])
def best_ask(now: Snapshot) -> float:
    """Lowest price offered.

    Formula: a
    Unit: probability
    Null: no ask
    Source: book
    """
    return now.best_ask


@SNAPSHOTS.add("microprice", "price", ["book"])
def microprice(now: Snapshot) -> float:
    """Middle weighted by the size on the other side.

    Formula: (a Q_b + b Q_a) / (Q_b + Q_a)
    Unit: probability
    Null: a side empty
    Source: book; Stoikov (2018), the simple weighted mid
    """
    bid, ask = now.touch
    return (now.best_ask * bid + now.best_bid * ask) / (bid + ask) if bid + ask > 0 else np.nan


@SNAPSHOTS.add("last_trade_price", "price", ["fills", "listing"])
def last_trade_price(now: Snapshot) -> float:
    """Price of the last trade known, turned to YES.

    Formula: p
    Unit: probability
    Null: never traded
    Source: stream, or REST where it is later
    """
    return now.last_trade[1] if now.last_trade else np.nan


@SNAPSHOTS.add("gamma_price", "price", ["listing"])
def gamma_price(now: Snapshot) -> float:
    """Price in the venue's listing.

    Formula: outcomePrices[0]
    Unit: probability
    Null: missing
    Source: listing
    """
    return number(now.listing.price)


@SNAPSHOTS.add("logit_mid", "price", ["book"])
def logit_mid(now: Snapshot) -> float:
    """Log odds of the middle.

    Formula: ln(m / (1 - m)), m clipped to [0.001, 0.999]
    Unit: logit
    Null: mid null
    Source: book
    """
    m = float(np.clip(now.mid, 0.001, 0.999))
    return float(np.log(m / (1 - m)))


@SNAPSHOTS.add("dist_from_half", "price", ["book"])
def dist_from_half(now: Snapshot) -> float:
    """How far the market is from undecided.

    Formula: |m - 0.5|
    Unit: probability
    Null: mid null
    Source: book
    """
    return abs(now.mid - 0.5)


@SNAPSHOTS.add("last_minus_mid", "price", ["book", "fills", "listing"])
def last_minus_mid(now: Snapshot) -> float:
    """Last trade against the middle.

    Formula: last_trade_price - m
    Unit: probability
    Null: either null
    Source: book and trades
    """
    return last_trade_price(now) - now.mid


@SNAPSHOTS.add("event_overround", "price", ["event", "listing"])
def event_overround(now: Snapshot) -> float:
    """What all outcomes of the event cost together beyond 1.

    Formula: sum of YES mids over the event's open markets - 1
    Unit: probability
    Null: outcomes do not exclude each other (not negRisk), or any mid null
    Source: event listing
    """
    if now.event is None or not now.listing.neg_risk or not len(now.event.mids):
        return np.nan
    return float(now.event.mids.sum()) - 1


def number(value: float | None) -> float:
    """NaN for what was not given."""
    return np.nan if value is None else float(value)
