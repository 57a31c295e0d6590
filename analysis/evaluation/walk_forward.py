"""Walk-forward: train again and again on what was known, forecast what came next, and judge all forecasts together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from rich.console import Console

from analysis import splits
from analysis.arrays import Floats, Ints
from analysis.datasets.clustered import MIN_EVENTS
from analysis.datasets.frame import Dataset
from analysis.evaluation.betting import Costs
from analysis.evaluation.evaluate import Evaluation, Fold, evaluate_forecasts
from analysis.evaluation.importance import Shuffled, clusters, pooled, shuffled, summarised
from analysis.evaluation.scores import log_loss
from analysis.framing import Duration, Frame, To, duration, framed
from analysis.models.boost import Params
from analysis.models.model import Model
from analysis.models.search import Budget
from analysis.models.train import train
from recorder.errors import ConfigError


@dataclass(frozen=True, eq=False)
class WalkForward:
    """The models of a walk-forward and their forecasts, each of rows decided after everything its model had seen."""

    models: Sequence[Model]  # oldest first
    rows: Dataset  # (n,) forecast rows, in the order of their decision, with the baseline of their model
    probability: Floats  # (n,) forecasts
    fold: Ints  # (n,) number of the model, from 0
    evaluation: Evaluation  # of all forecasts together

    @property
    def verdict(self) -> str:
        """Return the claim that all forecasts together support, in one sentence."""
        return self.evaluation.verdict

    def frame(self, to: To = "pandas") -> Frame:
        """Return one row a forecast: time, end, subject, event, fold, probability, baseline, label."""
        rows = self.rows
        columns = {
            "time": rows.start,
            "end": rows.end,
            "subject": rows.subject.astype(object),
            "event": rows.event.astype(object),
            "fold": self.fold,
            "probability": self.probability,
            "baseline": rows.market,
            "label": rows.label,
        }
        return framed(columns, to)


def parts_of(spans: splits.Spans, folds: int, embargo_ns: int, longest_ns: int | None) -> list[splits.Split]:
    """Return the parts of a walk-forward that have enough rows to train on before them.

    Raises:
        ConfigError: There are too few decision times, or no part has training rows.
    """
    try:
        parts = list(splits.walk_forward(spans, folds, embargo_ns, least_train=MIN_EVENTS, longest_train_ns=longest_ns))
    except ValueError as error:
        raise ConfigError(f"{error}; give fewer folds or more rows") from error
    if not parts:
        raise ConfigError(f"none of {folds} parts has {MIN_EVENTS} rows to train on before it; give fewer folds")
    return parts


def walk_forward(
    rows: Dataset,
    folds: int = 5,
    *,
    embargo: Duration = 0,
    longest_train: Duration | None = None,
    params: Params | None = None,
    budget: Budget | None = None,
    seed: int = 1,
    costs: Costs | None = None,
    console: Console | None = None,
) -> WalkForward:
    """Train a model before each part of the time but the first, forecast that part, and evaluate all forecasts.

    Args:
        rows: A training frame.
        folds: Number of models; the rows are divided into folds + 1 parts with the same number of decision times.
        embargo: How long before the first decision of a part the labels it is trained on must have ended.
        longest_train: How far back training reaches; without it, to the first row.
        params: Parameters of tree growth, or the start of a search.
        budget: Limits of a parameter search within the training rows of each model; None searches nothing.
        seed: Seed of every random choice.
        costs: Assumed costs of the simulated bets.
        console: Prints a line for each model; None is silent.

    Raises:
        ConfigError: There are too few decision times, or no part has training rows.
    """
    apart = duration(embargo, "embargo")
    parts = parts_of(
        rows.spans, folds, apart, None if longest_train is None else duration(longest_train, "longest_train")
    )
    groups = clusters(rows.take(parts[-1].train).matrix())
    models: list[Model] = []
    tested: list[Dataset] = []
    forecasts: list[Floats] = []
    reports: list[Fold] = []
    effects: list[Shuffled] = []
    for number, split in enumerate(parts):
        trained = train(
            rows, split, params=params, budget=budget, seed=seed + number, embargo_ns=apart, console=console
        )
        model = trained.model
        part = model.with_baseline(rows.take(split.test))
        p = model.predict(part)
        saved = np.average(log_loss(part.label, part.market) - log_loss(part.label, p), weights=part.weight)
        models.append(model)
        tested.append(part)
        forecasts.append(p)
        effects.append(shuffled(model, part, p, groups, seed + number))
        reports.append(
            Fold(
                first_decision_ns=int(part.start.min()),
                last_decision_ns=int(part.start.max()),
                train_rows=len(split.train),
                test_rows=len(part),
                saved=float(saved),
                is_baseline=model.is_baseline,
                decision=model.metadata.decision,
            )
        )
    together, p = _joined(tested), np.concatenate(forecasts)
    importance = summarised(pooled(effects), models[-1].names, groups, together, seed)
    judged = evaluate_forecasts(models[-1].metadata, together, p, importance, seed=seed, costs=costs, folds=reports)
    fold = np.repeat(np.arange(len(models), dtype=np.int64), [len(part) for part in tested])
    return WalkForward(models, together, p, fold, judged)


def _joined(parts: Sequence[Dataset]) -> Dataset:
    """Return the rows of all parts."""
    first = parts[0]
    arrays = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Dataset)
        if isinstance(getattr(first, field.name), np.ndarray)
    }
    values = {name: np.concatenate([part.features[name] for part in parts]) for name in first.features}
    others = {field.name: getattr(first, field.name) for field in fields(Dataset) if field.name not in arrays}
    return Dataset(**{**others, **arrays, "features": values})
