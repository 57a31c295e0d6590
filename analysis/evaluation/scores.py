"""Scores of probabilities: log loss, Brier score and its parts, AUC, reliability; all take weights."""

from dataclasses import dataclass

import numpy as np

from analysis.arrays import Floats

CLIP = 0.005
"""Log loss clips probabilities to [CLIP, 1 - CLIP]."""

BINS = 10


def log_loss(label: Floats, p: Floats) -> Floats:
    """Return (n,) the log loss in nats, of p clipped to [CLIP, 1 - CLIP]."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-np.log(np.where(label == 1.0, q, 1 - q)), np.float64)


def brier(label: Floats, p: Floats) -> Floats:
    """Return (n,) the squared error of the probability.

    Source: Brier (1950).
    """
    return np.asarray((p - label) ** 2, np.float64)


def auc(label: Floats, p: Floats, weight: Floats) -> float:
    """Return the probability that a 1 is ranked above a 0, ties counting half; NaN when a class is missing.

    Source: Hanley and McNeil (1982).
    """
    order = np.argsort(p, kind="stable")
    score, ones = p[order], (weight * label)[order]
    zeros = (weight * (1 - label))[order]
    _, index = np.unique(score, return_inverse=True)
    one, zero = np.bincount(index, ones), np.bincount(index, zeros)
    below = np.cumsum(zero) - zero
    pairs = float(one.sum() * zero.sum())
    return float((one * (below + 0.5 * zero)).sum() / pairs) if pairs > 0 else float("nan")


def auc_error(label: Floats, area: float) -> float:
    """Return the standard error of an AUC; NaN when a class is missing.

    Source: Hanley and McNeil (1982).
    """
    ones, zeros = float(label.sum()), float((1 - label).sum())
    if not ones or not zeros:
        return float("nan")
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (ones - 1) * (first - area**2) + (zeros - 1) * (second - area**2)
    return float(np.sqrt(max(variance, 0.0) / (ones * zeros)))


@dataclass(frozen=True, eq=False)
class Reliability:
    """Forecasts in bins of equal width."""

    edges: Floats  # (k + 1,)
    forecast: Floats  # (k,) mean of the forecasts; NaN in an empty bin
    observed: Floats  # (k,) fraction of ones
    weight: Floats  # (k,) fraction of the total weight, sum 1
    count: Floats  # (k,) number of rows


def reliability(label: Floats, p: Floats, weight: Floats, bins: int = BINS) -> Reliability:
    """Return forecasts and outcomes in bins of the forecast."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    total = np.bincount(index, weight, bins)
    with np.errstate(invalid="ignore"):
        forecast = np.bincount(index, weight * p, bins) / total
        observed = np.bincount(index, weight * label, bins) / total
    count = np.bincount(index, minlength=bins).astype(np.float64)
    return Reliability(edges, forecast, observed, total / total.sum(), count)


@dataclass(frozen=True, slots=True)
class BrierParts:
    """brier = reliability - resolution + uncertainty + within."""

    reliability: float  # distance of forecasts from outcomes by bin; 0 is best
    resolution: float  # distance of outcomes from the base rate; more is better
    uncertainty: float  # base rate * (1 - base rate), independent of the forecast
    within: float  # variation inside the bins, which makes the identity exact


def murphy(label: Floats, p: Floats, weight: Floats, bins: int = BINS) -> BrierParts:
    """Return the parts of a Brier score.

    Source: Murphy (1973); the last term after Stephenson, Coelho and Jolliffe (2008).
    """
    table = reliability(label, p, weight, bins)
    base = float(np.average(label, weights=weight))
    full = table.weight > 0
    fraction, forecast, observed = table.weight[full], table.forecast[full], table.observed[full]
    parts = (
        float((fraction * (forecast - observed) ** 2).sum()),
        float((fraction * (observed - base) ** 2).sum()),
        base * (1 - base),
    )
    total = float(np.average(brier(label, p), weights=weight))
    return BrierParts(*parts, total - (parts[0] - parts[1] + parts[2]))


def calibration_error(table: Reliability) -> float:
    """Return the mean distance between forecast and outcome over the bins, weighted by their rows."""
    full = table.weight > 0
    return float((table.weight * np.abs(table.forecast - table.observed))[full].sum())
