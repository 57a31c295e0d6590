"""The base rate of the training rows: the baseline of sets without a public forecast."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from analysis.arrays import Ints
from analysis.datasets.frame import Dataset

ALL = ""
"""Key of the rate of all training rows, used for a subject that they lack."""

LEAST_ROWS = 100
"""A subject with fewer training rows takes the rate of all, because its own would hold the label of each row."""

_PRIOR = 1.0  # rows of either label that are added to a subject, so that no rate is 0 or 1


def base_rates(rows: Dataset, train: Ints) -> dict[str, float]:
    """Return subject -> fraction of ones among its training rows, weighted; ALL -> that of all of them.

    Subjects with fewer than LEAST_ROWS training rows are left out.
    """
    names, index, count = np.unique(rows.subject[train], return_inverse=True, return_counts=True)
    weight, label = rows.weight[train], rows.label[train]
    ones, total = np.bincount(index, weight * label, len(names)), np.bincount(index, weight, len(names))
    enough = count >= LEAST_ROWS
    own = (ones + _PRIOR) / (total + 2 * _PRIOR)
    rates = dict(zip(names[enough].tolist(), own[enough].tolist(), strict=True))
    return {**rates, ALL: float((ones.sum() + _PRIOR) / (total.sum() + 2 * _PRIOR))}


def with_base_rates(rows: Dataset, rates: Mapping[str, float]) -> Dataset:
    """Return the rows with the base rate of their subject as baseline; without rates, the same rows."""
    if not rates:
        return rows
    market = np.array([rates.get(subject, rates[ALL]) for subject in rows.subject.tolist()], np.float64)
    return replace(rows, market=market)
