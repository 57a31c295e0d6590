"""The acceptance tests: a change to a forecast must prove itself before it is used.

A market's price is a strong forecast and the sets are small. Two changes are proposed, each with its own test: a
recalibration of the price by two parameters, tested by its score on all training rows, and the trees' correction,
tested by the score of its out-of-fold values. Scores are summed by event, because the markets of an event are decided
together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats, Ints
from analysis.datasets.clustered import MIN_EVENTS, by_event, deviate, null_variance, score_p_value, student_z
from analysis.models.boost import expit

LINE_LEVEL = 0.05
"""Level of the test of the recalibration, two-sided."""

TREES_LEVEL = 0.025
"""One-sided level of the test of the trees' correction, divided by the number of parameter sets that were tried."""

MIN_TESTED = 60
"""With fewer rows out of fold the trees' correction is not tested."""

_PARTS = 5  # parts of the events by time; each but the first is forecast from those before it
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
    """Result of an acceptance test; a test that could not be made is not a rejection."""

    accepted: bool
    gain: float  # mean log loss saved, nats: on later events by the line, out of fold by the trees
    z: float  # normal deviate with the p value of the test
    required_z: float  # z needed for acceptance
    rows: int  # rows that were tested
    events: int  # their events
    not_tested: str = ""  # reason why there was no test

    @property
    def outcome(self) -> str:
        """Return the outcome in words, for reports."""
        if self.not_tested:
            return f"not tested: {self.not_tested}"
        unproved = "" if self.accepted or self.z < self.required_z else ", but it saved nothing on other rows"
        return (
            f"{'accepted' if self.accepted else 'rejected'} (z {self.z:.2f}, {self.required_z:.2f} required, "
            f"{self.rows} rows of {self.events} events{unproved})"
        )


SURE = float(np.log(0.995 / 0.005))
"""Log odds beyond which a forecast gains nothing more; the reported log loss clips at the same value."""


def log_losses(label: Floats, margin: Floats) -> Floats:
    """Return (n,) log losses in nats, of probabilities clipped to [0.005, 0.995].

    Without the clip, a forecast that turns 0.001 into 0.0001 gains a little on every row until it is wrong once.
    """
    margin = np.clip(margin, -SURE, SURE)
    return np.asarray(np.logaddexp(0.0, np.where(label == 1.0, -margin, margin)), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """What rows have in common."""

    event: npt.NDArray[np.generic]  # (n,) rows of one event are decided together
    outcome: npt.NDArray[np.generic]  # (n,) rows of one outcome have the same label
    order: Ints  # (n,) number of the event in the order in which labels become known


def recalibrate(
    label: Floats, margin: Floats, weight: Floats, groups: Grouping
) -> tuple[Calibration, AcceptanceResult]:
    """Fit intercept and slope of a baseline's log odds on all rows, and accept them if the baseline fails a score test.

    The test asks whether the baseline is right as it stands, so it needs no rows out of fold, and one proposal is
    tested, however many sets of trees are tried later. See `datasets.clustered.score_p_value`. In addition, lines
    fitted on earlier events must have saved log loss on later ones, so that a miscalibration of one season is not
    carried into the next.

    Args:
        label: (n,) 1 or 0.
        margin: (n,) log odds of the baseline.
        weight: (n,) row weights.
        groups: Events and outcomes of the rows.

    Returns:
        The accepted line, which changes nothing after a rejection, and the result of the test.
    """
    needed, events = deviate(LINE_LEVEL / 2), len(np.unique(groups.event))
    if events < MIN_EVENTS:
        return Calibration(), _untested(f"{events} events, {MIN_EVENTS} needed", needed, len(label), events)
    design = np.column_stack([np.ones(len(margin)), margin])
    p = expit(margin)
    scores = design * (weight * (label - p))[:, None]
    information = null_variance(design * weight[:, None], p * (1 - p), groups.outcome)
    found = score_p_value(scores.sum(axis=0), information, by_event(scores, groups.event))
    gain = forward_gain(label, margin, weight, groups.order)
    accepted = found <= LINE_LEVEL and gain > 0
    result = AcceptanceResult(accepted, gain, deviate(found / 2), needed, len(label), events)
    return fit_calibration(label, margin, weight) if accepted else Calibration(), result


def forward_gain(label: Floats, margin: Floats, weight: Floats, order: Ints) -> float:
    """Return the mean log loss that lines save on later events when they are fitted on all earlier ones, nats.

    Args:
        label: (n,) 1 or 0.
        margin: (n,) log odds of the baseline.
        weight: (n,) row weights.
        order: (n,) number of the event, in the order of time.
    """
    part = np.minimum(order * _PARTS // (int(order.max()) + 1), _PARTS - 1)
    saved = np.zeros(len(label))
    for number in range(1, _PARTS):
        early, late = part < number, part == number
        line = fit_calibration(label[early], margin[early], weight[early])
        saved[late] = log_losses(label[late], margin[late]) - log_losses(label[late], line(margin[late]))
    return float(np.average(saved[part > 0], weights=weight[part > 0]))


def encompassing_test(
    label: Floats,
    margin: Floats,
    correction: Floats,
    weight: Floats,
    groups: Grouping,
    n_trials: int = 1,
) -> AcceptanceResult:
    """Test whether an out-of-fold correction holds information that the current forecast lacks.

    The score of a factor s at s = 0 in margin + s correction is the sum of correction x error. What the correction
    shares with a line through the margin is left out first, because that is for the recalibration to prove. The
    standard error is the larger of two: that by event, and that which it would have if the forecast were right. The
    second covers rare outcomes that the sample lacks: in a quiet year every sharpening looks like a certain gain.

    Args:
        label: (n,) 1 or 0.
        margin: (n,) current log odds.
        correction: (n,) proposed change of the log odds, fitted without the row.
        weight: (n,) row weights.
        groups: Events and outcomes of the rows.
        n_trials: Number of proposals that were tried to find this one; the level is divided by it (Bonferroni).

    Source: Davidson and MacKinnon (1984); the t distribution with events - 1 degrees of freedom.
    """
    needed, rows, events = deviate(TREES_LEVEL / n_trials), len(label), len(np.unique(groups.event))
    if rows < MIN_TESTED or events < MIN_EVENTS:
        return _untested(f"{rows} rows of {events} events out of fold", needed, rows, events)
    p = expit(margin)
    design = np.column_stack([np.ones(rows), margin])
    heavy = design * (weight * p * (1 - p))[:, None]
    correction = correction - design @ (np.linalg.pinv(heavy.T @ design) @ (heavy.T @ correction))
    scores = by_event(weight * correction * (label - p), groups.event)
    if_right = float(null_variance((weight * correction)[:, None], p * (1 - p), groups.outcome)[0, 0])
    error = float(np.sqrt(max(events * scores.var(ddof=1), if_right)))
    z = student_z(float(scores.sum()) / error, events - 1) if error > 0 else 0.0
    return AcceptanceResult(z >= needed, 0.0, z, needed, rows, events)


def _untested(reason: str, needed: float, rows: int, events: int) -> AcceptanceResult:
    return AcceptanceResult(False, 0.0, 0.0, needed, rows, events, reason)


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
        beta -= step / max(1.0, np.abs(step).max())  # a full step can overshoot from far away
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(float(beta[0]), float(beta[1]))


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
