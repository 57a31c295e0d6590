"""Watching a model after its training: have its inputs moved, do its forecasts still come true?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from analysis.arrays import DAY, Floats, Ints
from analysis.datasets.frame import Dataset, Texts
from analysis.evaluation.scores import brier, log_loss
from analysis.evaluation.skill import Skill, skill
from analysis.models.accept import Calibration
from analysis.models.boost import Local
from analysis.models.model import Model

WEEK = 7 * DAY
_LEAST = 1e-3  # share of an empty bin, or its logarithm would be infinite


def weeks(ns: Ints) -> Texts:
    """(n,) the Monday of the UTC week of each instant, such as 2026-03-02."""
    monday = 4 * DAY  # 1970-01-05
    return np.datetime_as_string(((ns - monday) // WEEK * WEEK + monday).astype("datetime64[ns]"), unit="D")


def shadow(model: Model, rows: Dataset, train: Ints, rounds: int = 60) -> Model:
    """The same model with a fixed number of trees that did not have to earn their place.

    It must not be used; run beside the model, it shows what the gate has kept out, and when that begins to be worth
    something.

    Args:
        model: Gives seed and parameters.
        rows: A training frame.
        train: Positions of the rows to train on.
        rounds: Trees.
    """
    booster, grown = Local.of(rows).boost(train, None, model.facts.params, rounds, model.facts.seed, (1.0, 1.0))
    facts = replace(model.facts, name=f"{model.facts.name}-shadow", rounds=grown, share=1.0, calibration=Calibration())
    return Model(facts, booster)


def stability(reference: Floats, current: Floats, bins: int = 10) -> float:
    """Population stability index: how far the distribution of a column has moved.

    Formula: sum over bins of (q - p) ln(q / p), bins at quantiles of the reference, unknown values in one of their own
    Unit: nats, 0 for the same distribution; 0.1 is commonly called small and 0.25 large

    Sampling alone gives about (bins - 1) (1 / n + 1 / m) for n and m values: 0.2 means nothing with fifty rows.

    Args:
        reference: (n,) what the model was trained on; NaN is unknown.
        current: (m,) what it sees now.
        bins: Of the known values.

    Source: Siddiqi (2006), Credit Risk Scorecards.
    """
    if not len(reference) or not len(current):
        return float("nan")
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.zeros(0)

    def shares(values: Floats) -> Floats:
        place = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
        return np.maximum(np.bincount(place, minlength=len(edges) + 2) / len(values), _LEAST)

    p, q = shares(reference), shares(current)
    return float(((q - p) * np.log(q / p)).sum())


@dataclass(frozen=True, eq=False)
class Drift:
    """How far each feature has moved in each period."""

    features: list[str]
    periods: list[str]
    index: Floats  # (features, periods) nats
    rows: Ints  # (periods,)


def drift(reference: Dataset, current: Dataset, period: Texts) -> Drift:
    """Every feature of some rows against those the model was trained on.

    Args:
        reference: Training rows.
        current: (n,) later rows of the same set.
        period: (n,) name of the time each belongs to; names sort by time.
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
    """Forecasts of one period and what came of them."""

    name: str
    rows: int
    events: int
    forecast: float  # mean probability
    outcome: float  # share of ones
    expected_error: float  # standard error of `outcome` if every forecast were right and rows independent
    log_loss: float  # nats
    baseline_log_loss: float
    brier: float
    skill: Skill  # log loss saved against the baseline


def over_time(rows: Dataset, p: Floats, period: Texts, seed: int = 1) -> list[Period]:
    """Forecasts against outcomes, period by period.

    Args:
        rows: (n,) with labels.
        p: (n,) forecasts.
        period: (n,) name of the time each belongs to; names sort by time.
        seed: Of the bootstrap by event.
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
    """Periods as rows; `saved` is the log loss saved against the baseline, with its interval, nats."""
    rows = []
    for one in periods:
        told = {name: getattr(one, name) for name in ("name", "rows", "events", "forecast", "outcome", "log_loss")}
        saved = {"saved": one.skill.value, "low": one.skill.low, "high": one.skill.high}
        rows.append({**told, "baseline_log_loss": one.baseline_log_loss, "brier": one.brier, **saved})
    return pa.Table.from_pylist(rows)
