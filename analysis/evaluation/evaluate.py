"""Judging a model on rows it could not know, against the baseline on the same rows."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.arrays import Floats
from analysis.datasets.frame import Dataset, once_each
from analysis.evaluation.money import Costs, Money, money
from analysis.evaluation.scores import (
    BrierParts,
    Reliability,
    auc,
    auc_error,
    brier,
    calibration_error,
    log_loss,
    murphy,
    reliability,
)
from analysis.evaluation.skill import COVERAGE, LEAST_EVENTS, RESAMPLES, Skill, skill
from analysis.models.boost import logit
from analysis.models.model import Facts, Model
from recorder.errors import ConfigError

_SHUFFLES = 5


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one forecast on some rows."""

    log_loss: float
    brier: float
    auc: float
    auc_error: float  # standard error
    accuracy: float  # at 0.5
    calibration_error: float
    parts: BrierParts


@dataclass(frozen=True, slots=True)
class Slice:
    """Some rows, judged."""

    name: str
    rows: int
    markets: int
    events: int
    base_rate: float
    model: Scores
    baseline: Scores
    log_loss_skill: Skill
    brier_skill: Skill

    @property
    def verdict(self) -> str:
        """What may be said of it."""
        if self.log_loss_skill.events < LEAST_EVENTS:
            return "no skill shown: too few events"
        if self.log_loss_skill.shown and not self.brier_skill.harm:
            return "skill shown"
        return "no skill shown: worse than the baseline" if self.log_loss_skill.harm else "no skill shown"


