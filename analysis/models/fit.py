"""Fitting: out-of-fold trees, the test and the shrinkage of their correction, and the final trees of all rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xgboost as xgb

from analysis.arrays import Floats, Ints
from analysis.models.acceptance import (
    AcceptanceResult,
    Calibration,
    Grouping,
    cross_fitted,
    encompassing_test,
    fit_calibration,
    fit_shrinkage,
    log_losses,
    recalibrate,
)
from analysis.models.boost import Engine, Keys, Params, no_trees
from analysis.splits import (
    Scheme,
    Spans,
    Split,
    cross_validation,
    event_order,
    require_grouped,
    require_purged,
    stopping,
)

FOLDS = 5
STOP_SHARE = 0.2
MIN_ROWS = 30
"""With fewer rows, or fewer than five of one class, no trees are trained."""

Step = Callable[[str], None]
"""Called with the name of each finished piece of work, for a progress bar."""


@dataclass(frozen=True, slots=True)
class Validation:
    """How training rows are cross-validated."""

    scheme: Scheme
    seed: int
    embargo_ns: int = 0
    recalibrated: bool = False  # trees correct a line through the baseline, fitted on the training rows of each fold


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Corrections of training rows by trees that were not trained on them or their event."""

    rows: Ints  # (m,) positions of rows with a correction
    fold: Ints  # (m,) number of the fold
    margin: Floats  # (m,) log odds that are corrected
    correction: Floats  # (m,) what the trees add to the log odds
    rounds: int  # median number of trees; 0 when no fold could be trained


@dataclass(frozen=True, eq=False)
class Fit:
    """Trees with the decisions about them."""

    booster: xgb.Booster
    shrinkage: float  # factor of the trees' correction; 0 leaves the line unchanged
    calibration: Calibration  # the line through the baseline's log odds that the trees correct
    trees_test: AcceptanceResult
    calibration_test: AcceptanceResult
    rounds: int
    out_of_fold: OutOfFold


def fit_line(keys: Keys, spans: Spans, train: Ints, *, constant: bool) -> tuple[Calibration, AcceptanceResult]:
    """Return the accepted recalibration of the baseline and its test, on all training rows.

    Args:
        keys: Keys of all rows.
        spans: Spans of all rows.
        train: Positions of the training rows.
        constant: The baseline is the base rate of these rows, which has nothing to recalibrate.
    """
    line, test = recalibrate(keys.label[train], keys.margin[train], keys.weight[train], _groups(keys, spans, train))
    if constant:
        reason = "the baseline is the base rate of the training rows"
        return Calibration(), replace(test, accepted=False, gain=0.0, z=0.0, not_tested=reason)
    return line, test


def cross_validate(
    engine: Engine, keys: Keys, spans: Spans, train: Ints, params: Params, how: Validation, *, step: Step
) -> OutOfFold:
    """Cross-validate the training rows; each fold stops early by its own training rows.

    Args:
        engine: Holds the features of all rows.
        keys: Keys of all rows.
        spans: Spans of all rows.
        train: Positions of the rows to use.
        params: Parameters of tree growth.
        how: Scheme, seed and embargo.
        step: Called after each fold.
    """
    rows: list[Ints] = []
    folds: list[Ints] = []
    margins: list[Floats] = []
    values: list[Floats] = []
    rounds: list[int] = []
    for number, split in enumerate(cross_validation(spans.take(train), how.scheme, FOLDS, how.embargo_ns)):
        inside, test = train[split.train], train[split.test]
        if len(inside) and len(test):
            _require(spans, Split(inside, test), how)
            inner = stopping(spans.take(inside), how.scheme, STOP_SHARE, how.embargo_ns)
            grow, stop = inside[inner.train], inside[inner.test]
            if _enough(keys, grow) and len(stop):
                margin = keys.margin
                if how.recalibrated:
                    margin = fit_calibration(keys.label[inside], margin[inside], keys.weight[inside])(margin)
                classes = keys.class_weights(grow, params.balanced)
                booster, count = engine.boost(grow, stop, params, params.rounds, how.seed + number, classes, margin)
                rows.append(test)
                folds.append(np.full(len(test), number))
                margins.append(margin[test])
                values.append(engine.corrections(booster, test))
                rounds.append(count)
        step(f"fold {number + 1}")
    nothing, none = np.zeros(0, np.int64), np.zeros(0)
    return OutOfFold(
        rows=np.concatenate([nothing, *rows]),
        fold=np.concatenate([nothing, *folds]),
        margin=np.concatenate([none, *margins]),
        correction=np.concatenate([none, *values]),
        rounds=int(np.median(rounds)) if rounds else 0,
    )


