"""A parameter search within a budget, scored by the purged out-of-fold log loss of the training rows alone."""

from dataclasses import asdict, dataclass, replace

import optuna

from analysis.arrays import Ints
from analysis.models.boost import Engine, Keys, Params
from analysis.models.fit import Step, Validation, cross_validate, out_of_fold_loss
from analysis.splits import Spans


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits of a search; the first one reached ends it."""

    trials: int
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Found:
    """The best parameters, and the number of sets that were tried."""

    params: Params
    n_trials: int
    loss: float  # nats, out of fold


def search(
    engine: Engine,
    keys: Keys,
    spans: Spans,
    train: Ints,
    budget: Budget,
    how: Validation,
    *,
    start: Params,
    step: Step,
) -> Found:
    """Return the parameters with the lowest out-of-fold loss; `start` is tried first.

    Args:
        engine: Holds the features of all rows.
        keys: Keys of all rows.
        spans: Spans of all rows.
        train: Positions of the rows to use; no other row is read.
        budget: When to stop.
        how: Scheme and embargo of the folds, and the seed of the sampler and the trees.
        start: First parameters; their rounds, patience and class weights are kept.
        step: Called after each trial.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def loss(trial: optuna.Trial) -> float:
        params = replace(
            start,
            depth=trial.suggest_int("depth", 1, 4),
            eta=trial.suggest_float("eta", 0.01, 0.2, log=True),
            leaf=trial.suggest_float("leaf", 0.5, 20.0, log=True),
            l2=trial.suggest_float("l2", 0.5, 100.0, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
            columns=trial.suggest_float("columns", 0.3, 1.0),
        )
        fold = cross_validate(engine, keys, spans, train, params, how, step=lambda _: None)
        step(f"trial {trial.number + 1}")
        return out_of_fold_loss(keys, fold)

    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=how.seed))
    searched = ("depth", "eta", "leaf", "l2", "subsample", "columns")
    study.enqueue_trial({name: value for name, value in asdict(start).items() if name in searched})
    study.optimize(loss, n_trials=budget.trials, timeout=budget.seconds)
    return Found(replace(start, **study.best_params), len(study.trials), float(study.best_value))
