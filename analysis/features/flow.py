"""Family D: volume and trade flow. v is volume, n the number of trades, v_b and v_s taker volume bought and sold."""

import numpy as np

from analysis.arrays import DAY, MINUTE, Floats
from analysis.features import windows as w
from analysis.features.barview import BarView
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView
from analysis.features.returns import BARS
from analysis.gap_policy import continues, steps

DAYS = 20
MIN_DAYS = 10
MINUTES_PER_DAY = DAY // MINUTE


def _against_same_minute(view: BarView, values: Floats) -> Floats:
    """Return the z-score of ln x relative to the same minute of earlier days."""
    past = np.stack([view.at(values, MINUTES_PER_DAY * day) for day in range(1, DAYS + 1)], axis=-1)
    return against_days(view.at(values), past)


def against_days(now: Floats, past: Floats) -> Floats:
    """Return the z-score of ln x relative to earlier days.

    Args:
        now: (m,) values; null or 0 has no score.
        past: (m, DAYS) the values at the same minute of each earlier day.
    """
    logs = w.positive_log(past)
    logs[w.count(logs) < MIN_DAYS] = np.nan
    return w.ratio(w.positive_log(now) - w.mean(logs), w.deviation(logs))


@BARS.add("vol_z_tod", "flow", ["bars"])
def vol_z_tod(view: BarView) -> Floats:
    """Volume of the bar relative to the same minute of the previous 20 days.

    Formula: (ln v_t - mean) / sd of ln v at the same minute of day, sample deviation, minutes with volume
    Unit: sigma
    Null: fewer than 10 such days, no volume, or sd 0
    Source: bars of 20 days
    """
    return _against_same_minute(view, view.bars.volume)


@BARS.add("vol_ratio_20", "flow", ["bars"])
def vol_ratio_20(view: BarView) -> Floats:
    """Volume of the bar divided by the mean of the last 20.

    Formula: v_t / mean(v)
    Unit: 1
    Null: fewer than 20 bars, or mean 0
    Source: bar volumes
    """
    return view.over(20, lambda v: w.ratio(v[:, -1], w.mean(v)), view.bars.volume)


@BARS.add("trade_count_z", "flow", ["bars"])
def trade_count_z(view: BarView) -> Floats:
    """Number of trades of the bar relative to the same minute of the previous 20 days.

    Formula: (ln n_t - mean) / sd of ln n at the same minute of day, sample deviation, minutes with trades
    Unit: sigma
    Null: fewer than 10 such days, no trade, or sd 0
    Source: bars of 20 days
    """
    return _against_same_minute(view, _counts(view))


@BARS.add("avg_trade_size_ratio", "flow", ["bars"])
def avg_trade_size_ratio(view: BarView) -> Floats:
    """Mean trade size of 15 minutes divided by that of four hours.

    Formula: (sum v / sum n over 15) / (sum v / sum n over 240)
    Unit: 1
    Null: fewer than 240 bars, a gap touches more than 10 % of the 240 or of the 15, or no trade in 15
    Source: bar volumes and trade counts
    """

    def compute(v: Floats, n: Floats) -> Floats:
        recent = w.ratio(w.total(v[:, -15:]), w.total(n[:, -15:]))
        return w.ratio(recent, w.ratio(w.total(v), w.total(n)))

    return view.over(240, compute, view.bars.volume, _counts(view)) * view.recorded(15)


def _counts(view: BarView) -> Floats:
    return view.bars.trade_count.astype(np.float64)


@BARS.add("tfi_{k}", "flow", ["bars"], k=(1, 5, 15))
def tfi(view: BarView, k: int) -> Floats:
    """Imbalance of volume bought and sold by takers over k bars.

    Formula: (sum v_b - sum v_s) / (sum v_b + sum v_s)
    Unit: -1 to 1
    Null: fewer than k bars, or no trade with a known side
    Source: aggressor side as reported by the venue
    """

    def compute(bought: Floats, sold: Floats) -> Floats:
        b, s = w.total(bought), w.total(sold)
        return w.ratio(b - s, b + s)

    return view.over(k, compute, view.bars.buy_volume, view.bars.sell_volume)


@POINT_IN_TIME.add("large_trade_share", "flow", ["trades"])
def large_trade_share(now: PointInTimeView) -> float:
    """Fraction of the traded value of 15 minutes that came from large trades.

    Formula: notional of trades above the 99th percentile of the previous day / notional of all
    Unit: 0 to 1
    Null: no trade, a gap in the 15 minutes, which may hide the few large trades, or the previous day not recorded
    Source: trades; percentile of the trades received by midnight
    """
    rows = now.trades(15 * MINUTE)
    _, large = now.tape.day_before(now.t)
    if not len(rows) or np.isnan(large) or not now.complete(now.t - 15 * MINUTE):
        return np.nan
    notional = rows.price * rows.size
    return float(notional[notional > large].sum() / notional.sum())


@POINT_IN_TIME.add("trade_sign_acf1", "flow", ["trades"])
def trade_sign_acf1(now: PointInTimeView) -> float:
    """Autocorrelation of the sides of consecutive trades, a measure of order splitting.

    Formula: lag-1 autocorrelation of the sign of the last 500 trades with a known side
    Unit: 1
    Null: fewer than 100 trades, or all on one side; neighbours that a gap separates do not count
    Source: Lillo and Farmer (2004)
    """
    rows = now.last_trades(500)
    rows = rows.take(rows.side != 0)
    if len(rows) < 100:
        return np.nan
    signs = rows.side.astype(np.float64)
    after_gap = np.flatnonzero(~continues(rows.ts_event, now.tape.gaps)[1:]) + 1
    return float(w.autocorrelation(np.insert(signs, after_gap, np.nan)[None], 1)[0])


@POINT_IN_TIME.add("intertrade_cv", "flow", ["trades"])
def intertrade_cv(now: PointInTimeView) -> float:
    """Irregularity of the times between trades over 15 minutes; 1 for a Poisson process.

    Formula: sd / mean of the times between neighbouring trades, sample deviation
    Unit: 1
    Null: fewer than 20 trades, or all at one instant; a time over a gap does not count
    Source: trades
    """
    rows = now.trades(15 * MINUTE)
    if len(rows) < 20:
        return np.nan
    waits = steps(rows.ts_event, rows.ts_event, now.tape.gaps)[None]
    return float(w.ratio(w.deviation(waits), w.mean(waits))[0])


@POINT_IN_TIME.add("vpin_50", "flow", ["trades"])
def vpin_50(now: PointInTimeView) -> float:
    """Mean imbalance of the last 50 buckets of equal volume, counted back from now.

    Formula: mean of |V_b - V_s| / V over 50 buckets, each 1/50 of the previous day's volume; a trade across a border is
        divided
    Unit: 0 to 1
    Null: fewer than 50 buckets traded in 3 days, or no side known
    Source: Easley, Lopez de Prado and O'Hara (2012); the venue's side, not bulk classification
    """
    bucket = now.tape.day_before(now.t)[0] / 50
    if not bucket > 0:
        return np.nan
    for days in (1, 3):
        rows = now.trades(days * DAY)
        if rows.size.sum() >= 50 * bucket * (1 - 1e-12):
            break
    else:
        return np.nan
    if not rows.side.any():
        return np.nan
    size = rows.size[::-1]
    volume = np.concatenate([[0.0], np.cumsum(size)])
    signed = np.concatenate([[0.0], np.cumsum(size * rows.side[::-1])])
    at_border = np.interp(bucket * np.arange(51), volume, signed)
    return float(np.mean(np.abs(np.diff(at_border))) / bucket)
