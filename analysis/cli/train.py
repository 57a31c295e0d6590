"""`tapedeck-analysis train`."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli.model_options import Data, Horizon, Seed, SetName, count_looks, models_folder, show
from analysis.cli.tables import console
from recorder.errors import ConfigError
from recorder.process.terminal import say

if TYPE_CHECKING:
    from analysis.arrays import Ints
    from analysis.datasets import Dataset
    from analysis.datasets.parts import Parts
    from analysis.models.boost import Engine

Features = Annotated[
    str | None, typer.Option("--features", help="Comma-separated names; without it, all features of the set.")
]
Holdout = Annotated[
    float,
    typer.Option(
        "--holdout", min=0.0, max=0.9, help="Fraction of the latest rows held out for the evaluation; 0 for none."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    context: typer.Context,
    name: SetName,
    data: Data,
    horizon: Horizon = None,
    features: Features = None,
    holdout: Holdout = 0.3,
    embargo_h: Annotated[
        float, typer.Option("--embargo-hours", min=0.0, help="Embargo around every test part, hours.")
    ] = 0.0,
    trials: Annotated[int, typer.Option("--trials", min=0, help="Parameter sets to try; 0 uses the defaults.")] = 0,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="Longest search for parameters, seconds.")
    ] = 600.0,
    balanced: Annotated[
        bool, typer.Option("--balanced", help="Give both classes the same weight in training.")
    ] = False,
    seed: Seed = 1,
    model_name: Annotated[
        str | None, typer.Option("--name", help="Name of the model; without it, the name of the set.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of all models; without it, `models` in the home of the appliance."),
    ] = None,
    register_it: Annotated[bool, typer.Option("--register", help="Insert the model into the database, too.")] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            help="Train on Dask workers: local, or tcp://host:port of a scheduler. XGBoost then listens on a "
            "port of every network interface of the workers' machines.",
        ),
    ] = None,
) -> int:
    """Train a model that corrects the market price where that is proven to help, and evaluate it on later rows.

    The latest rows are held out. Training rows whose label reaches into their time, or that belong to the same event,
    are purged. A report, a model card and a data sheet are written beside the model.

    Example: `tapedeck-analysis train btc_range --data data/resolved_markets --trials 20`
    """
    from analysis.evaluation import data_sheet, evaluate, model_card, write_report
    from analysis.models import Budget, Params, no_holdout, registry, train
    from analysis.splits import time_ordered

    rows, parts = _rows(name, data, horizon, features, wide=cluster is None)
    embargo_ns = int(embargo_h * 3_600_000_000_000)
    split = time_ordered(rows.spans, holdout, embargo_ns) if holdout else no_holdout(rows)
    with _engine(cluster, rows, parts) as chosen:
        trained = train(
            rows,
            split,
            name=model_name,
            params=Params(balanced=balanced),
            budget=Budget(trials, seconds) if trials else None,
            seed=seed,
            embargo_ns=embargo_ns,
            engine=chosen,
            console=console(stderr=True),
        )
    metadata = trained.model.metadata
    papers = {"card.md": model_card(metadata), "datasheet.md": data_sheet(rows)}
    models = models_folder(context.obj, out)
    folder = registry.save(trained.model, models, papers)
    if register_it:
        from analysis.models import store

        store.register(context.obj.database_url(), metadata)
    if holdout:
        tested = _test_rows(rows, parts, split.test)
        found = count_looks(evaluate(trained.model, tested, seed=seed), models, tested)
        write_report(found, folder)
        show(found)
    trees = f"{metadata.rounds} trees, shrinkage {metadata.shrinkage:.2f}"
    line = f"{metadata.baseline} recalibrated, slope {metadata.calibration.slope:.2f}"
    start = line if metadata.calibration_test.accepted else metadata.baseline
    used = f"{start}, {trees}" if metadata.rounds else f"equal to the {start}"
    say(f"{metadata.name} {metadata.version}: {used}; trained on {metadata.rows} rows; saved in {folder}")
    return 0


def _engine(cluster: str | None, rows: "Dataset", files: "Parts | None") -> "AbstractContextManager[Engine | None]":
    if cluster is None:
        return nullcontext(None)
    from analysis.models.cluster import engine

    return engine(cluster, rows, files)


def _rows(
    name: str, data: Path, horizon: str | None, features: str | None, *, wide: bool
) -> "tuple[Dataset, Parts | None]":
    """Return the rows to train on, and their files when they lie in parts; without `wide` these have no features."""
    from analysis import datasets
    from analysis.datasets import parts

    if parts.has_parts(data):
        if horizon or features:
            raise ConfigError("Parquet parts are used completely: leave out --horizon and --features")
        files = parts.open_parts(data)
        return (parts.read(files) if wide else parts.keys(files)), files
    rows = datasets.load(name, data, horizon)
    if features is None:
        return rows, None
    chosen = [word.strip() for word in features.split(",") if word.strip()]
    if not chosen:
        raise ConfigError("--features names no feature; leave it out to use all")
    return rows.select(chosen), None


def _test_rows(rows: "Dataset", files: "Parts | None", test: "Ints") -> "Dataset":
    """Return the rows to evaluate on, with their features."""
    from analysis.datasets import parts

    if files is None or rows.features:
        return rows.take(test)
    import numpy as np

    mask = np.zeros(len(rows), np.bool_)
    mask[test] = True
    return parts.read(files, mask)
