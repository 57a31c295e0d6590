"""Walk-forward of forecasts of a number: train trees on what was known, forecast what came next, judge the order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import xgboost as xgb

from analysis import splits
from analysis.arrays import Floats, Ints
from analysis.datasets.clustered import MIN_EVENTS
from analysis.evaluation.importance import clusters
from analysis.evaluation.skill import COVERAGE, Skill, paired
from analysis.evaluation.walk_forward import parts_of
from analysis.framing import Duration, Frame, To, duration, framed
from analysis.labels import Path, forward_return
from analysis.models.boost import Params, upto_best
from analysis.signals.scores import Decay, correlation, products, turnover
from analysis.signals.targets import Targets
from recorder.errors import ConfigError

Objective = Literal["regression", "ranking"]

STOP_SHARE = 0.2
_MIN_ROWS = 60  # with fewer training rows no trees are grown
_SHUFFLES = 5
_TOO_GOOD = 0.5


@dataclass(frozen=True, slots=True)
class Retraining:
    """One model of a walk-forward."""

    first_decision_ns: int  # of the rows it forecasts
    last_decision_ns: int
    train_rows: int
    test_rows: int
    trees: int
    rank_ic: float  # on the rows it forecasts; a part alone has no interval


@dataclass(frozen=True, slots=True)
class ClusterLoss:
    """Rank IC that is lost when features that are correlated are shuffled together, out of sample."""

    features: tuple[str, ...]
    lost: Skill


@dataclass(frozen=True, eq=False)
class Signals:
    """Forecasts of a walk-forward, each of a row decided after everything its model had seen."""

    rows: Targets  # (n,) forecast rows
    objective: Objective
    forecast: Floats  # (n,) in the unit of the value; of a ranking, any unit, larger is higher
    fold: Ints  # (n,) number of the model, from 0
    retrainings: Sequence[Retraining]
    across: bool  # whether subjects were compared at each instant; otherwise along time
    ic: Skill
    rank_ic: Skill
    turnover: float
    clusters: Sequence[ClusterLoss]  # most important first
    seed: int

    @property
    def verdict(self) -> str:
        """Return one sentence; an order is claimed only when the interval of the rank IC lies above zero."""
        found = self.rank_ic
        how = "across subjects" if self.across else "along time"
        if not any(one.trees for one in self.retrainings):
            return "no order shown: no model found anything to learn"
        if found.events < MIN_EVENTS:
            return f"no order shown: {found.events} events are too few for an interval"
        if np.isnan(found.low):
            return "no order shown: the forecasts do not vary"
        bounds = f"{COVERAGE:.0%} interval {found.low:+.4f} to {found.high:+.4f} over {found.events} events"
        claim = "order shown" if found.shown else "no order shown"
        alarm = "; too good to be true: look for the answer among the features" if found.value > _TOO_GOOD else ""
        return f"{claim}: rank IC {how} {found.value:+.4f}, {bounds}{alarm}"

    def decay(self, paths: Mapping[str, Path] | Path, horizons: Sequence[Duration], delay: Duration) -> list[Decay]:
        """Return how well the forecasts order the log returns of other horizons; each is judged alone.

        Args:
            paths: Subject -> its price; one price for all rows when there is one subject.
            horizons: How long a position is held.
            delay: Time from decision to execution.
        """
        rows, out = self.rows, []
        known_paths = paths if isinstance(paths, Mapping) else dict.fromkeys(np.unique(rows.subject).tolist(), paths)
        for horizon in horizons:
            value = np.full(len(rows), np.nan)
            for name, path in known_paths.items():
                mine = rows.subject == name
                value[mine] = forward_return(path, rows.start[mine], horizon, delay).value
            known = ~np.isnan(value)
            group = (rows.start if self.across else self.fold)[known]
            both = self.forecast[known], value[known], rows.event[known], group
            ic, rank_ic = (correlation(*both, across=self.across, rank=rank) for rank in (False, True))
            out.append(Decay(duration(horizon, "horizon"), int(known.sum()), ic, rank_ic))
        return out

    def frame(self, to: To = "pandas") -> Frame:
        """Return one row a forecast: time, end, subject, event, fold, forecast, value."""
        columns = {
            "time": self.rows.start,
            "end": self.rows.end,
            "subject": self.rows.subject.astype(object),
            "event": self.rows.event.astype(object),
            "fold": self.fold,
            "forecast": self.forecast,
            "value": self.rows.value,
        }
        return framed(columns, to)

    def json(self) -> dict[str, Any]:
        """Return the results for `json.dumps`; missing numbers are null."""
        values: dict[str, Any] = {
            "verdict": self.verdict,
            "objective": self.objective,
            "across": self.across,
            "ic": asdict(self.ic),
            "rank_ic": asdict(self.rank_ic),
            "turnover": self.turnover,
            "retrainings": [asdict(one) for one in self.retrainings],
            "clusters": [asdict(one) for one in self.clusters],
            "masked": list(self.rows.masked),
            "seed": self.seed,
        }
        return _finite(values)  # type: ignore[no-any-return]


def walk_forward(
    rows: Targets,
    folds: int = 5,
    *,
    objective: Objective = "regression",
    embargo: Duration = 0,
    longest_train: Duration | None = None,
    params: Params | None = None,
    seed: int = 1,
) -> Signals:
    """Train a model before each part of the time but the first, forecast that part, and judge all forecasts.

    Early stopping reads the latest training rows. A regression forecasts the value; a ranking forecasts only the order
    of the subjects at each instant, and needs several of them there.

    Args:
        rows: A training frame.
        folds: Number of models; the rows are divided into folds + 1 parts with the same number of decision times.
        objective: "regression" or "ranking".
        embargo: How long before the first decision of a part the labels it is trained on must have ended.
        longest_train: How far back training reaches; without it, to the first row.
        params: Parameters of tree growth.
        seed: Seed of every random choice.

    Raises:
        ConfigError: There are too few decision times, or a ranking has too few subjects at each.
    """
    if objective not in ("regression", "ranking"):
        raise ConfigError(f'there is no objective {objective!r}; use "regression" or "ranking"')
    across = rows.across
    if objective == "ranking" and not across:
        raise ConfigError("a ranking compares subjects at an instant, and most have fewer than 5: use a regression")
    apart = duration(embargo, "embargo")
    parts = parts_of(
        rows.spans, folds, apart, None if longest_train is None else duration(longest_train, "longest_train")
    )
    matrix = rows.matrix()
    groups = clusters(matrix[parts[-1].train])
    rng = np.random.default_rng(seed)
    found: list[tuple[Ints, Floats, Retraining, Floats]] = []
    for number, split in enumerate(parts):
        splits.require_purged(rows.spans, split, apart)
        split = splits.Split(split.train, split.test[np.argsort(rows.start[split.test], kind="stable")])
        booster, trees = _grown(rows, matrix, split.train, objective, params or Params(), seed + number)
        centre = float(np.average(rows.value[split.train], weights=rows.weight[split.train]))
        forecast = _forecast(booster, matrix[split.test], centre)
        changed = np.zeros((len(split.test), len(groups), _SHUFFLES))
        for place, group in enumerate(groups):
            for repeat in range(_SHUFFLES):
                other = matrix[split.test].copy()
                other[:, group] = other[rng.permutation(len(other))][:, group]
                changed[:, place, repeat] = _forecast(booster, other, centre) if trees else forecast
        part = rows.take(split.test)
        alone = part.start if across else np.full(len(part), number)
        order = correlation(forecast, part.value, part.event, alone, across=across, rank=True)
        first, last = int(part.start.min()), int(part.start.max())
        made = Retraining(first, last, len(split.train), len(part), trees, order.value)
        found.append((split.test, forecast, made, changed))
    index, forecast = np.concatenate([one[0] for one in found]), np.concatenate([one[1] for one in found])
    tested, changed = rows.take(index), np.concatenate([one[3] for one in found])
    fold = np.repeat(np.arange(len(found), dtype=np.int64), [len(one[0]) for one in found])
    alike = tested.start if across else fold
    names = list(rows.features)
    lost = [
        ClusterLoss(tuple(names[j] for j in group), _lost(tested, forecast, changed[:, place], alike, seed))
        for place, group in enumerate(groups)
    ]
    return Signals(
        rows=tested,
        objective=objective,
        forecast=forecast,
        fold=fold,
        retrainings=[one[2] for one in found],
        across=across,
        ic=correlation(forecast, tested.value, tested.event, alike, across=across),
        rank_ic=correlation(forecast, tested.value, tested.event, alike, across=across, rank=True),
        turnover=turnover(forecast, tested.start, tested.subject, across=across),
        clusters=sorted(lost, key=lambda one: (-np.nan_to_num(one.lost.value), one.features)),
        seed=seed,
    )


def _lost(rows: Targets, forecast: Floats, changed: Floats, group: Ints, seed: int) -> Skill:
    before, _ = products(forecast, rows.value, group, rank=True)
    after = np.mean([products(one, rows.value, group, rank=True)[0] for one in changed.T], axis=0)
    difference = np.nan_to_num(before) - np.nan_to_num(after)
    return paired(difference, np.ones(len(rows)), rows.event, seed)


def _grown(
    rows: Targets, matrix: Floats, train: Ints, objective: Objective, params: Params, seed: int
) -> tuple[xgb.Booster | None, int]:
    """Return the trees and their number; early stopping by the latest training rows decides how many there are."""
    if len(train) < _MIN_ROWS:
        return None, 0
    inner = splits.time_ordered(rows.spans.take(train), STOP_SHARE)
    grow, stop = train[inner.train], train[inner.test]
    if len(grow) < _MIN_ROWS // 2 or not len(stop):
        return None, 0
    scale = float(rows.value[grow].std())
    if scale == 0:
        return None, 0
    kind = "reg:squarederror" if objective == "regression" else "rank:pairwise"
    settings = {
        **params.xgboost(seed),
        "objective": kind,
        "base_score": 0.0,
        "min_child_weight": max(params.leaf, 10.0),
    }
    settings["eval_metric"] = "rmse" if objective == "regression" else "ndcg"
    centre = float(np.average(rows.value[grow], weights=rows.weight[grow]))
    data = [_matrix(rows, matrix, one, objective, centre, scale) for one in (grow, stop)]
    booster = xgb.train(
        settings,
        data[0],
        params.rounds,
        evals=[(data[1], "stop")],
        early_stopping_rounds=params.patience,
        verbose_eval=False,
    )
    booster.set_attr(scale=repr(scale if objective == "regression" else 1.0))
    kept, trees = upto_best(booster)
    kept.set_attr(scale=booster.attr("scale"))
    return kept, trees


def _matrix(
    rows: Targets, matrix: Floats, index: Ints, objective: Objective, centre: float, scale: float
) -> xgb.DMatrix:
    if objective == "regression":
        label = (rows.value[index] - centre) / scale
        return xgb.DMatrix(matrix[index], label=label, weight=rows.weight[index])
    index = index[np.argsort(rows.start[index], kind="stable")]
    _, query, count = np.unique(rows.start[index], return_inverse=True, return_counts=True)
    first = np.cumsum(count) - count
    label = np.zeros(len(index))
    for begin, size in zip(first.tolist(), count.tolist(), strict=True):
        label[begin : begin + size] = np.argsort(np.argsort(rows.value[index[begin : begin + size]], kind="stable"))
    weight = np.add.reduceat(rows.weight[index], first) / count
    return xgb.DMatrix(matrix[index], label=label, qid=query, weight=weight)


def _forecast(booster: xgb.Booster | None, matrix: Floats, centre: float) -> Floats:
    if booster is None:
        return np.full(len(matrix), centre)
    scale = float(booster.attr("scale") or 1.0)
    return np.asarray(centre + scale * booster.predict(xgb.DMatrix(matrix), output_margin=True), np.float64)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
