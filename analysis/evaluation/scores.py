"""Scores of probabilities: log loss, Brier with its parts, AUC, reliability. All take weights."""

from dataclasses import dataclass

import numpy as np

from analysis.arrays import Floats

CLIP = 0.005
"""Log loss takes probabilities as at least this far from 0 and 1."""

BINS = 10


def log_loss(label: Floats, p: Floats) -> Floats:
    """(n,) nats, of p clipped to [CLIP, 1 - CLIP]."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(-np.log(np.where(label == 1.0, q, 1 - q)), np.float64)


def brier(label: Floats, p: Floats) -> Floats:
    """(n,) squared error of the probability.

    Source: Brier (1950).
    """
    return np.asarray((p - label) ** 2, np.float64)


def auc(label: Floats, p: Floats, weight: Floats) -> float:
    """Probability that a 1 stands above a 0, ties half; NaN where one class is missing.

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
    """Standard error of an AUC; NaN where one class is missing.

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
    observed: Floats  # (k,) share of ones
    weight: Floats  # (k,) share of all weight, sum 1
    count: Floats  # (k,) rows


def reliability(label: Floats, p: Floats, weight: Floats, bins: int = BINS) -> Reliability:
    """What came of forecasts of about the same probability."""
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

    reliability: float  # how far bins are from what came of them; 0 is best
    resolution: float  # how far what came of them is from the base rate; more is better
    uncertainty: float  # base rate * (1 - base rate), nobody's doing
    within: float  # what differs inside the bins; the identity is exact with it


def murphy(label: Floats, p: Floats, weight: Floats, bins: int = BINS) -> BrierParts:
    """The parts of a Brier score.

    Source: Murphy (1973); the last term after Stephenson, Coelho and Jolliffe (2008).
    """
    table = reliability(label, p, weight, bins)
    base = float(np.average(label, weights=weight))
    full = table.weight > 0
    share, forecast, observed = table.weight[full], table.forecast[full], table.observed[full]
    parts = (
        float((share * (forecast - observed) ** 2).sum()),
        float((share * (observed - base) ** 2).sum()),
        base * (1 - base),
    )
    whole = float(np.average(brier(label, p), weights=weight))
    return BrierParts(*parts, whole - (parts[0] - parts[1] + parts[2]))


def calibration_error(table: Reliability) -> float:
    """Mean distance between forecast and outcome over the bins, weighted by their rows."""
    full = table.weight > 0
    return float((table.weight * np.abs(table.forecast - table.observed))[full].sum())
