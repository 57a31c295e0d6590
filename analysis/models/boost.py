"""Gradient-boosted trees that correct a forecast: one training run, wherever its rows are stored."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xgboost as xgb

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Dataset

CLIP = 1e-4
"""Probabilities are clipped to [CLIP, 1 - CLIP] before their log odds are taken."""


def logit(p: Floats) -> Floats:
    """Return (n,) the log odds of probabilities clipped to [CLIP, 1 - CLIP]."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.log(q / (1 - q))


def expit(margin: Floats) -> Floats:
    """Return (n,) the probabilities of log odds."""
    return np.where(margin >= 0, 1.0, np.exp(-np.abs(margin))) / (1.0 + np.exp(-np.abs(margin)))


@dataclass(frozen=True, slots=True)
class Params:
    """Parameters of tree growth; the defaults are cautious, since resolved markets are few and prices forecast well."""

    depth: int = 2
    eta: float = 0.05
    rounds: int = 300  # upper bound; early stopping decides
    patience: int = 25  # rounds without a gain before training stops
    leaf: float = 3.0  # minimum sum of hessians p (1 - p) in a leaf
    l2: float = 10.0
    subsample: float = 0.8
    columns: float = 0.8  # fraction of the features that a tree may use
    balanced: bool = False  # give both classes the same weight; the forecast stays a probability

    def xgboost(self, seed: int) -> dict[str, object]:
        """Return the parameters under their XGBoost names."""
        return {
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "base_score": 0.5,  # log odds 0: a tree's margin is a correction
            "max_depth": self.depth,
            "eta": self.eta,
            "min_child_weight": self.leaf,
            "lambda": self.l2,
            "subsample": self.subsample,
            "colsample_bytree": self.columns,
            "seed": seed,
            "nthread": 1,  # sums in one order: the same trees on every machine
            "verbosity": 1,
        }


@dataclass(frozen=True, eq=False)
class Keys:
    """The few numbers known of every row, wherever its features are stored."""

    label: Floats  # (n,) 1 or 0
    margin: Floats  # (n,) log odds of the forecast to correct
    weight: Floats  # (n,) mean 1
    outcome: Ints  # (n,) rows with the same number have the same label: one subject at several decision times

    @classmethod
    def of(cls, rows: Dataset) -> "Keys":
        """Return the keys of a training frame."""
        return cls(rows.label, logit(rows.market), rows.weight, rows.outcome)

    def class_weights(self, rows: Ints, balanced: bool) -> tuple[float, float]:
        """Return weights of the classes 0 and 1 that give both the same sum among some rows."""
        if not balanced:
            return 1.0, 1.0
        ones = float((self.weight * self.label)[rows].sum())
        total = float(self.weight[rows].sum())
        return total / (2 * (total - ones)), total / (2 * ones)


def weighted(label: Floats, margin: Floats, weight: Floats, classes: tuple[float, float]) -> tuple[Floats, Floats]:
    """Return (margin, weight) for training with class weights.

    Weighting class 1 by w1 and class 0 by w0 shifts the optimal log odds by ln(w1 / w0). The margin includes this
    shift, so the trees learn the correction of an unweighted forecast.
    """
    return margin + np.log(classes[1] / classes[0]), weight * np.where(label == 1.0, classes[1], classes[0])


class Engine(Protocol):
    """A place that holds the rows and grows trees on them."""

    def boost(
        self,
        train: Ints,
        stop: Ints | None,
        params: Params,
        rounds: int,
        seed: int,
        classes: tuple[float, float],
        margin: Floats,
    ) -> tuple[xgb.Booster, int]:
        """Grow trees on some rows and return them with their number; early stopping reads only the rows of `stop`.

        The trees correct `margin`, (n,) log odds of all rows.
        """
        ...

    def corrections(self, booster: xgb.Booster, rows: Ints) -> Floats:
        """Return (len(rows),) what the trees add to the log odds."""
        ...


class LocalEngine:
    """Hold all rows in this process."""

    def __init__(self, features: Floats, names: list[str], keys: Keys) -> None:
        self._features, self._names, self._keys = features, names, keys

    @classmethod
    def of(cls, rows: Dataset) -> "LocalEngine":
        """Return an engine for the rows of a training frame."""
        return cls(rows.matrix(), list(rows.features), Keys.of(rows))

    def boost(
        self,
        train: Ints,
        stop: Ints | None,
        params: Params,
        rounds: int,
        seed: int,
        classes: tuple[float, float],
        margin: Floats,
    ) -> tuple[xgb.Booster, int]:
        """Implement `Engine`."""
        matrix = self._matrix(train, classes, margin)
        if stop is None:
            return xgb.train(params.xgboost(seed), matrix, rounds), rounds
        booster = xgb.train(
            params.xgboost(seed),
            matrix,
            rounds,
            evals=[(self._matrix(stop, classes, margin), "stop")],
            early_stopping_rounds=params.patience,
            verbose_eval=False,
        )
        return upto_best(booster)

    def corrections(self, booster: xgb.Booster, rows: Ints) -> Floats:
        """Implement `Engine`."""
        return corrections(booster, self._features[rows], self._names)

    def _matrix(self, rows: Ints, classes: tuple[float, float], margins: Floats) -> xgb.DMatrix:
        keys = self._keys
        margin, weight = weighted(keys.label[rows], margins[rows], keys.weight[rows], classes)
        return xgb.DMatrix(
            self._features[rows],
            label=keys.label[rows],
            weight=weight,
            base_margin=margin,
            feature_names=self._names,
        )


def upto_best(booster: xgb.Booster) -> tuple[xgb.Booster, int]:
    """Return the trees up to the best round of early stopping, and their number."""
    number = int(booster.best_iteration) + 1
    return booster[:number], number


def corrections(booster: xgb.Booster, features: Floats, names: list[str]) -> Floats:
    """Return (n,) what the trees add to the log odds."""
    if booster.num_boosted_rounds() == 0 or not len(features):
        return np.zeros(len(features))
    matrix = xgb.DMatrix(features, feature_names=names)
    return np.asarray(booster.predict(matrix, output_margin=True), np.float64)


def contributions(booster: xgb.Booster, features: Floats, names: list[str]) -> Floats:
    """Return (n, k) what each feature adds to the log odds of each row.

    Source: Lundberg, Erion and Lee (2018), exact SHAP values of trees, as XGBoost computes them.
    """
    if booster.num_boosted_rounds() == 0 or not len(features):
        return np.zeros(features.shape)
    matrix = xgb.DMatrix(features, feature_names=names)
    return np.asarray(booster.predict(matrix, pred_contribs=True), np.float64)[:, :-1]


def no_trees(names: list[str], seed: int) -> xgb.Booster:
    """Return a booster without trees, which corrects nothing."""
    matrix = xgb.DMatrix(np.zeros((1, len(names))), label=np.zeros(1), feature_names=names)
    return xgb.train(Params().xgboost(seed), matrix, 0)
