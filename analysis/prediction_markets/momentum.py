"""Family F: momentum and volatility of the middle m.

Recorded snapshots are resampled: a minute takes the last m, at most 10 minutes old (60 minutes for the features of a
day in markets polled once an hour).
"""

import numpy as np

from analysis.arrays import DAY, HOUR, MINUTE
from analysis.features import windows as w
from analysis.prediction_markets.depth import ratio
from analysis.prediction_markets.view import MARKET_FEATURES, OLD_POINT, Snapshot


def _change(now: Snapshot, span_ns: int, max_age_ns: int) -> float:
    before = now.mids(span_ns, span_ns, max_age_ns)[0]
    return float(now.changes(np.array([before, now.mid]), span_ns, span_ns)[0])


@MARKET_FEATURES.add("ret_5m", "momentum", ["book", "mids"])
def ret_5m(now: Snapshot) -> float:
    """Change of the middle in five minutes.

    Formula: m(t) - m(t - 5 min)
    Unit: probability
    Null: mid null, no point at that time, or a gap of the points since
    Source: own snapshots
    """
    return _change(now, 5 * MINUTE, OLD_POINT)


@MARKET_FEATURES.add("ret_1h", "momentum", ["book", "mids"])
def ret_1h(now: Snapshot) -> float:
    """Change of the middle in an hour.

    Formula: m(t) - m(t - 1 h)
    Unit: probability
    Null: mid null, no point at that time, or a gap of the points since
    Source: own snapshots
    """
    return _change(now, HOUR, OLD_POINT)


@MARKET_FEATURES.add("ret_24h", "momentum", ["book", "mids"])
def ret_24h(now: Snapshot) -> float:
    """Change of the middle in a day.

    Formula: m(t) - m(t - 24 h)
    Unit: probability
    Null: mid null, no point at that time, or a gap of the points since
    Source: own snapshots
    """
    return _change(now, DAY, now.day_max_age)


def _volatility(now: Snapshot, span_ns: int, step_ns: int, max_age_ns: int, least: int) -> float:
    points = now.mids(span_ns, step_ns, max_age_ns)
    if np.isfinite(points).sum() < least:
        return np.nan
    return float(w.deviation(now.changes(points, span_ns, step_ns)[None])[0])


@MARKET_FEATURES.add("vol_1h", "momentum", ["mids"])
def vol_1h(now: Snapshot) -> float:
    """Volatility of an hour.

    Formula: standard deviation of 1-minute changes of m, sample deviation
    Unit: probability
    Null: fewer than 20 points; a change over a gap does not count
    Source: own snapshots
    """
    return _volatility(now, HOUR, MINUTE, OLD_POINT, 20)


@MARKET_FEATURES.add("vol_24h", "momentum", ["mids"])
def vol_24h(now: Snapshot) -> float:
    """Volatility of a day.

    Formula: standard deviation of 30-minute changes of m, sample deviation
    Unit: probability
    Null: fewer than 12 points; a change over a gap does not count
    Source: own snapshots
    """
    return _volatility(now, DAY, 30 * MINUTE, now.day_max_age, 12)


def _extremes(now: Snapshot) -> tuple[float, float]:
    points = now.mids(DAY - MINUTE, MINUTE, now.day_max_age)
    if np.isfinite(points).sum() < 12:
        return np.nan, np.nan
    return float(np.nanmin(points)), float(np.nanmax(points))


@MARKET_FEATURES.add("range_24h", "momentum", ["mids"])
def range_24h(now: Snapshot) -> float:
    """Range of the middle in a day.

    Formula: max m - min m
    Unit: probability
    Null: fewer than 12 points
    Source: own snapshots
    """
    low, high = _extremes(now)
    return high - low


@MARKET_FEATURES.add("pos_in_range_24h", "momentum", ["book", "mids"])
def pos_in_range_24h(now: Snapshot) -> float:
    """Position of the middle in the range of a day.

    Formula: (m - min m) / (max m - min m), m(t) included
    Unit: 0 to 1
    Null: range 0 or null, or mid null
    Source: own snapshots and book
    """
    low, high = _extremes(now)
    low, high = min(low, now.mid), max(high, now.mid)
    return ratio(now.mid - low, high - low)
