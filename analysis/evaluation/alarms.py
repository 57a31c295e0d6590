"""Alarms: results that are more likely a leak than a discovery."""

from typing import TYPE_CHECKING

import numpy as np

from analysis.datasets.frame import Dataset
from analysis.evaluation.scores import auc

if TYPE_CHECKING:
    from analysis.evaluation.evaluate import Slice

MOST_SAVED = 0.4
"""Fraction of the baseline's log loss; whoever saves more has probably seen the answer."""

MOST_RANK = 0.95
"""AUC of a single feature that the baseline does not come near."""

_FAR = 0.05
_LEAST_ROWS = 50


def too_good(rows: Dataset, whole: "Slice") -> list[str]:
    """Return one sentence for each sign that the answer is among the features; none is the rule.

    Args:
        rows: (n,) evaluated rows with their baseline.
        whole: Scores of all of them.
    """
    if len(rows) < _LEAST_ROWS:
        return []
    found = []
    saved = 1.0 - whole.model.log_loss / whole.baseline.log_loss if whole.baseline.log_loss > 0 else 0.0
    if saved > MOST_SAVED:
        found.append(f"{saved:.0%} of the baseline's log loss is saved: look for the answer among the features")
    for name, values in rows.features.items():
        known = ~np.isnan(values)
        if known.sum() < _LEAST_ROWS:
            continue
        area = auc(rows.label[known], values[known], rows.weight[known])
        alone, public = max(area, 1 - area), auc(rows.label[known], rows.market[known], rows.weight[known])
        if alone > max(MOST_RANK, public + _FAR):
            found.append(f"{name} alone orders the outcomes with an AUC of {alone:.3f}: is it known at the decision?")
    return found