@dataclass(frozen=True, slots=True)
class Importance:
    """What a feature does for the model on these rows."""

    feature: str
    permutation: float  # log loss gained when its values are shuffled, nats
    shap: float  # mean absolute contribution to the log odds


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was found out about a model on some rows."""

    facts: Facts
    seed: int
    left_out: int  # rows that the model knew of
    overlapping: int  # rows judged that were decided before the last training label was known
    first_decision_ns: int
    last_label_ns: int
    whole: Slice
    by_horizon: Sequence[Slice]
    by_tier: Sequence[Slice]
    by_category: Sequence[Slice]
    reliability: Reliability
    baseline_reliability: Reliability
    importance: Sequence[Importance]  # most important first
    money: Money
    spread: Floats  # (n,) forecast less baseline

    @property
    def verdict(self) -> str:
        """One sentence: skill is claimed only where the interval of the log loss saved lies above zero."""
        s, name = self.whole.log_loss_skill, self.facts.baseline
        if s.events < LEAST_EVENTS:
            return f"no skill shown against the {name}: {s.events} events are too few to tell"
        interval = f"{COVERAGE:.0%} interval {s.low:+.4f} to {s.high:+.4f} over {s.events} events"
        return f"{self.whole.verdict} against the {name}: {s.value:+.4f} nats of log loss saved, {interval}"

    def json(self) -> dict[str, Any]:
        """For `json.dumps`: numbers that are not there are null."""
        values = asdict(self)
        del values["spread"]
        values["facts"] = {"name": self.facts.name, "version": self.facts.version}
        for part in ("by_horizon", "by_tier", "by_category"):
            for told, found in zip(values[part], getattr(self, part), strict=True):
                told["verdict"] = found.verdict
        values |= {"verdict": self.verdict, "resamples": RESAMPLES, "coverage": COVERAGE}
        values["whole"]["verdict"] = self.whole.verdict
        return _plain(values)  # type: ignore[no-any-return]


def unknown_to(facts: Facts, rows: Dataset, *, keep_overlap: bool = False) -> Dataset:
    """The rows that a model could not know: of other events, decided after its last training label.

    Args:
        facts: Of the model.
        rows: Any of its set.
        keep_overlap: Leave rows that were decided earlier, of other events; the evaluation counts them.
    """
    free = ~np.isin(rows.event, np.array(facts.events, dtype=np.str_))
    if not keep_overlap:
        free &= rows.start > facts.last_label_ns
    return rows.take(free)


def evaluate(
    model: Model, rows: Dataset, *, seed: int = 1, costs: Costs | None = None, left_out: int = 0
) -> Evaluation:
    """Judge a model.

    Args:
        model: With what it was trained on.
        rows: That it did not know: see `unknown_to`.
        seed: Of bootstrap and shuffles.
        costs: Of the money figure.
        left_out: How many rows were taken out before, for the report.

    Raises:
        ConfigError: There are no rows, or some belong to events of the training rows.
        ModelError: The rows' features are not those of the model.
    """
    if not len(rows):
        raise ConfigError(f"nothing to judge {model.facts.name} on: all {left_out} rows were known to it")
    known = int(np.isin(rows.event, np.array(model.facts.events, dtype=np.str_)).sum())
    if known:
        raise ConfigError(f"{known} of {len(rows)} rows belong to events the model was trained on; see unknown_to")
    p = model.predict(rows)
    return Evaluation(
        facts=model.facts,
        seed=seed,
        left_out=left_out,
        overlapping=int((rows.start <= model.facts.last_label_ns).sum()),
        first_decision_ns=int(rows.start.min()),
        last_label_ns=int(rows.end.max()),
        whole=judged("all rows", rows, p, seed),
        by_horizon=_slices(rows, p, rows.horizon, seed),
        by_tier=_slices(rows, p, rows.tier, seed),
        by_category=_slices(rows, p, rows.category, seed),
        reliability=reliability(rows.label, p, rows.weight),
        baseline_reliability=reliability(rows.label, rows.market, rows.weight),
        importance=_importance(model, rows, p, seed),
        money=money(rows.label, p, rows.market, rows.weight, rows.event, costs or Costs(), seed),
        spread=p - rows.market,
    )


def judged(name: str, rows: Dataset, p: Floats, seed: int) -> Slice:
    """Forecasts of some rows against their baseline.

    Args:
        name: Of the rows.
        rows: Judged.
        p: (n,) forecasts.
        seed: Of the bootstrap.
    """
    y, w = rows.label, rows.weight
    losses = {
        what: skill(score(y, rows.market), score(y, p), w, rows.event, seed)
        for what, score in (("log_loss_skill", log_loss), ("brier_skill", brier))
    }
    return Slice(
        name=name,
        rows=len(rows),
        markets=len(np.unique(rows.subject)),
        events=len(np.unique(rows.event)),
        base_rate=float(np.average(y, weights=w)),
        model=_scores(y, p, w),
        baseline=_scores(y, rows.market, w),
        **losses,
    )


def _scores(label: Floats, p: Floats, weight: Floats) -> Scores:
    area = auc(label, p, weight)
    return Scores(
        log_loss=float(np.average(log_loss(label, p), weights=weight)),
        brier=float(np.average(brier(label, p), weights=weight)),
        auc=area,
        auc_error=auc_error(label, area),
        accuracy=float(np.average((p > 0.5) == (label == 1.0), weights=weight)),
        calibration_error=calibration_error(reliability(label, p, weight)),
        parts=murphy(label, p, weight),
    )


def _slices(rows: Dataset, p: Floats, key: Any, seed: int) -> list[Slice]:
    """One slice for each value of a key, in the order in which they come; in each a market counts once."""
    out = []
    for name in dict.fromkeys(key.tolist()):
        part = rows.take(key == name)
        out.append(judged(name, replace(part, weight=once_each(part.subject)), p[key == name], seed))
    return out


def _importance(model: Model, rows: Dataset, p: Floats, seed: int) -> list[Importance]:
    rng = np.random.default_rng(seed)
    matrix, margin = model.matrix(rows), logit(rows.market)
    stands = log_loss(rows.label, p)
    shap = np.abs(model.contributions(rows))
    out = []
    for j, name in enumerate(model.names):
        gains = []
        for _ in range(_SHUFFLES if model.facts.rounds else 0):
            other = matrix.copy()
            other[:, j] = rng.permutation(matrix[:, j])
            changed = log_loss(rows.label, model.probability(margin, other))
            gains.append(float(np.average(changed - stands, weights=rows.weight)))
        drop = float(np.mean(gains)) if gains else 0.0
        out.append(Importance(name, drop, float(np.average(shap[:, j], weights=rows.weight))))
    return sorted(out, key=lambda one: (-one.shap, one.feature))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value
