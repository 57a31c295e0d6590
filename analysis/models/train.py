"""Training: check the split for leaks, search when there is a budget, fit, and return a model with metadata."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analysis.arrays import Floats
from analysis.datasets.frame import BASE_RATE, Dataset
from analysis.models.base_rate import base_rates, with_base_rates
from analysis.models.boost import Engine, Keys, LocalEngine, Params, expit
from analysis.models.fit import FOLDS, Fit, Validation, fit, fit_line
from analysis.models.model import Model, ModelMetadata, dataset_metadata, name_version
from analysis.models.search import Budget, search
from analysis.splits import Scheme, Split, require_purged


@dataclass(frozen=True, eq=False)
class Trained:
    """A model and the way it was trained."""

    model: Model
    split: Split
    fit: Fit

    def out_of_fold(self, rows: Dataset) -> tuple[Dataset, Floats]:
        """Return the training rows with an out-of-fold forecast, and the forecast with the unshrunk correction.

        These forecasts are neither accepted nor calibrated; they show what the trees learned.
        """
        fold = self.fit.out_of_fold
        part = self.model.with_baseline(rows.take(fold.rows))
        return part, expit(fold.margin + fold.correction)


def train(
    rows: Dataset,
    split: Split,
    *,
    name: str | None = None,
    params: Params | None = None,
    budget: Budget | None = None,
    seed: int = 1,
    embargo_ns: int = 0,
    scheme: Scheme | None = None,
    engine: Engine | None = None,
    console: Console | None = None,
) -> Trained:
    """Train a model on the training rows of a split.

    The model starts from the baseline of the rows. A first stage recalibrates it by two parameters where a score test
    on all training rows refuses the baseline as it stands. A second stage adds the correction of trees where its
    out-of-fold values pass an encompassing test. Without a signal the model equals the baseline.

    Args:
        rows: A training frame; with an `engine` its features may be stored elsewhere.
        split: A split of `rows.spans`; its test part may be empty.
        name: Name of the model; without it, the name of the set.
        params: Parameters of tree growth, or the start of a search.
        budget: Limits of a parameter search; None searches nothing.
        seed: Seed of every random choice; printed.
        embargo_ns: Embargo around every test part.
        scheme: Cross-validation of the training rows; without it, that of the set.
        engine: Holder of the features; without it, this process.
        console: Prints the seed and a progress bar; None is silent.

    Raises:
        LeakError: Training rows overlap test rows in time or belong to the same events.
    """
    require_purged(rows.spans, split, embargo_ns)
    rates = base_rates(rows, split.train) if rows.baseline == BASE_RATE else {}
    rows = with_base_rates(rows, rates)
    keys, where = Keys.of(rows), engine or LocalEngine.of(rows)
    line = fit_line(keys, rows.spans, split.train, constant=bool(rates))
    how = Validation(scheme or rows.scheme, seed, embargo_ns, line[1].accepted)
    if console is not None:
        console.print(
            f"training {name or rows.name}: {len(split.train)} rows, {len(split.test)} held out, seed {seed}",
            markup=False,
        )
    with _progress(console) as progress:
        task = progress.add_task("train", total=FOLDS + 1 + (budget.trials if budget else 0))

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        chosen, n_trials = params or Params(), 1
        if budget is not None:
            found = search(
                where,
                keys,
                rows.spans,
                split.train,
                budget,
                how,
                start=chosen,
                step=step,
            )
            chosen, n_trials = found.params, found.n_trials
        fitted = fit(
            where,
            keys,
            rows.spans,
            split,
            chosen,
            list(rows.definitions),
            how,
            line,
            n_trials=n_trials,
            step=step,
        )
    version, created = name_version(fitted.booster)
    metadata = ModelMetadata(
        name=name or rows.name,
        version=version,
        created=created,
        params=chosen,
        rounds=fitted.rounds,
        shrinkage=fitted.shrinkage,
        calibration=fitted.calibration,
        trees_test=fitted.trees_test,
        calibration_test=fitted.calibration_test,
        n_trials=n_trials,
        seed=seed,
        embargo_ns=embargo_ns,
        scheme=how.scheme,
        base_rates=rates,
        **dataset_metadata(rows.take(split.train)),
    )
    return Trained(Model(metadata, fitted.booster), split, fitted)


def no_holdout(rows: Dataset) -> Split:
    """Return a split that trains on all rows and tests none."""
    return Split(np.arange(len(rows)), np.zeros(0, np.int64))


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )
