"""Statistics of rows that come in events: sums by event, and the corrections that few events need."""

from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats

MIN_EVENTS = 12
"""With fewer events nothing is tested and no interval is given."""

_NORMAL = NormalDist()
_TINY = 1e-15  # the smallest p value that is distinguished from 0


def by_event(values: Floats, event: npt.NDArray[np.generic]) -> Floats:
    """Return (events,) or (events, k) the sums of the rows of each event.

    Args:
        values: (n,) or (n, k).
        event: (n,) event of each row.
    """
    names, index = np.unique(event, return_inverse=True)
    out = np.zeros((len(names), *values.shape[1:]))
    np.add.at(out, index, values)
    return out


def student_z(t: float, freedom: int) -> float:
    """Return the normal deviate with the same tail as Student's t.

    Source: Wallace (1959); the error is below 0.001 from 10 degrees of freedom on.
    """
    bend = (8 * freedom + 1) / (8 * freedom + 3)
    return float(np.sign(t) * bend * np.sqrt(freedom * np.log1p(t * t / freedom)))


def student_t(z: float, freedom: int) -> float:
    """Return Student's t with the same tail as a normal deviate, the inverse of `student_z`."""
    bend = (8 * freedom + 1) / (8 * freedom + 3)
    return float(np.sign(z) * np.sqrt(freedom * np.expm1((z / bend) ** 2 / freedom)))


def upper_tail(z: float) -> float:
    """Return the probability that a normal deviate exceeds z."""
    return 1.0 - _NORMAL.cdf(z)


def deviate(p: float) -> float:
    """Return the normal deviate that is exceeded with probability p."""
    return _NORMAL.inv_cdf(1.0 - min(max(p, _TINY), 1.0 - _TINY))


def score_p_value(score: Floats, information: Floats, by_events: Floats) -> float:
    """Return the p value of a two-parameter score, the larger of two tests.

    The first is Rao's score test, whose variance is that of the null hypothesis: it covers rare outcomes that the
    sample lacks. The second is Hotelling's T-squared of the scores by event: it covers markets of an event that move
    together, and its F distribution corrects for few events.

    Args:
        score: (2,) sum of the scores.
        information: (2, 2) variance of the sum if the null hypothesis holds, see `null_variance`.
        by_events: (events, 2) scores summed by event.

    Source: Rao (1948); Hotelling (1931).
    """
    count = len(by_events)
    independent = float(np.exp(-0.5 * (score @ np.linalg.pinv(information) @ score)))
    centred = by_events - by_events.mean(axis=0)
    spread = centred.T @ centred * count / (count - 1)
    squared = float(score @ np.linalg.pinv(spread) @ score)
    freedom = count - 2
    clustered = float((1.0 + squared / (count - 1)) ** (-freedom / 2))  # F with 2 and events - 2 degrees of freedom
    return max(independent, clustered)


def null_variance(factor: Floats, variance: Floats, outcome: npt.NDArray[np.generic]) -> Floats:
    """Return (k, k) the variance of the sum of factor x (label - p) if the forecasts p are right.

    Rows of one outcome, such as a market at several horizons, are not independent: the error of a forecast contains
    that of a later one, so their covariance is the smaller of their variances.

    Args:
        factor: (n, k) factors of the errors, such as weight x margin.
        variance: (n,) p (1 - p).
        outcome: (n,) rows with the same value have the same label.
    """
    order = np.argsort(outcome, kind="stable")
    mine, factor, variance = outcome[order], factor[order], variance[order]
    total = (factor * variance[:, None]).T @ factor
    for apart in range(1, len(mine)):
        pairs = np.flatnonzero(mine[apart:] == mine[:-apart])
        if not len(pairs):
            break
        shared = np.minimum(variance[pairs], variance[pairs + apart])
        both = (factor[pairs] * shared[:, None]).T @ factor[pairs + apart]
        total = total + both + both.T
    return np.asarray(total, np.float64)


def holm(p: list[float]) -> list[float]:
    """Return p values adjusted for their number; the chance of any false claim stays at the level.

    Source: Holm (1979).
    """
    order = np.argsort(p, kind="stable")
    out, largest = np.empty(len(p)), 0.0
    for rank, place in enumerate(order.tolist()):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        out[place] = largest
    return [float(value) for value in out]
