"""Scores of probabilities: log loss, Brier score and its parts, AUC, reliability; all take weights."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.arrays import Floats
from analysis.datasets.clustered import by_event

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


def auc_gain(
    label: Floats, p: Floats, baseline: Floats, weight: Floats, event: npt.NDArray[np.generic]
) -> tuple[float, float]:
    """Return (difference of two AUCs, its standard error by event); NaN when a class is missing.

    Args:
        label: (n,) 1 or 0.
        p: (n,) forecasts.
        baseline: (n,) other forecasts of the same rows.
        weight: (n,) row weights.
        event: (n,) event of each row.

    Source: DeLong, DeLong and Clarke-Pearson (1988), summed by event after Obuchowski (1997).
    """
    difference = auc(label, p, weight) - auc(label, baseline, weight)
    if np.isnan(difference):
        return float("nan"), float("nan")
    influence = _auc_influence(label, p, weight) - _auc_influence(label, baseline, weight)
    sums = by_event(influence, event)
    count = len(sums)
    return difference, float(np.sqrt(count / max(count - 1, 1) * (sums**2).sum()))


def _auc_influence(label: Floats, p: Floats, weight: Floats) -> Floats:
    """Return (n,) how much each row moves the AUC; the sum is 0."""
    _, index = np.unique(p, return_inverse=True)
    ones, zeros = weight * label, weight * (1 - label)
    one, zero = np.bincount(index, ones), np.bincount(index, zeros)
    below = ((np.cumsum(zero) - 0.5 * zero) / zeros.sum())[index]  # weight of zeros that a one beats
    above = ((one.sum() - np.cumsum(one) + 0.5 * one) / ones.sum())[index]  # weight of ones that beat a zero
    area = float((ones * below).sum() / ones.sum())
    return np.asarray(ones * (below - area) / ones.sum() + zeros * (above - area) / zeros.sum(), np.float64)


@dataclass(frozen=True, eq=False)
class Reliability:
    """Forecasts in bins of equal width."""

    edges: Floats  # (k + 1,)
    forecast: Floats  # (k,) mean of the forecasts; NaN in an empty bin
    observed: Floats  # (k,) fraction of ones
    low: Floats  # (k,) 95 % interval of that fraction, by event
    high: Floats  # (k,)
    weight: Floats  # (k,) fraction of the total weight, sum 1
    count: Floats  # (k,) number of rows


def reliability(
    label: Floats, p: Floats, weight: Floats, event: npt.NDArray[np.generic] | None = None, bins: int = BINS
) -> Reliability:
    """Return forecasts and outcomes in bins of the forecast, with intervals by event; without events, by row.

    The interval is Wilson's for as many independent rows as give the standard error by event, but never for more than
    the bin has events.

    Source: Wilson (1927); Kish (1965) on the effective number of rows.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    total = np.bincount(index, weight, bins)
    with np.errstate(invalid="ignore"):
        forecast = np.bincount(index, weight * p, bins) / total
        observed = np.bincount(index, weight * label, bins) / total
    low, high = np.full(bins, np.nan), np.full(bins, np.nan)
    groups = np.arange(len(label)) if event is None else event
    for number in np.unique(index).tolist():
        mine = index == number
        low[number], high[number] = _wilson(label[mine], weight[mine], groups[mine])
    count = np.bincount(index, minlength=bins).astype(np.float64)
    return Reliability(edges, forecast, observed, low, high, total / total.sum(), count)


def _wilson(label: Floats, weight: Floats, event: npt.NDArray[np.generic]) -> tuple[float, float]:
    share = float(np.average(label, weights=weight))
    heavy = by_event(weight, event)
    variance = float((by_event(weight * (label - share), event) ** 2).sum() / weight.sum() ** 2)
    most = float(heavy.sum() ** 2 / (heavy**2).sum())
    n = min(share * (1 - share) / variance, most) if variance > 0 else most
    z = 1.959964
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(max(middle - reach, 0.0)), float(min(middle + reach, 1.0))


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
    table = reliability(label, p, weight, bins=bins)
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
