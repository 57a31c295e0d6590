"""Family A: price. b, a are best bid and ask of YES, m their middle, Q_b, Q_a their sizes."""

import numpy as np

from analysis.prediction_markets.view import MARKET_FEATURES, Snapshot


@MARKET_FEATURES.add("mid", "price", ["book"])
def mid(now: Snapshot) -> float:
    """Middle of the book.

    Formula: (b + a) / 2
    Unit: probability
    Null: a side empty
    Source: book
    """
    return now.mid


@MARKET_FEATURES.add("best_bid", "price", ["book"])
def best_bid(now: Snapshot) -> float:
    """Highest bid price.

    Formula: b
    Unit: probability
    Null: no bid
    Source: book
    """
    return now.best_bid


@MARKET_FEATURES.add("best_ask", "price", ["book"])
def best_ask(now: Snapshot) -> float:
    """Lowest ask price.

    Formula: a
    Unit: probability
    Null: no ask
    Source: book
    """
    return now.best_ask


@MARKET_FEATURES.add("microprice", "price", ["book"])
def microprice(now: Snapshot) -> float:
    """Middle weighted by the size on the opposite side.

    Formula: (a Q_b + b Q_a) / (Q_b + Q_a)
    Unit: probability
    Null: a side empty
    Source: book; Stoikov (2018), the simple weighted mid
    """
    bid, ask = now.touch
    return (now.best_ask * bid + now.best_bid * ask) / (bid + ask) if bid + ask > 0 else np.nan


@MARKET_FEATURES.add("last_trade_price", "price", ["fills", "listing"])
def last_trade_price(now: Snapshot) -> float:
    """Price of the last known trade, converted to YES.

    Formula: p
    Unit: probability
    Null: never traded, or a gap since the last trade of the stream and no price by REST
    Source: stream, or REST when it is later
    """
    return number(now.last_price)


@MARKET_FEATURES.add("gamma_price", "price", ["listing"])
def gamma_price(now: Snapshot) -> float:
    """Price in the venue's listing.

    Formula: outcomePrices[0]
    Unit: probability
    Null: missing
    Source: listing
    """
    return number(now.listing.price)


@MARKET_FEATURES.add("logit_mid", "price", ["book"])
def logit_mid(now: Snapshot) -> float:
    """Log odds of the middle.

    Formula: ln(m / (1 - m)), m clipped to [0.001, 0.999]
    Unit: logit
    Null: mid null
    Source: book
    """
    m = float(np.clip(now.mid, 0.001, 0.999))
    return float(np.log(m / (1 - m)))


@MARKET_FEATURES.add("dist_from_half", "price", ["book"])
def dist_from_half(now: Snapshot) -> float:
    """Distance of the middle from one half.

    Formula: |m - 0.5|
    Unit: probability
    Null: mid null
    Source: book
    """
    return abs(now.mid - 0.5)


@MARKET_FEATURES.add("last_minus_mid", "price", ["book", "fills", "listing"])
def last_minus_mid(now: Snapshot) -> float:
    """Last trade price minus the middle.

    Formula: last_trade_price - m
    Unit: probability
    Null: either null
    Source: book and trades
    """
    return last_trade_price(now) - now.mid


@MARKET_FEATURES.add("event_overround", "price", ["event", "listing"])
def event_overround(now: Snapshot) -> float:
    """Sum of all outcome prices of the event in excess of 1.

    Formula: sum of YES mids over the event's open markets - 1
    Unit: probability
    Null: outcomes do not exclude each other (not negRisk), or any mid null
    Source: event listing
    """
    if now.event is None or not now.listing.neg_risk or not len(now.event.mids):
        return np.nan
    return float(now.event.mids.sum()) - 1


def number(value: float | None) -> float:
    """Return the value, or NaN for None."""
    return np.nan if value is None else float(value)
