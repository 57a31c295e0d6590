"""Skill: the loss that a forecast saves against a baseline on the same rows, with an interval by event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats
from analysis.datasets.clustered import MIN_EVENTS, by_event, deviate, student_t, student_z, upper_tail

RESAMPLES = 2000
COVERAGE = 0.95
METHOD = (
    "bootstrap of events, never narrower than Student's t interval of the larger of two standard errors: that by "
    "event, and that which would hold if the baseline were right"
)
"""How intervals are made, for reports."""

_ZERO = 1e-9  # below this, a difference is rounding
_BLOCK = 2_000_000  # draws held at a time


@dataclass(frozen=True, slots=True)
class Skill:
    """Mean loss of the baseline minus that of the model; above 0 the model is better."""

    value: float
    low: float  # lower bound of the interval; NaN with fewer than MIN_EVENTS events, or without a difference
    high: float
    events: int
    p: float = 1.0  # one-sided p value of a gain; 1 without an interval

    @property
    def shown(self) -> bool:
        """Return whether the interval lies above zero."""
        return self.low > _ZERO

    @property
    def harm(self) -> bool:
        """Return whether the interval lies below zero, so that the model is worse."""
        return self.high < -_ZERO

    @property
    def same(self) -> bool:
        """Return whether no row differs, so that there is nothing to estimate."""
        return self.events >= MIN_EVENTS and bool(np.isnan(self.low))


def skill(
    baseline: Floats,
    model: Floats,
    weight: Floats,
    event: npt.NDArray[np.generic],
    seed: int,
    error_if_right: float = 0.0,
) -> Skill:
    """Return the difference of two losses with an interval by event.

    Args:
        baseline: (n,) losses.
        model: (n,) losses on the same rows.
        weight: (n,) row weights.
        event: (n,) event of each row; the bootstrap draws events, because their markets are decided together.
        seed: Seed of the draws.
        error_if_right: Standard error of the mean difference if the baseline is right, see `paired`.
    """
    return paired((baseline - model) * weight, weight, event, seed, error_if_right)


def paired(
    gain: Floats, weight: Floats, event: npt.NDArray[np.generic], seed: int, error_if_right: float = 0.0
) -> Skill:
    """Return the sum of gains over the sum of weights, with an interval by event.

    The interval is that of a bootstrap, widened where it is narrower than Student's t interval: with a dozen events
    a bootstrap draws too few of the rare losses that a sharpened forecast risks.

    Args:
        gain: (n,) gains, already weighted.
        weight: (n,) denominators of the gains.
        event: (n,) event of each row.
        seed: Seed of the draws.
        error_if_right: Least standard error, such as that which the gains have if the baseline is right; it covers rare
            outcomes that the sample lacks.
    """
    gains, weights = by_event(gain, event), by_event(weight, event)
    count = len(gains)
    value = float(gains.sum() / weights.sum())
    if count < MIN_EVENTS or not gain.any():
        return Skill(value, float("nan"), float("nan"), count)
    rng = np.random.default_rng(seed)
    means = []
    for first in range(0, RESAMPLES, max(1, _BLOCK // count)):
        draws = rng.integers(0, count, (min(max(1, _BLOCK // count), RESAMPLES - first), count))
        means.append(gains[draws].sum(axis=1) / weights[draws].sum(axis=1))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    left = gains - value * weights
    error = float(np.sqrt(count / (count - 1) * (left**2).sum()) / weights.sum())
    error = max(error, error_if_right)
    reach = student_t(deviate(tail), count - 1) * error
    p = upper_tail(student_z(value / error, count - 1)) if error > 0 else 1.0
    return Skill(value, min(float(low), value - reach), max(float(high), value + reach), count, p)