def fit(
    engine: Engine,
    keys: Keys,
    spans: Spans,
    split: Split,
    params: Params,
    names: list[str],
    how: Validation,
    line: tuple[Calibration, AcceptanceResult],
    *,
    n_trials: int = 1,
    step: Step = lambda _: None,
) -> Fit:
    """Train on a split's training rows.

    The correction of the trees is used only when it passes the encompassing test out of fold; otherwise the line of
    the first stage stays as it is.

    Args:
        engine: Holds the features of all rows.
        keys: Keys of all rows.
        spans: Spans of all rows.
        split: Training rows, and rows that are tested elsewhere.
        params: Parameters of tree growth.
        names: Features, in the order of the engine.
        how: Scheme, seed and embargo of the cross-validation.
        line: The recalibration and its test, see `fit_line`.
        n_trials: Number of parameter sets that were tried on these rows; it concerns the trees alone.
        step: Called after each piece of work.

    Raises:
        LeakError: Training rows overlap test rows in time or belong to the same events.
    """
    require_purged(spans, split, how.embargo_ns)
    calibration, calibration_test = line
    fold = cross_validate(engine, keys, spans, split.train, params, how, step=step)
    shrinkage, trees_test = fit_correction(keys, spans, fold, calibration, n_trials)
    booster, rounds = no_trees(names, how.seed), 0
    if shrinkage > 0:
        classes = keys.class_weights(split.train, params.balanced)
        margin = calibration(keys.margin)
        booster, rounds = engine.boost(split.train, None, params, fold.rounds, how.seed, classes, margin)
    step("all rows")
    return Fit(booster, shrinkage, calibration, trees_test, calibration_test, rounds, fold)


def fit_correction(
    keys: Keys, spans: Spans, fold: OutOfFold, calibration: Calibration, n_trials: int = 1
) -> tuple[float, AcceptanceResult]:
    """Return (shrinkage, test of the trees); the gain of the test is that of a shrinkage cross-fitted over folds."""
    rows = fold.rows
    label, weight = keys.label[rows], keys.weight[rows]
    margin = calibration(keys.margin[rows])
    test = encompassing_test(label, margin, fold.correction, weight, _groups(keys, spans, rows), n_trials)
    if test.not_tested or len(np.unique(fold.fold)) < 2:
        return 0.0, replace(test, accepted=False, not_tested=test.not_tested or "only one fold could be trained")

    def with_trees(fitting: Ints, applied: Ints) -> Floats:
        shrinkage = fit_shrinkage(label[fitting], margin[fitting], fold.correction[fitting], weight[fitting])
        return np.asarray(margin[applied] + shrinkage * fold.correction[applied], np.float64)

    saved = log_losses(label, margin) - log_losses(label, cross_fitted(fold.fold, with_trees))
    gain = float(np.average(saved, weights=weight))
    accepted = test.accepted and gain > 0
    shrinkage = fit_shrinkage(label, margin, fold.correction, weight) if accepted else 0.0
    return shrinkage, replace(test, accepted=accepted and shrinkage > 0, gain=gain)


def out_of_fold_loss(keys: Keys, fold: OutOfFold) -> float:
    """Return the mean log loss of the unshrunk correction; infinite when nothing was trained."""
    if not len(fold.rows):
        return float("inf")
    losses = log_losses(keys.label[fold.rows], fold.margin + fold.correction)
    return float(np.average(losses, weights=keys.weight[fold.rows]))


def _groups(keys: Keys, spans: Spans, rows: Ints) -> Grouping:
    event = rows if spans.event is None else spans.event[rows]
    return Grouping(event, keys.outcome[rows], event_order(spans.take(rows)))


def _require(spans: Spans, split: Split, how: Validation) -> None:
    if how.scheme is Scheme.GROUPED:
        require_grouped(spans, split)
    else:
        require_purged(spans, split, how.embargo_ns)


def _enough(keys: Keys, rows: Ints) -> bool:
    ones = int(keys.label[rows].sum())
    return len(rows) >= MIN_ROWS and min(ones, len(rows) - ones) >= 5
