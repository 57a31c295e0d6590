"""Importance of features on rows that the model was not trained on: each alone, and clusters of correlated ones.

Shuffling one of two features that say the same changes little, because the other one still says it. Features are
therefore shuffled together with those they are correlated with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.arrays import Floats
from analysis.datasets.frame import Dataset
from analysis.evaluation.scores import log_loss
from analysis.evaluation.skill import Skill, paired
from analysis.models.boost import logit
from analysis.models.model import Model

CORRELATED = 0.5
"""Clusters merge while the mean absolute rank correlation of their features is at least this."""

_SHUFFLES = 5
_LEAST = 30  # rows in which both of two features are known


@dataclass(frozen=True, slots=True)
class Importance:
    """Contribution of a feature to the forecasts of some rows."""

    feature: str
    permutation: float  # increase of log loss when its values are shuffled, nats
    shap: float  # mean absolute contribution to the log odds


@dataclass(frozen=True, slots=True)
class ClusterImportance:
    """Contribution of features that are correlated, shuffled together."""

    features: tuple[str, ...]
    increase: Skill  # of the log loss when they are shuffled, nats, with an interval by event
    shap: float  # sum of the mean absolute contributions to the log odds


@dataclass(frozen=True, eq=False)
class Shuffled:
    """What shuffling does to the loss of each row; parts of several models are pooled with `pooled`."""

    features: Floats  # (n, features) increase of the log loss
    shap: Floats  # (n, features) absolute contribution to the log odds
    clusters: Floats  # (n, clusters) increase of the log loss


def clusters(matrix: Floats, limit: float = CORRELATED) -> list[list[int]]:
    """Return groups of columns by average linkage of their absolute rank correlation, largest group first.

    Args:
        matrix: (n, k) features, NaN when unknown; a pair counts in the rows in which both are known.
        limit: Mean absolute correlation at which groups still merge.
    """
    count = matrix.shape[1]
    alike = np.zeros((count, count))
    for i in range(count):
        for j in range(i):
            both = ~np.isnan(matrix[:, i]) & ~np.isnan(matrix[:, j])
            if both.sum() >= _LEAST:
                alike[i, j] = alike[j, i] = abs(rank_correlation(matrix[both, i], matrix[both, j]))
    groups = [[i] for i in range(count)]
    while len(groups) > 1:
        near = [
            (float(alike[np.ix_(a, b)].mean()), x, y) for x, a in enumerate(groups) for y, b in enumerate(groups[:x])
        ]
        best, x, y = max(near)
        if best < limit:
            break
        groups[y] = sorted(groups[y] + groups.pop(x))
    return sorted(groups, key=lambda group: (-len(group), group))


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's correlation, ties with their mean rank; 0 where one does not vary."""
    first, second = ranks(a), ranks(b)
    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def ranks(values: Floats) -> Floats:
    """Return (n,) ranks from 0, ties with their mean rank."""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    after = np.cumsum(count)
    return np.asarray((after - (count + 1) / 2)[index], np.float64)


def shuffled(model: Model, rows: Dataset, p: Floats, groups: Sequence[Sequence[int]], seed: int) -> Shuffled:
    """Return what shuffling each feature and each cluster does to the log loss of each row; nothing without trees.

    Args:
        model: A trained model.
        rows: (n,) rows it was not trained on, with its baseline.
        p: (n,) its forecasts.
        groups: Positions of the features of each cluster.
        seed: Seed of the shuffles.
    """
    names = model.names
    shap = np.abs(model.contributions(rows))
    if not model.metadata.rounds:
        return Shuffled(np.zeros((len(rows), len(names))), shap, np.zeros((len(rows), len(groups))))
    rng = np.random.default_rng(seed)
    matrix, margin, current = model.matrix(rows), logit(rows.market), log_loss(rows.label, p)

    def increase(columns: Sequence[int]) -> Floats:
        total = np.zeros(len(rows))
        for _ in range(_SHUFFLES):
            other, order = matrix.copy(), rng.permutation(len(rows))
            other[:, columns] = matrix[np.ix_(order, np.asarray(columns))]
            total += log_loss(rows.label, model.probability(margin, other)) - current
        return np.asarray(total / _SHUFFLES, np.float64)

    alone = [increase([j]) for j in range(len(names))]
    together = [alone[group[0]] if len(group) == 1 else increase(list(group)) for group in groups]
    return Shuffled(np.column_stack(alone), shap, np.column_stack(together))


def pooled(parts: Sequence[Shuffled]) -> Shuffled:
    """Return the rows of several parts together."""
    return Shuffled(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "shap", "clusters"))
    )


def summarised(
    found: Shuffled, names: Sequence[str], groups: Sequence[Sequence[int]], rows: Dataset, seed: int
) -> tuple[list[Importance], list[ClusterImportance]]:
    """Return (features, clusters), most important first.

    Args:
        found: Values of (n,) rows.
        names: Features.
        groups: Positions of the features of each cluster.
        rows: The same rows, for their weights and events.
        seed: Seed of the bootstrap.
    """
    weight = rows.weight
    shap = np.average(found.shap, axis=0, weights=weight)
    drop = np.average(found.features, axis=0, weights=weight)
    single = [Importance(name, float(drop[j]), float(shap[j])) for j, name in enumerate(names)]
    many = [
        ClusterImportance(
            tuple(names[j] for j in group),
            paired(found.clusters[:, place] * weight, weight, rows.event, seed),
            float(shap[list(group)].sum()),
        )
        for place, group in enumerate(groups)
    ]
    return (
        sorted(single, key=lambda one: (-one.shap, one.feature)),
        sorted(many, key=lambda one: (-one.increase.value, -one.shap, one.features)),
    )
