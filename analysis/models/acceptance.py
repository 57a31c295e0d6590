"""The acceptance test: a change to a forecast must improve rows it was not fitted on by more than chance.

A market's price is a strong forecast and the sets are small, so a change must prove itself. Losses are summed by event,
because the markets of an event are decided together.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from analysis.arrays import Floats, Ints
from analysis.models.boost import expit

LEVEL = 0.025
"""One-sided significance level: the gain must exceed zero by the half-width of a 95 % interval."""

_PRIOR = 2.0  # weight of the prior "no change" in the fits below, in rows with p (1 - p) = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """A Platt line through log odds."""

    intercept: float = 0.0
    slope: float = 1.0

    def __call__(self, margin: Floats) -> Floats:
        """Return (n,) calibrated log odds."""
        return self.intercept + self.slope * margin


@dataclass(frozen=True, slots=True)
class AcceptanceResult:
    """Result of an acceptance test."""

    accepted: bool
    gain: float  # mean log loss saved out of fold, nats
    z: float  # gain divided by its standard error by event
    required_z: float  # z needed for acceptance


SURE = float(np.log(0.995 / 0.005))
"""Log odds beyond which a forecast gains nothing more; the reported log loss clips at the same value."""


def log_losses(label: Floats, margin: Floats) -> Floats:
    """Return (n,) log losses in nats, of probabilities clipped to [0.005, 0.995].

    Without the clip, a forecast that turns 0.001 into 0.0001 gains a little on every row until it is wrong once.
    """
    margin = np.clip(margin, -SURE, SURE)
    return np.asarray(np.logaddexp(0.0, np.where(label == 1.0, -margin, margin)), np.float64)


def acceptance_test(
    label: Floats, old: Floats, new: Floats, weight: Floats, event: Ints, n_trials: int = 1
) -> AcceptanceResult:
    """Test whether `new` log odds are better than `old` by more than chance.

    The standard error is the larger of two: that of the observed gains by event, and that which the gains would have if
    the old forecast were right. The second covers rare outcomes that the sample lacks: in a quiet year every
    sharpening of forecasts near 0 looks like a certain gain.

    Args:
        label: (n,) 1 or 0.
        old: (n,) current log odds.
        new: (n,) proposed log odds, fitted without the row.
        weight: (n,) row weights.
        event: (n,) rows of one event are one observation.
        n_trials: Number of proposals that were tried to find this one; the level is divided by it (Bonferroni).
    """
    needed = NormalDist().inv_cdf(1 - LEVEL / n_trials)
    gains = weight * _gain(label, old, new)
    _, index = np.unique(event, return_inverse=True)
    by_event = np.bincount(index, gains)
    count = len(by_event)
    if count < 5:
        return AcceptanceResult(False, 0.0, 0.0, needed)
    if_right = expit(old) * (1 - expit(old)) * (_gain(1.0, old, new) - _gain(0.0, old, new)) ** 2
    error = float(np.sqrt(max(count * by_event.var(ddof=1), (weight**2 * if_right).sum())))
    z = float(by_event.sum()) / error if error > 0 else 0.0
    return AcceptanceResult(z >= needed, float(gains.sum() / weight.sum()), z, needed)


def _gain(label: Floats | float, old: Floats, new: Floats) -> Floats:
    answers = np.broadcast_to(label, old.shape)
    return log_losses(answers, old) - log_losses(answers, new)


def fit_shrinkage(label: Floats, margin: Floats, correction: Floats, weight: Floats) -> float:
    """Return the factor s in [0, 1] that minimises the log loss of margin + s correction."""
    factors = np.linspace(0.0, 1.0, 21)
    losses = [float((weight * log_losses(label, margin + s * correction)).sum()) for s in factors]
    return float(factors[int(np.argmin(losses))])


def fit_calibration(label: Floats, margin: Floats, weight: Floats) -> Calibration:
    """Fit a Platt line by Newton steps, with a ridge towards "no change".

    Source: Platt (1999); the ridge acts like additional rows without an error.
    """
    design = np.column_stack([np.ones(len(margin)), margin])
    unchanged = np.array([0.0, 1.0])
    beta = unchanged.copy()
    for _ in range(50):
        p = expit(design @ beta)
        gradient = design.T @ (weight * (p - label)) + _PRIOR * (beta - unchanged)
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + _PRIOR * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        beta -= step
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(float(beta[0]), float(beta[1])) if beta[1] > 0 else Calibration()


def cross_fitted(fold: Ints, change: Callable[[Ints, Ints], Floats]) -> Floats:
    """Return (n,) what `change` returns for the rows of each fold when it is fitted on the other folds.

    Args:
        fold: (n,) fold of each row.
        change: (rows to fit on, rows to apply to) -> (len(rows to apply to),)
    """
    out = np.full(len(fold), np.nan)
    for number in np.unique(fold):
        inside = fold == number
        if inside.all():
            return out
        out[inside] = change(np.flatnonzero(~inside), np.flatnonzero(inside))
    return out
