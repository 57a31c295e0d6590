"""Gradient-boosted trees that correct a forecast: what one training run is, wherever its rows lie."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import xgboost as xgb

from analysis.arrays import Floats, Ints
from analysis.datasets.frame import Dataset

CLIP = 1e-4
"""A probability is taken as at least this far from 0 and 1 where its log odds are needed."""


def logit(p: Floats) -> Floats:
    """(n,) log odds of probabilities clipped to [CLIP, 1 - CLIP]."""
    q = np.clip(p, CLIP, 1 - CLIP)
    return np.log(q / (1 - q))


def expit(margin: Floats) -> Floats:
    """(n,) probabilities of log odds."""
    return np.where(margin >= 0, 1.0, np.exp(-np.abs(margin))) / (1.0 + np.exp(-np.abs(margin)))


@dataclass(frozen=True, slots=True)
class Params:
    """How trees are grown. The defaults are cautious: resolved markets are few, and a price forecasts well."""

    depth: int = 2
    eta: float = 0.05
    rounds: int = 300  # at most; early stopping decides
    patience: int = 25  # rounds without a gain before it stops
    leaf: float = 3.0  # least sum of hessians p (1 - p) in a leaf
    l2: float = 10.0
    subsample: float = 0.8
    columns: float = 0.8  # share of the features a tree may use
    balanced: bool = False  # both classes weigh the same; the forecast stays a probability

    def xgboost(self, seed: int) -> dict[str, object]:
        """The same in the words of XGBoost."""
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
    """What is known of every row wherever the wide part of it lies: a few numbers each."""

    label: Floats  # (n,) 1 or 0
    margin: Floats  # (n,) log odds of the forecast to correct
    weight: Floats  # (n,) mean 1

    @classmethod
    def of(cls, rows: Dataset) -> "Keys":
        """Those of a training frame."""
        return cls(rows.label, logit(rows.market), rows.weight)

    def class_weights(self, rows: Ints, balanced: bool) -> tuple[float, float]:
        """Weights of the classes 0 and 1 among some rows: with them both have the same sum."""
        if not balanced:
            return 1.0, 1.0
        ones = float((self.weight * self.label)[rows].sum())
        total = float(self.weight[rows].sum())
        return total / (2 * (total - ones)), total / (2 * ones)


def weighted(label: Floats, margin: Floats, weight: Floats, classes: tuple[float, float]) -> tuple[Floats, Floats]:
    """(margin, weight) to train on when classes weigh differently.

    Weighting class 1 by w1 and class 0 by w0 moves the best log odds by ln(w1 / w0). The margin takes that up, so what
    the trees learn is the correction of an unweighted forecast.
    """
    return margin + np.log(classes[1] / classes[0]), weight * np.where(label == 1.0, classes[1], classes[0])


class Engine(Protocol):
    """Where the rows are, and who grows trees on them."""

    def boost(
        self, train: Ints, stop: Ints | None, params: Params, rounds: int, seed: int, classes: tuple[float, float]
    ) -> tuple[xgb.Booster, int]:
        """Trees grown on some rows, and their number; early stopping reads the rows of `stop` and no others."""
        ...

    def corrections(self, booster: xgb.Booster, rows: Ints) -> Floats:
        """(len(rows),) what the trees add to the log odds."""
        ...


class Local:
    """All rows in this process."""

    def __init__(self, features: Floats, names: list[str], keys: Keys) -> None:
        self._features, self._names, self._keys = features, names, keys

    @classmethod
    def of(cls, rows: Dataset) -> "Local":
        """The rows of a training frame."""
        return cls(rows.matrix(), list(rows.features), Keys.of(rows))

    def boost(
        self, train: Ints, stop: Ints | None, params: Params, rounds: int, seed: int, classes: tuple[float, float]
    ) -> tuple[xgb.Booster, int]:
        """See `Engine`."""
        matrix = self._matrix(train, classes)
        if stop is None:
            return xgb.train(params.xgboost(seed), matrix, rounds), rounds
        booster = xgb.train(
            params.xgboost(seed),
            matrix,
            rounds,
            evals=[(self._matrix(stop, classes), "stop")],
            early_stopping_rounds=params.patience,
            verbose_eval=False,
        )
        return upto_best(booster)

    def corrections(self, booster: xgb.Booster, rows: Ints) -> Floats:
        """See `Engine`."""
        return corrections(booster, self._features[rows], self._names)

    def _matrix(self, rows: Ints, classes: tuple[float, float]) -> xgb.DMatrix:
        keys = self._keys
        margin, weight = weighted(keys.label[rows], keys.margin[rows], keys.weight[rows], classes)
        return xgb.DMatrix(
            self._features[rows],
            label=keys.label[rows],
            weight=weight,
            base_margin=margin,
            feature_names=self._names,
        )


def upto_best(booster: xgb.Booster) -> tuple[xgb.Booster, int]:
    """The trees up to the best round of early stopping, and their number."""
    number = int(booster.best_iteration) + 1
    return booster[:number], number


def corrections(booster: xgb.Booster, features: Floats, names: list[str]) -> Floats:
    """(n,) what the trees add to the log odds."""
    if booster.num_boosted_rounds() == 0 or not len(features):
        return np.zeros(len(features))
    matrix = xgb.DMatrix(features, feature_names=names)
    return np.asarray(booster.predict(matrix, output_margin=True), np.float64)


def contributions(booster: xgb.Booster, features: Floats, names: list[str]) -> Floats:
    """(n, k) what each feature adds to the log odds of each row.

    Source: Lundberg, Erion and Lee (2018), exact SHAP values of trees, as XGBoost computes them.
    """
    if booster.num_boosted_rounds() == 0 or not len(features):
        return np.zeros(features.shape)
    matrix = xgb.DMatrix(features, feature_names=names)
    return np.asarray(booster.predict(matrix, pred_contribs=True), np.float64)[:, :-1]


def no_trees(names: list[str], seed: int) -> xgb.Booster:
    """A booster that corrects nothing."""
    matrix = xgb.DMatrix(np.zeros((1, len(names))), label=np.zeros(1), feature_names=names)
    return xgb.train(Params().xgboost(seed), matrix, 0)
