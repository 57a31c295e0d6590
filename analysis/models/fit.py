"""Fitting: out-of-fold trees, the share of them that has earned its place, calibration, and the trees of all rows."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import xgboost as xgb

from analysis.arrays import Floats, Ints
from analysis.models.accept import Calibration, Verdict, cross_fitted, fit_calibration, fit_share, judge, log_losses
from analysis.models.boost import Engine, Keys, Params, no_trees
from analysis.splits import Spans, Split, combinatorial, require_purged, time_ordered

FOLDS = 5
STOP_SHARE = 0.2
LEAST_ROWS = 30
"""With fewer rows, or fewer than ten of a class's weight, nothing is learned."""

Step = Callable[[str], None]
"""Told of each piece of work done, for a progress bar."""


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions for training rows by trees that did not see them, their time or their event."""

    rows: Ints  # (m,) positions of rows that have one
    fold: Ints  # (m,)
    correction: Floats  # (m,) what the trees add to the log odds
    rounds: int  # median number of trees; 0 where no fold could be trained


@dataclass(frozen=True, eq=False)
class Fit:
    """Trees with what was decided about them."""

    booster: xgb.Booster
    share: float  # of the trees' correction that is used; 0 leaves the baseline alone
    calibration: Calibration
    trees: Verdict
    calibrating: Verdict
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
    """Purged cross-validation of the training rows; each fold stops early by rows of its own training part.

    Args:
        engine: Holds the features of all rows.
        keys: Of all rows.
        spans: Of all rows.
        train: Positions of the rows to use.
        params: How trees are grown.
        seed: Of the trees.
        embargo_ns: Around each test fold.
        step: Told of each fold.
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
    looks: int = 1,
    step: Step = lambda _: None,
) -> Fit:
    """Train on a split's training rows.

    The trees' correction is used as far as it has improved purged out-of-fold forecasts beyond chance, and the
    calibration likewise; otherwise the baseline stands.

    Args:
        engine: Holds the features of all rows.
        keys: Of all rows.
        spans: Of all rows.
        split: What trains, and what is tested elsewhere.
        params: How trees are grown.
        names: Features, in the engine's order.
        seed: Of the trees.
        embargo_ns: Around each test part.
        looks: How many parameter sets were tried on these rows.
        step: Told of each piece of work.

    Raises:
        LeakError: Training rows overlap test rows in time or share their events.
    """
    require_purged(spans, split, embargo_ns)
    fold = cross_validate(engine, keys, spans, split.train, params, seed=seed, embargo_ns=embargo_ns, step=step)
    share, calibration, trees, calibrating = accept(keys, spans, fold, looks)
    booster, rounds = no_trees(names, seed), 0
    if share > 0:
        classes = keys.class_weights(split.train, params.balanced)
        booster, rounds = engine.boost(split.train, None, params, fold.rounds, seed, classes)
    step("all rows")
    return Fit(booster, share, calibration, trees, calibrating, rounds, fold)


def accept(keys: Keys, spans: Spans, fold: OutOfFold, looks: int = 1) -> tuple[float, Calibration, Verdict, Verdict]:
    """(share of the trees, calibration, verdict on each), by cross-fitting over the folds."""
    rows = fold.rows
    label, margin, weight = keys.label[rows], keys.margin[rows], keys.weight[rows]
    event = rows if spans.event is None else spans.event[rows]
    if len(np.unique(fold.fold)) < 2:
        refused = Verdict(False, 0.0, 0.0, judge(label, margin, margin, weight, event, looks).needed)
        return 0.0, Calibration(), refused, refused

    def with_trees(fitting: Ints, applied: Ints) -> Floats:
        share = fit_share(label[fitting], margin[fitting], fold.correction[fitting], weight[fitting])
        return np.asarray(margin[applied] + share * fold.correction[applied], np.float64)

    corrected = cross_fitted(fold.fold, with_trees)
    trees = judge(label, margin, corrected, weight, event, looks)
    share = fit_share(label, margin, fold.correction, weight) if trees.taken else 0.0
    stands = margin + share * fold.correction
    before = corrected if share > 0 else margin

    def calibrated(fitting: Ints, applied: Ints) -> Floats:
        return fit_calibration(label[fitting], before[fitting], weight[fitting])(before[applied])

    calibrating = judge(label, before, cross_fitted(fold.fold, calibrated), weight, event, looks)
    calibration = fit_calibration(label, stands, weight) if calibrating.taken else Calibration()
    if share == 0.0:
        trees = replace(trees, taken=False)
    return share, calibration, trees, calibrating


def out_of_fold_loss(keys: Keys, fold: OutOfFold) -> float:
    """Mean log loss of the trees' whole correction, what a search makes small; infinite where nothing was trained."""
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
    return len(rows) >= LEAST_ROWS and min(ones, len(rows) - ones) >= 5
