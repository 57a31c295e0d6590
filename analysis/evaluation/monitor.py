"""Monitor a model after its training: drift of its inputs, and accuracy of its forecasts over time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from analysis.arrays import DAY, Floats, Ints
from analysis.datasets.frame import Dataset, Texts
from analysis.evaluation.scores import brier, log_loss
from analysis.evaluation.skill import Skill, skill
from analysis.models.acceptance import Calibration
from analysis.models.boost import LocalEngine, logit
from analysis.models.model import Model

WEEK = 7 * DAY
_MIN_FRACTION = 1e-3  # fraction of an empty bin, whose logarithm would otherwise be infinite


def weeks(ns: Ints) -> Texts:
    """Return (n,) the Monday of the UTC week of each instant, such as 2026-03-02."""
    monday = 4 * DAY  # 1970-01-05
    return np.datetime_as_string(((ns - monday) // WEEK * WEEK + monday).astype("datetime64[ns]"), unit="D")


def shadow(model: Model, rows: Dataset, train: Ints, rounds: int = 60) -> Model:
    """Return the same model with a fixed number of trees that did not pass the acceptance test.

    Do not act on it. Run beside the model, it shows what the acceptance test rejected, and whether the rejected
    correction becomes useful.

    Args:
        model: Provides seed and parameters.
        rows: A training frame.
        train: Positions of the rows to train on.
        rounds: Number of trees.
    """
    rows = model.with_baseline(rows)
    booster, grown = LocalEngine.of(rows).boost(
        train, None, model.metadata.params, rounds, model.metadata.seed, (1.0, 1.0), logit(rows.market)
    )
    metadata = replace(
        model.metadata, name=f"{model.metadata.name}-shadow", rounds=grown, shrinkage=1.0, calibration=Calibration()
    )
    return Model(metadata, booster)


def stability(reference: Floats, current: Floats, bins: int = 10) -> float:
    """Return the population stability index: how far the distribution of a column has moved.

    Formula: sum over bins of (q - p) ln(q / p), bins at quantiles of the reference, unknown values in one of their own
    Unit: nats, 0 for the same distribution; 0.1 is commonly called small and 0.25 large

    Sampling alone gives about (bins - 1) (1 / n + 1 / m) for n and m values, so 0.2 is not significant with fifty rows.

    Args:
        reference: (n,) training values; NaN is unknown.
        current: (m,) current values.
        bins: Number of bins of the known values.

    Source: Siddiqi (2006), Credit Risk Scorecards.
    """
    if not len(reference) or not len(current):
        return float("nan")
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.zeros(0)

    def fractions(values: Floats) -> Floats:
        place = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
        return np.maximum(np.bincount(place, minlength=len(edges) + 2) / len(values), _MIN_FRACTION)

    p, q = fractions(reference), fractions(current)
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True, eq=False)
class Drift:
    """Stability index of each feature in each period."""

    features: list[str]
    periods: list[str]
    index: Floats  # (features, periods) nats
    rows: Ints  # (periods,) number of rows


def drift(reference: Dataset, current: Dataset, period: Texts) -> Drift:
    """Compare every feature of later rows with the training rows.

    Args:
        reference: Training rows.
        current: (n,) later rows of the same set.
        period: (n,) name of the period of each row; names sort by time.
    """
    names, periods = list(reference.features), np.unique(period).tolist()
    index = [
        [stability(reference.features[name], current.features[name][period == one]) for one in periods]
        for name in names
    ]
    rows = [int((period == one).sum()) for one in periods]
    return Drift(names, periods, np.array(index).reshape(len(names), len(periods)), np.array(rows, np.int64))


@dataclass(frozen=True, slots=True)
class Period:
    """Forecasts of one period and their outcomes."""

    name: str
    rows: int
    events: int
    forecast: float  # mean probability
    outcome: float  # fraction of ones
    expected_error: float  # standard error of `outcome` if forecasts were right and rows independent
    log_loss: float  # nats
    baseline_log_loss: float
    brier: float
    skill: Skill  # log loss saved against the baseline


def over_time(rows: Dataset, p: Floats, period: Texts, seed: int = 1) -> list[Period]:
    """Compare forecasts with outcomes, period by period.

    Args:
        rows: (n,) with labels.
        p: (n,) forecasts.
        period: (n,) name of the period of each row; names sort by time.
        seed: Seed of the bootstrap by event.
    """
    out = []
    for name in np.unique(period).tolist():
        mine = period == name
        part, q = rows.take(mine), p[mine]
        model, baseline = log_loss(part.label, q), log_loss(part.label, part.market)
        out.append(
            Period(
                name=name,
                rows=len(part),
                events=len(np.unique(part.event)),
                forecast=float(np.average(q, weights=part.weight)),
                outcome=float(np.average(part.label, weights=part.weight)),
                expected_error=float(np.sqrt((part.weight**2 * q * (1 - q)).sum()) / part.weight.sum()),
                log_loss=float(np.average(model, weights=part.weight)),
                baseline_log_loss=float(np.average(baseline, weights=part.weight)),
                brier=float(np.average(brier(part.label, q), weights=part.weight)),
                skill=skill(baseline, model, part.weight, part.event, seed),
            )
        )
    return out


def table(periods: Sequence[Period]) -> pa.Table:
    """Return periods as rows; `saved` is the log loss saved against the baseline, with its interval, nats."""
    rows = []
    for one in periods:
        values = {name: getattr(one, name) for name in ("name", "rows", "events", "forecast", "outcome", "log_loss")}
        saved = {"saved": one.skill.value, "low": one.skill.low, "high": one.skill.high}
        rows.append({**values, "baseline_log_loss": one.baseline_log_loss, "brier": one.brier, **saved})
    return pa.Table.from_pylist(rows)
