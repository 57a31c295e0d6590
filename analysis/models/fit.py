"""Fitting: out-of-fold trees, their accepted shrinkage, the calibration, and the final trees of all rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xgboost as xgb

from analysis.arrays import Floats, Ints
from analysis.models.acceptance import (
    AcceptanceResult,
    Calibration,
    acceptance_test,
    cross_fitted,
    fit_calibration,
    fit_shrinkage,
    log_losses,
)
from analysis.models.boost import Engine, Keys, Params, no_trees
from analysis.splits import Spans, Split, combinatorial, require_purged, time_ordered

FOLDS = 5
STOP_SHARE = 0.2
MIN_ROWS = 30
"""With fewer rows, or fewer than five of one class, no trees are trained."""

Step = Callable[[str], None]
"""Called with the name of each finished piece of work, for a progress bar."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Corrections of training rows by trees that were not trained on them, their time or their event."""

    rows: Ints  # (m,) positions of rows with a correction
    fold: Ints  # (m,) number of the fold
    correction: Floats  # (m,) what the trees add to the log odds
    rounds: int  # median number of trees; 0 when no fold could be trained


@dataclass(frozen=True, eq=False)
class Fit:
    """Trees with the decisions about them."""

    booster: xgb.Booster
    shrinkage: float  # factor of the trees' correction; 0 leaves the baseline unchanged
    calibration: Calibration
    trees_test: AcceptanceResult
    calibration_test: AcceptanceResult
    rounds: int
    out_of_fold: OutOfFold


def cross_validate(
    engine: Engine,
    keys: Keys,
    spans: Spans,
    train: Ints,
    params: Params,
    *,
    seed: int,
    embargo_ns: int,
    step: Step,
) -> OutOfFold:
    """Cross-validate the training rows with purged folds; each fold stops early by its own training rows.

    Args:
        engine: Holds the features of all rows.
        keys: Keys of all rows.
        spans: Spans of all rows.
        train: Positions of the rows to use.
        params: Parameters of tree growth.
        seed: Seed of the trees.
        embargo_ns: Embargo around each test fold.
        step: Called after each fold.
    """
    rows: list[Ints] = []
    folds: list[Ints] = []
    values: list[Floats] = []
    rounds: list[int] = []
    for number, split in enumerate(_folds(spans.take(train), embargo_ns)):
        inside, test = train[split.train], train[split.test]
        if len(inside):
            require_purged(spans, Split(inside, test), embargo_ns)
            inner = time_ordered(spans.take(inside), STOP_SHARE, embargo_ns)
            grow, stop = inside[inner.train], inside[inner.test]
            if _enough(keys, grow) and len(stop):
                classes = keys.class_weights(grow, params.balanced)
                booster, count = engine.boost(grow, stop, params, params.rounds, seed + number, classes)
                rows.append(test)
                folds.append(np.full(len(test), number))
                values.append(engine.corrections(booster, test))
                rounds.append(count)
        step(f"fold {number + 1}")
    nothing = np.zeros(0, np.int64)
    return OutOfFold(
        rows=np.concatenate([nothing, *rows]),
        fold=np.concatenate([nothing, *folds]),
        correction=np.concatenate([np.zeros(0), *values]),
        rounds=int(np.median(rounds)) if rounds else 0,
    )


def fit(
    engine: Engine,
    keys: Keys,
    spans: Spans,
    split: Split,
    params: Params,
    names: list[str],
    *,
    seed: int,
    embargo_ns: int = 0,
    n_trials: int = 1,
    step: Step = lambda _: None,
) -> Fit:
    """Train on a split's training rows.

    The correction of the trees is used only when it improved purged out-of-fold forecasts by more than chance, and the
    same holds for the calibration; otherwise the baseline stays unchanged.

    Args:
        engine: Holds the features of all rows.
        keys: Keys of all rows.
        spans: Spans of all rows.
        split: Training rows, and rows that are tested elsewhere.
        params: Parameters of tree growth.
        names: Features, in the order of the engine.
        seed: Seed of the trees.
        embargo_ns: Embargo around each test part.
        n_trials: Number of parameter sets that were tried on these rows.
        step: Called after each piece of work.

    Raises:
        LeakError: Training rows overlap test rows in time or belong to the same events.
    """
    require_purged(spans, split, embargo_ns)
    fold = cross_validate(engine, keys, spans, split.train, params, seed=seed, embargo_ns=embargo_ns, step=step)
    shrinkage, calibration, trees_test, calibration_test = fit_correction(keys, spans, fold, n_trials)
    booster, rounds = no_trees(names, seed), 0
    if shrinkage > 0:
        classes = keys.class_weights(split.train, params.balanced)
        booster, rounds = engine.boost(split.train, None, params, fold.rounds, seed, classes)
    step("all rows")
    return Fit(booster, shrinkage, calibration, trees_test, calibration_test, rounds, fold)


def fit_correction(
    keys: Keys, spans: Spans, fold: OutOfFold, n_trials: int = 1
) -> tuple[float, Calibration, AcceptanceResult, AcceptanceResult]:
    """Return (shrinkage, calibration, test of the trees, test of the calibration), cross-fitted over folds."""
    rows = fold.rows
    label, margin, weight = keys.label[rows], keys.margin[rows], keys.weight[rows]
    event = rows if spans.event is None else spans.event[rows]
    if len(np.unique(fold.fold)) < 2:
        refused = AcceptanceResult(
            False, 0.0, 0.0, acceptance_test(label, margin, margin, weight, event, n_trials).required_z
        )
        return 0.0, Calibration(), refused, refused

    def with_trees(fitting: Ints, applied: Ints) -> Floats:
        shrinkage = fit_shrinkage(label[fitting], margin[fitting], fold.correction[fitting], weight[fitting])
        return np.asarray(margin[applied] + shrinkage * fold.correction[applied], np.float64)

    corrected = cross_fitted(fold.fold, with_trees)
    trees_test = acceptance_test(label, margin, corrected, weight, event, n_trials)
    shrinkage = fit_shrinkage(label, margin, fold.correction, weight) if trees_test.accepted else 0.0
    stands = margin + shrinkage * fold.correction
    before = corrected if shrinkage > 0 else margin

    def calibrated(fitting: Ints, applied: Ints) -> Floats:
        return fit_calibration(label[fitting], before[fitting], weight[fitting])(before[applied])

    calibration_test = acceptance_test(label, before, cross_fitted(fold.fold, calibrated), weight, event, n_trials)
    calibration = fit_calibration(label, stands, weight) if calibration_test.accepted else Calibration()
    if shrinkage == 0.0:
        trees_test = replace(trees_test, accepted=False)
    return shrinkage, calibration, trees_test, calibration_test


def out_of_fold_loss(keys: Keys, fold: OutOfFold) -> float:
    """Return the mean log loss of the unshrunk correction; infinite when nothing was trained."""
    if not len(fold.rows):
        return float("inf")
    losses = log_losses(keys.label[fold.rows], keys.margin[fold.rows] + fold.correction)
    return float(np.average(losses, weights=keys.weight[fold.rows]))


def _folds(spans: Spans, embargo_ns: int) -> list[Split]:
    units = spans.start if spans.event is None else spans.event
    if len(np.unique(units)) < FOLDS:
        return []
    return list(combinatorial(spans, FOLDS, 1, embargo_ns))


def _enough(keys: Keys, rows: Ints) -> bool:
    ones = int(keys.label[rows].sum())
    return len(rows) >= MIN_ROWS and min(ones, len(rows) - ones) >= 5
