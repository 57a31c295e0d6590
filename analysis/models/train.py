"""Training: a split that is proved to leak nothing, a search if there is a budget, a fit, a model with its facts."""

from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from analysis.arrays import Floats
from analysis.datasets.frame import Dataset
from analysis.models.boost import Engine, Keys, Local, Params, expit
from analysis.models.fit import FOLDS, Fit, fit
from analysis.models.model import Facts, Model, facts_of, name_version
from analysis.models.search import Budget, search
from analysis.splits import Split, require_purged


@dataclass(frozen=True, eq=False)
class Trained:
    """A model and how it came about."""

    model: Model
    split: Split
    fit: Fit

    def out_of_fold(self, rows: Dataset) -> tuple[Dataset, Floats]:
        """The training rows that have an out-of-fold forecast, and what all of the trees' correction makes of them.

        Nothing was accepted or calibrated in these: they show what the trees have learned at all.
        """
        fold = self.fit.out_of_fold
        part = rows.take(fold.rows)
        return part, expit(Keys.of(part).margin + fold.correction)


def train(
    rows: Dataset,
    split: Split,
    *,
    name: str | None = None,
    params: Params | None = None,
    budget: Budget | None = None,
    seed: int = 1,
    embargo_ns: int = 0,
    engine: Engine | None = None,
    console: Console | None = None,
) -> Trained:
    """Train on the training rows of a split.

    The model starts from the rows' baseline and moves away from it only as far as purged out-of-fold forecasts have
    shown to be right, so that without a signal it stays at the baseline.

    Args:
        rows: A training frame. With an `engine` its features may be elsewhere.
        split: Of `time_ordered`, `walk_forward` or `combinatorial` over `rows.spans`; its test part may be empty.
        name: Of the model; that of the set unless given.
        params: How trees are grown, or where a search begins.
        budget: Of a search for parameters; none unless given.
        seed: Of every random choice; printed.
        embargo_ns: Kept around every test part.
        engine: Where the features are; in this process unless given.
        console: For the seed and a progress bar; silent unless given.

    Raises:
        LeakError: Training rows overlap test rows in time or share their events.
    """
    require_purged(rows.spans, split, embargo_ns)
    keys, where = Keys.of(rows), engine or Local.of(rows)
    if console is not None:
        console.print(f"training {name or rows.name}: {len(split.train)} rows, {len(split.test)} held out, seed {seed}")
    with _progress(console) as progress:
        task = progress.add_task("train", total=FOLDS + 1 + (budget.trials if budget else 0))

        def step(what: str) -> None:
            progress.update(task, advance=1, description=what)

        chosen, trials = params or Params(), 1
        if budget is not None:
            found = search(
                where,
                keys,
                rows.spans,
                split.train,
                budget,
                start=chosen,
                seed=seed,
                embargo_ns=embargo_ns,
                step=step,
            )
            chosen, trials = found.params, found.trials
        fitted = fit(
            where,
            keys,
            rows.spans,
            split,
            chosen,
            list(rows.definitions),
            seed=seed,
            embargo_ns=embargo_ns,
            looks=trials,
            step=step,
        )
    version, created = name_version(fitted.booster)
    facts = Facts(
        name=name or rows.name,
        version=version,
        created=created,
        params=chosen,
        rounds=fitted.rounds,
        share=fitted.share,
        calibration=fitted.calibration,
        trees=fitted.trees,
        calibrating=fitted.calibrating,
        trials=trials,
        seed=seed,
        embargo_ns=embargo_ns,
        **facts_of(rows.take(split.train)),
    )
    return Trained(Model(facts, fitted.booster), split, fitted)


def everything(rows: Dataset) -> Split:
    """A split that tests nothing: all rows train."""
    return Split(np.arange(len(rows)), np.zeros(0, np.int64))


def _progress(console: Console | None) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=console is None or not console.is_terminal,
    )
