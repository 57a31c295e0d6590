"""`tapedeck-analysis train`."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli.common import console
from analysis.cli.judging import Data, Horizon, Seed, SetName, models_folder, show
from recorder.errors import ConfigError

if TYPE_CHECKING:
    from analysis.arrays import Ints
    from analysis.datasets import Dataset
    from analysis.datasets.parts import Parts
    from analysis.models.boost import Engine

Features = Annotated[
    str | None, typer.Option("--features", help="Names with commas between; without it, all of the set.")
]
Holdout = Annotated[
    float,
    typer.Option("--holdout", min=0.0, max=0.9, help="Share of the latest rows that is kept to judge on; 0 none."),
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
    embargo_h: Annotated[float, typer.Option("--embargo-hours", min=0.0, help="Kept around every test part.")] = 0.0,
    trials: Annotated[int, typer.Option("--trials", min=0, help="Parameter sets to try; 0 takes the defaults.")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0, help="Longest search for parameters.")] = 600.0,
    balanced: Annotated[bool, typer.Option("--balanced", help="Both classes weigh the same in training.")] = False,
    seed: Seed = 1,
    model_name: Annotated[str | None, typer.Option("--name", help="Of the model; that of the set without it.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of all models; without it, models in the home.")
    ] = None,
    register_it: Annotated[bool, typer.Option("--register", help="Enter the model in the database, too.")] = False,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster",
            help="Train on Dask workers: local, or tcp://host:port of a scheduler. While trees grow there, XGBoost "
            "listens on a port of every interface of the workers' machines.",
        ),
    ] = None,
) -> int:
    """Train a model that corrects the market price, as far as it has shown to know better, and judge it on later rows.

    The latest rows are held out; training rows whose label reaches into their time, or that share an event with them,
    are purged. A report, a model card and a data sheet are written beside the model.

    Example: `tapedeck-analysis train btc_range --data data/resolved_markets --trials 20`
    """
    from analysis.evaluation import data_sheet, evaluate, model_card, write_report
    from analysis.models import Budget, Params, everything, registry, train
    from analysis.splits import time_ordered

    rows, parts = _rows(name, data, horizon, features, wide=cluster is None)
    embargo_ns = int(embargo_h * 3_600_000_000_000)
    split = time_ordered(rows.spans, holdout, embargo_ns) if holdout else everything(rows)
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
    facts = trained.model.facts
    papers = {"card.md": model_card(facts), "datasheet.md": data_sheet(rows)}
    folder = registry.save(trained.model, models_folder(context.obj, out), papers)
    if register_it:
        from analysis.models import store

        store.register(context.obj.database_url(), facts)
    if holdout:
        found = evaluate(trained.model, _test_rows(rows, parts, split.test), seed=seed)
        write_report(found, folder)
        show(found)
    used = f"{facts.rounds} trees, {facts.share:.0%} of their correction" if facts.rounds else f"the {facts.baseline}"
    typer.echo(f"{facts.name} {facts.version}: {used}, trained on {facts.rows} rows; in {folder}")
    return 0


def _engine(cluster: str | None, rows: "Dataset", files: "Parts | None") -> "AbstractContextManager[Engine | None]":
    if cluster is None:
        return nullcontext(None)
    from analysis.models.cluster import engine

    return engine(cluster, rows, files)


def _rows(
    name: str, data: Path, horizon: str | None, features: str | None, *, wide: bool
) -> "tuple[Dataset, Parts | None]":
    """The rows to train on, and their parts where they lie in parts; without `wide` these come without features."""
    from analysis import datasets
    from analysis.datasets import parts

    if parts.has_parts(data):
        if horizon or features:
            raise ConfigError("rows in parts are taken whole: leave --horizon and --features out")
        files = parts.open_parts(data)
        return (parts.read(files) if wide else parts.keys(files)), files
    rows = datasets.load(name, data, horizon)
    if features is None:
        return rows, None
    chosen = [word.strip() for word in features.split(",") if word.strip()]
    if not chosen:
        raise ConfigError("--features names none; leave it out to take all")
    return rows.select(chosen), None


def _test_rows(rows: "Dataset", files: "Parts | None", test: "Ints") -> "Dataset":
    """The rows to judge on, with their features."""
    from analysis.datasets import parts

    if files is None or rows.features:
        return rows.take(test)
    import numpy as np

    mask = np.zeros(len(rows), np.bool_)
    mask[test] = True
    return parts.read(files, mask)
