"""Evaluate a model on rows it was not trained on, against the baseline on the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.arrays import Floats
from analysis.datasets.clustered import MIN_EVENTS, deviate, holm, null_variance, student_t, student_z, upper_tail
from analysis.datasets.frame import BASE_RATE, Dataset, once_each
from analysis.evaluation.alarms import too_good
from analysis.evaluation.betting import BettingResult, Costs, simulate_bets
from analysis.evaluation.importance import ClusterImportance, Importance, clusters, shuffled, summarised
from analysis.evaluation.scores import (
    BrierParts,
    Reliability,
    auc,
    auc_error,
    auc_gain,
    brier,
    calibration_error,
    log_loss,
    murphy,
    reliability,
)
from analysis.evaluation.skill import COVERAGE, METHOD, RESAMPLES, Skill, skill
from analysis.models.model import Model, ModelMetadata
from recorder.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one forecast on some rows."""

    log_loss: float
    brier: float
    auc: float
    auc_error: float  # standard error
    accuracy: float  # at 0.5
    calibration_error: float
    parts: BrierParts


@dataclass(frozen=True, slots=True)
class Slice:
    """Scores of the model and of its baseline on some rows."""

    name: str
    rows: int
    markets: int
    events: int
    base_rate: float
    model: Scores
    baseline: Scores
    log_loss_skill: Skill
    brier_skill: Skill
    rank_skill: Skill  # AUC of the model minus that of the baseline
    needs_rank: bool = False  # the baseline is a base rate, so a claim needs rank skill too
    adjusted_p: float | None = None  # of a slice: one-sided p value, adjusted for the number of slices (Holm)

    @property
    def verdict(self) -> str:
        """Return the claim that the scores of these rows support."""
        if self.log_loss_skill.events < MIN_EVENTS:
            return "no skill shown: too few events"
        if self.log_loss_skill.same:
            return "no skill shown: equal to the baseline"
        if self.log_loss_skill.harm:
            return "no skill shown: worse than the baseline"
        if not self.log_loss_skill.shown:
            return "no skill shown"
        if self.brier_skill.harm:
            return "no skill shown: the Brier score is worse"
        if self.needs_rank and not self.rank_skill.shown:
            return "no skill shown: the order of the forecasts shows none"
        if self.adjusted_p is None:
            return "skill shown"
        many = self.adjusted_p > (1 - COVERAGE) / 2
        return "no skill shown: one of many slices" if many else "skill shown (exploratory)"

    @property
    def claimed(self) -> bool:
        """Return whether the verdict claims skill."""
        return self.verdict.startswith("skill shown")


