"""E. Trade flow from the stream, turned to YES. `signed` is +size where the taker bought YES, else -size."""

import numpy as np

from analysis.arrays import HOUR, MINUTE, SECOND
from analysis.snapshots.depth import share
from analysis.snapshots.view import SNAPSHOTS, Snapshot


@SNAPSHOTS.add("trades_{k}m", "flow", ["fills"], k=(1, 5))
def trades_minutes(now: Snapshot, k: int) -> float:
    """Number of trades in k minutes.

    Formula: count
    Unit: count
    Null: stream not healthy throughout
    Source: stream
    """
    rows = now.fills(k * MINUTE)
    return np.nan if rows is None else float(len(rows))


@SNAPSHOTS.add("trades_1h", "flow", ["fills"])
def trades_1h(now: Snapshot) -> float:
    """Number of trades in an hour.

    Formula: count
    Unit: count
    Null: stream not healthy throughout
    Source: stream
    """
    return trades_minutes(now, 60)


@SNAPSHOTS.add("volume_{k}m", "flow", ["fills"], k=(1, 5))
def volume_minutes(now: Snapshot, k: int) -> float:
    """Value traded in k minutes.

    Formula: sum of size x price
    Unit: USDC
    Null: stream not healthy throughout
    Source: stream
    """
    rows = now.fills(k * MINUTE)
    return np.nan if rows is None else float(rows.cash.sum())


@SNAPSHOTS.add("volume_1h", "flow", ["fills"])
def volume_1h(now: Snapshot) -> float:
    """Value traded in an hour.

    Formula: sum of size x price
    Unit: USDC
    Null: stream not healthy throughout
    Source: stream
    """
    return volume_minutes(now, 60)


def _flow(now: Snapshot, span_ns: int) -> float:
    rows = now.fills(span_ns)
    return np.nan if rows is None else share(float((rows.size * rows.side).sum()), float(rows.size.sum()))


@SNAPSHOTS.add("flow_5m", "flow", ["fills"])
def flow_5m(now: Snapshot) -> float:
    """Net buying of YES in five minutes.

    Formula: sum signed / sum size
    Unit: -1 to 1
    Null: no trade, or stream not healthy throughout
    Source: stream
    """
    return _flow(now, 5 * MINUTE)


@SNAPSHOTS.add("flow_1h", "flow", ["fills"])
def flow_1h(now: Snapshot) -> float:
    """Net buying of YES in an hour.

    Formula: sum signed / sum size
    Unit: -1 to 1
    Null: no trade, or stream not healthy throughout
    Source: stream
    """
    return _flow(now, HOUR)


@SNAPSHOTS.add("avg_trade_1h", "flow", ["fills"])
def avg_trade_1h(now: Snapshot) -> float:
    """Mean value of a trade in an hour.

    Formula: sum of size x price / count
    Unit: USDC
    Null: no trade, or stream not healthy throughout
    Source: stream
    """
    return share(volume_1h(now), trades_1h(now))


@SNAPSHOTS.add("vwap_gap_1h", "flow", ["fills", "book"])
def vwap_gap_1h(now: Snapshot) -> float:
    """Mean price paid in an hour against the middle.

    Formula: sum of size x price / sum of size - m
    Unit: probability
    Null: no trade, mid null, or stream not healthy throughout
    Source: stream and book
    """
    rows = now.fills(HOUR)
    return np.nan if rows is None else share(float(rows.cash.sum()), float(rows.size.sum())) - now.mid


@SNAPSHOTS.add("secs_since_trade", "flow", ["fills", "listing"])
def secs_since_trade(now: Snapshot) -> float:
    """Time since the last trade known.

    Formula: t - time of the last trade
    Unit: s
    Null: no trade since subscribing, and none known by REST
    Source: stream, or REST where it is later
    """
    return (now.t - now.last_trade[0]) / SECOND if now.last_trade else np.nan


@SNAPSHOTS.add("volume_accel", "flow", ["fills"])
def volume_accel(now: Snapshot) -> float:
    """Rate of trading of five minutes against that of the hour.

    Formula: 12 volume_5m / volume_1h
    Unit: ratio
    Null: volume_1h 0, or stream not healthy throughout
    Source: stream
    """
    return share(12 * volume_minutes(now, 5), volume_1h(now))


@SNAPSHOTS.add("book_changes_1m", "flow", ["book_changes"])
def book_changes_1m(now: Snapshot) -> float:
    """How often the book changed in a minute.

    Formula: number of price_change entries
    Unit: count
    Null: stream not healthy throughout
    Source: stream
    """
    if not now.flow_ok(MINUTE):
        return np.nan
    first, last = np.searchsorted(now.tape.book_changes, [now.t - MINUTE, now.t], side="right")
    return float(last - first)
