"""Skill: the loss that a forecast saves against a baseline on the same rows, with an interval by event."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats

RESAMPLES = 2000
COVERAGE = 0.95
MIN_EVENTS = 10
"""With fewer events no interval is given."""

_ZERO = 1e-9  # below this, a difference is rounding
_BLOCK = 2_000_000  # draws held at a time


@dataclass(frozen=True, slots=True)
class Skill:
    """Mean loss of the baseline minus that of the model; above 0 the model is better."""

    value: float
    low: float  # lower bound of the interval; NaN with fewer than MIN_EVENTS events
    high: float
    events: int

    @property
    def shown(self) -> bool:
        """Return whether the interval lies above zero."""
        return self.low > _ZERO

    @property
    def harm(self) -> bool:
        """Return whether the interval lies below zero, so that the model is worse."""
        return self.high < -_ZERO


def skill(baseline: Floats, model: Floats, weight: Floats, event: npt.NDArray[np.generic], seed: int) -> Skill:
    """Return the difference of two losses with a bootstrap of events.

    Args:
        baseline: (n,) losses.
        model: (n,) losses on the same rows.
        weight: (n,) row weights.
        event: (n,) event of each row; the bootstrap draws events, because their markets are decided together.
        seed: Seed of the draws.
    """
    return paired((baseline - model) * weight, weight, event, seed)


def paired(gain: Floats, weight: Floats, event: npt.NDArray[np.generic], seed: int) -> Skill:
    """Return the sum of gains over the sum of weights, with a bootstrap of events.

    Args:
        gain: (n,) gains, already weighted.
        weight: (n,) denominators of the gains.
        event: (n,) event of each row.
        seed: Seed of the draws.
    """
    _, index = np.unique(event, return_inverse=True)
    gains, weights = np.bincount(index, gain), np.bincount(index, weight)
    count = len(gains)
    value = float(gains.sum() / weights.sum())
    if count < MIN_EVENTS:
        return Skill(value, float("nan"), float("nan"), count)
    rng = np.random.default_rng(seed)
    means = []
    for first in range(0, RESAMPLES, max(1, _BLOCK // count)):
        draws = rng.integers(0, count, (min(max(1, _BLOCK // count), RESAMPLES - first), count))
        means.append(gains[draws].sum(axis=1) / weights[draws].sum(axis=1))
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return Skill(value, float(low), float(high), count)
