"""Family G: other venues, the calendar, and the health of the data."""

import numpy as np

from analysis.arrays import DAY, HOUR, SECOND
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView, mid_at


@POINT_IN_TIME.add("basis_bp", "context", ["quotes", "others"])
def basis_bp(now: PointInTimeView) -> float:
    """Distance of the own middle from the median of the other venues' middles.

    Formula: 1e4 ln(m_own / median of the other venues' m), every quote at most 5 s old
    Unit: bp
    Null: own quote stale or before a gap, or all others
    Source: quotes of the same pair in the same currency
    """
    others = np.array([mid_at(other, now.t, other.gaps) for other in now.tape.others])
    others = others[~np.isnan(others)]
    own = mid_at(now.tape.quotes, now.t, now.tape.gaps)
    return 1e4 * float(np.log(own / np.median(others))) if len(others) else np.nan


@POINT_IN_TIME.add("lead_ret_5s", "context", ["quotes", "leader"])
def lead_ret_5s(now: PointInTimeView) -> float:
    """Return of the leading venue in 5 s minus the own return.

    Formula: 1e4 ln(m(T) / m(T - 5 s)) of the leader minus the same of our own
    Unit: bp
    Null: a quote at either end older than 5 s, or a gap of either venue between the ends
    Source: quotes of both venues
    """
    leader, begin = now.tape.leader, now.t - 5 * SECOND
    if leader is None or not now.complete(begin) or leader.gaps.missing(np.array([begin]), np.array([now.t]))[0]:
        return np.nan
    theirs, before = (mid_at(leader, t, leader.gaps) for t in (now.t, begin))
    ours, earlier = (mid_at(now.tape.quotes, t, now.tape.gaps) for t in (now.t, begin))
    return 1e4 * float(np.log(theirs / before) - np.log(ours / earlier))


@POINT_IN_TIME.add("tod_sin", "context", [])
def tod_sin(now: PointInTimeView) -> float:
    """Sine of the time of day on a circle.

    Formula: sin(2 pi seconds of the UTC day / 86400)
    Unit: 1
    Null: never
    Source: clock
    """
    return float(np.sin(2 * np.pi * (now.t % DAY) / DAY))


@POINT_IN_TIME.add("tod_cos", "context", [])
def tod_cos(now: PointInTimeView) -> float:
    """Cosine of the time of day on a circle.

    Formula: cos(2 pi seconds of the UTC day / 86400)
    Unit: 1
    Null: never
    Source: clock
    """
    return float(np.cos(2 * np.pi * (now.t % DAY) / DAY))


@POINT_IN_TIME.add("gap_share_60", "context", [])
def gap_share_60(now: PointInTimeView) -> float:
    """Fraction of the last hour in a gap; a data-quality flag that models leave out by default.

    Formula: time in gaps in (T - 60 min, T] / 60 min
    Unit: 0 to 1
    Null: never
    Source: gaps, healed since or not
    """
    return now.missing(now.t - HOUR) / HOUR
