"""Family E: trade flow from the stream, converted to YES. `signed` is +size when the taker bought YES, else -size."""

import numpy as np

from analysis.arrays import HOUR, MINUTE, SECOND
from analysis.prediction_markets.depth import ratio
from analysis.prediction_markets.view import MARKET_FEATURES, Snapshot


@MARKET_FEATURES.add("trades_{k}m", "flow", ["fills"], k=(1, 5))
def trades_minutes(now: Snapshot, k: int) -> float:
    """Number of trades in k minutes.

    Formula: count
    Unit: count
    Null: stream not healthy in the full window
    Source: stream
    """
    rows = now.fills(k * MINUTE)
    return np.nan if rows is None else float(len(rows))


@MARKET_FEATURES.add("trades_1h", "flow", ["fills"])
def trades_1h(now: Snapshot) -> float:
    """Number of trades in an hour.

    Formula: count
    Unit: count
    Null: stream not healthy in the full window
    Source: stream
    """
    return trades_minutes(now, 60)


@MARKET_FEATURES.add("volume_{k}m", "flow", ["fills"], k=(1, 5))
def volume_minutes(now: Snapshot, k: int) -> float:
    """Value traded in k minutes.

    Formula: sum of size x price
    Unit: USDC
    Null: stream not healthy in the full window
    Source: stream
    """
    rows = now.fills(k * MINUTE)
    return np.nan if rows is None else float(rows.cash.sum())


@MARKET_FEATURES.add("volume_1h", "flow", ["fills"])
def volume_1h(now: Snapshot) -> float:
    """Value traded in an hour.

    Formula: sum of size x price
    Unit: USDC
    Null: stream not healthy in the full window
    Source: stream
    """
    return volume_minutes(now, 60)


def _flow(now: Snapshot, span_ns: int) -> float:
    rows = now.fills(span_ns)
    return np.nan if rows is None else ratio(float((rows.size * rows.side).sum()), float(rows.size.sum()))


@MARKET_FEATURES.add("flow_5m", "flow", ["fills"])
def flow_5m(now: Snapshot) -> float:
    """Net buying of YES in five minutes.

    Formula: sum signed / sum size
    Unit: -1 to 1
    Null: no trade, or stream not healthy in the full window
    Source: stream
    """
    return _flow(now, 5 * MINUTE)


@MARKET_FEATURES.add("flow_1h", "flow", ["fills"])
def flow_1h(now: Snapshot) -> float:
    """Net buying of YES in an hour.

    Formula: sum signed / sum size
    Unit: -1 to 1
    Null: no trade, or stream not healthy in the full window
    Source: stream
    """
    return _flow(now, HOUR)


@MARKET_FEATURES.add("avg_trade_1h", "flow", ["fills"])
def avg_trade_1h(now: Snapshot) -> float:
    """Mean value of a trade in an hour.

    Formula: sum of size x price / count
    Unit: USDC
    Null: no trade, or stream not healthy in the full window
    Source: stream
    """
    return ratio(volume_1h(now), trades_1h(now))


@MARKET_FEATURES.add("vwap_gap_1h", "flow", ["fills", "book"])
def vwap_gap_1h(now: Snapshot) -> float:
    """Mean price paid in an hour minus the middle.

    Formula: sum of size x price / sum of size - m
    Unit: probability
    Null: no trade, mid null, or stream not healthy in the full window
    Source: stream and book
    """
    rows = now.fills(HOUR)
    return np.nan if rows is None else ratio(float(rows.cash.sum()), float(rows.size.sum())) - now.mid


@MARKET_FEATURES.add("secs_since_trade", "flow", ["fills", "listing"])
def secs_since_trade(now: Snapshot) -> float:
    """Time since the last known trade.

    Formula: t - time of the last trade
    Unit: s
    Null: no trade since subscribing or a gap since the last one, and none known by REST
    Source: stream, or REST when it is later
    """
    return (now.t - now.last_trade[0]) / SECOND if now.last_trade else np.nan


@MARKET_FEATURES.add("volume_accel", "flow", ["fills"])
def volume_accel(now: Snapshot) -> float:
    """Trading rate of five minutes relative to that of the hour.

    Formula: 12 volume_5m / volume_1h
    Unit: ratio
    Null: volume_1h 0, or stream not healthy in the full window
    Source: stream
    """
    return ratio(12 * volume_minutes(now, 5), volume_1h(now))


@MARKET_FEATURES.add("book_changes_1m", "flow", ["book_changes"])
def book_changes_1m(now: Snapshot) -> float:
    """Number of book changes in a minute.

    Formula: number of price_change entries
    Unit: count
    Null: stream not healthy in the full window
    Source: stream
    """
    if not now.flow_ok(MINUTE):
        return np.nan
    first, last = np.searchsorted(now.tape.book_changes, [now.t - MINUTE, now.t], side="right")
    return float(last - first)