@dataclass(frozen=True, slots=True)
class Fold:
    """One retraining of a walk-forward."""

    first_decision_ns: int  # of the rows it forecasts
    last_decision_ns: int
    train_rows: int
    test_rows: int
    saved: float  # mean log loss saved on them, nats; a fold alone has no interval
    is_baseline: bool
    decision: str  # what was tested on its training rows, and the outcome


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Result of evaluating a model on some rows."""

    metadata: ModelMetadata
    seed: int
    left_out: int  # rows that the model was trained on
    overlapping: int  # evaluated rows decided before the last training label was known
    first_decision_ns: int
    last_label_ns: int
    all_rows: Slice
    by_horizon: Sequence[Slice]
    by_tier: Sequence[Slice]
    by_category: Sequence[Slice]
    reliability: Reliability
    baseline_reliability: Reliability
    importance: Sequence[Importance]  # most important first
    betting: BettingResult
    spread: Floats  # (n,) forecast minus baseline
    alarms: Sequence[str] = ()  # signs of a leak
    looks: int = 0  # other versions of models that were evaluated on some of these events before
    clusters: Sequence[ClusterImportance] = ()  # of correlated features, most important first
    folds: Sequence[Fold] = ()  # of a walk-forward, whose metadata are those of the last model

    @property
    def verdict(self) -> str:
        """Return one sentence; skill is claimed only when the interval of the log loss saved lies above zero."""
        s, name = self.all_rows.log_loss_skill, self.metadata.baseline
        if self.folds and all(fold.is_baseline for fold in self.folds):
            return f"no skill shown against the {name}: each of {len(self.folds)} models equals it"
        if self.metadata.is_baseline and not self.folds:
            return f"no skill shown against the {name}: the model equals it; {self.metadata.decision}"
        if s.events < MIN_EVENTS:
            return f"no skill shown against the {name}: {s.events} events are too few for an interval"
        interval = f"{COVERAGE:.0%} interval {s.low:+.4f} to {s.high:+.4f} over {s.events} events"
        claim, _, reason = self.all_rows.verdict.partition(": ")
        saved = f"{claim} against the {name}: {s.value:+.4f} nats of log loss saved, {interval}"
        return f"{saved}; {reason}" if reason else saved

    def json(self) -> dict[str, Any]:
        """Return the evaluation for `json.dumps`; missing numbers are null."""
        values = asdict(self)
        del values["spread"]
        values["metadata"] = {"name": self.metadata.name, "version": self.metadata.version}
        for part in ("by_horizon", "by_tier", "by_category"):
            for written, found in zip(values[part], getattr(self, part), strict=True):
                written["verdict"] = found.verdict
        values |= {"verdict": self.verdict, "resamples": RESAMPLES, "coverage": COVERAGE, "intervals": METHOD}
        values["all_rows"]["verdict"] = self.all_rows.verdict
        return _plain(values)  # type: ignore[no-any-return]


def unknown_to(metadata: ModelMetadata, rows: Dataset, *, keep_overlap: bool = False) -> Dataset:
    """Return the rows a model was not trained on: of other events, decided after its last training label.

    Args:
        metadata: Metadata of the model.
        rows: Any rows of its set.
        keep_overlap: Keep earlier rows of other events; the evaluation counts them.
    """
    free = ~np.isin(rows.event, np.array(metadata.events, dtype=np.str_))
    if not keep_overlap:
        free &= rows.start > metadata.last_label_ns
    return rows.take(free)


def evaluate(
    model: Model, rows: Dataset, *, seed: int = 1, costs: Costs | None = None, left_out: int = 0
) -> Evaluation:
    """Evaluate a model.

    Args:
        model: A trained model.
        rows: Rows it was not trained on, see `unknown_to`.
        seed: Seed of the bootstrap and the shuffles.
        costs: Assumed costs of the simulated bets.
        left_out: Number of rows that were removed before, for the report.

    Raises:
        ConfigError: There are no rows, or some belong to events of the training rows.
        ModelError: The features of the rows differ from those of the model.
    """
    if not len(rows):
        raise ConfigError(f"no rows to evaluate {model.metadata.name} on: it was trained on all {left_out} rows")
    known = int(np.isin(rows.event, np.array(model.metadata.events, dtype=np.str_)).sum())
    if known:
        raise ConfigError(f"{known} of {len(rows)} rows belong to events the model was trained on; see unknown_to")
    rows = model.with_baseline(rows)
    p = model.predict(rows)
    groups = clusters(model.matrix(rows))
    found = summarised(shuffled(model, rows, p, groups, seed), model.names, groups, rows, seed)
    overlapping = int((rows.start <= model.metadata.last_label_ns).sum())
    judged = evaluate_forecasts(model.metadata, rows, p, found, seed=seed, costs=costs)
    return replace(judged, left_out=left_out, overlapping=overlapping)


def evaluate_forecasts(
    metadata: ModelMetadata,
    rows: Dataset,
    p: Floats,
    importance: tuple[Sequence[Importance], Sequence[ClusterImportance]],
    *,
    seed: int = 1,
    costs: Costs | None = None,
    folds: Sequence[Fold] = (),
) -> Evaluation:
    """Compare forecasts of rows that no model was trained on with their baseline.

    Args:
        metadata: Metadata of the model, of the last one in a walk-forward.
        rows: (n,) rows with their baseline.
        p: (n,) forecasts.
        importance: Of features and clusters, on these rows.
        seed: Seed of the bootstrap.
        costs: Assumed costs of the simulated bets.
        folds: Retrainings of a walk-forward.
    """
    whole = evaluate_slice("all rows", rows, p, seed)
    by_horizon, by_tier, by_category = adjusted(
        [_slices(rows, p, key, seed) for key in (rows.horizon, rows.tier, rows.category)]
    )
    return Evaluation(
        metadata=metadata,
        seed=seed,
        left_out=0,
        overlapping=0,
        first_decision_ns=int(rows.start.min()),
        last_label_ns=int(rows.end.max()),
        all_rows=whole,
        by_horizon=by_horizon,
        by_tier=by_tier,
        by_category=by_category,
        reliability=reliability(rows.label, p, rows.weight, rows.event),
        baseline_reliability=reliability(rows.label, rows.market, rows.weight, rows.event),
        importance=importance[0],
        betting=simulate_bets(rows.label, p, rows.market, rows.weight, rows.event, costs or Costs(), seed),
        spread=p - rows.market,
        alarms=too_good(rows, whole),
        clusters=importance[1],
        folds=folds,
    )


def evaluate_slice(name: str, rows: Dataset, p: Floats, seed: int) -> Slice:
    """Compare forecasts of some rows with their baseline.

    Args:
        name: Name of the slice.
        rows: (n,) rows with labels.
        p: (n,) forecasts.
        seed: Seed of the bootstrap.
    """
    y, w = rows.label, rows.weight

    def saved(score: Callable[[Floats, Floats], Floats]) -> Skill:
        return skill(score(y, rows.market), score(y, p), w, rows.event, seed, _error_if_right(score, rows, p))

    return Slice(
        name=name,
        rows=len(rows),
        markets=len(np.unique(rows.subject)),
        events=len(np.unique(rows.event)),
        base_rate=float(np.average(y, weights=w)),
        model=_scores(y, p, w),
        baseline=_scores(y, rows.market, w),
        log_loss_skill=saved(log_loss),
        brier_skill=saved(brier),
        rank_skill=_rank_skill(rows, p),
        needs_rank=rows.baseline == BASE_RATE,
    )


def adjusted(groups: Sequence[Sequence[Slice]]) -> list[list[Slice]]:
    """Return the slices of a report with p values adjusted for their number; a group of one is the whole again."""
    tested = [one.log_loss_skill.p for group in groups if len(group) > 1 for one in group]
    left = iter(holm(tested))
    return [[replace(one, adjusted_p=next(left)) if len(group) > 1 else one for one in group] for group in groups]


def _error_if_right(score: Callable[[Floats, Floats], Floats], rows: Dataset, p: Floats) -> float:
    """Return the standard error of the mean gain if the baseline is right."""
    ones, zeros, q = np.ones(len(p)), np.zeros(len(p)), rows.market
    step = (score(ones, q) - score(ones, p)) - (score(zeros, q) - score(zeros, p))
    total = null_variance((rows.weight * step)[:, None], q * (1 - q), rows.outcome)
    return float(np.sqrt(total[0, 0]) / rows.weight.sum())


def _rank_skill(rows: Dataset, p: Floats) -> Skill:
    value, error = auc_gain(rows.label, p, rows.market, rows.weight, rows.event)
    events = len(np.unique(rows.event))
    if events < MIN_EVENTS or not error > 0:
        return Skill(value, float("nan"), float("nan"), events)
    reach = student_t(deviate((1 - COVERAGE) / 2), events - 1) * error
    return Skill(value, value - reach, value + reach, events, upper_tail(student_z(value / error, events - 1)))


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
    """Return one slice for each value of a key, in order of appearance; in each slice a market counts once."""
    out = []
    for name in dict.fromkeys(key.tolist()):
        part = rows.take(key == name)
        out.append(evaluate_slice(name, replace(part, weight=once_each(part.subject)), p[key == name], seed))
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value
