"""What the commands about models share: their options, and the rows they name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from analysis.cli.common import Context, console

if TYPE_CHECKING:
    from analysis.datasets import Dataset
    from analysis.evaluation import Evaluation, Slice
    from analysis.models import Model

SetName = Annotated[
    str, typer.Argument(help="btc_range, mixed10m, mixed24h, long_horizon, crypto_5m, or any name for rows in parts.")
]
ModelFolder = Annotated[Path, typer.Argument(help="Folder of a model: of one version, or of all (then the latest).")]
Data = Annotated[Path, typer.Option("--data", help="Folder of the set's files, or of its rows in Parquet parts.")]
Horizon = Annotated[
    str | None, typer.Option("--horizon", help="Only the rows of one horizon; without it, all that can be trained on.")
]
Overlap = Annotated[
    bool,
    typer.Option("--keep-overlap", help="Take also rows decided before the last training label; they are counted."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of every random choice.")]


def open_model(folder: Path, data: Path, horizon: str | None) -> "tuple[Model, Dataset]":
    """A model, and the rows of its set that lie in a folder.

    Raises:
        ModelError: The model is damaged, or its features are no more what they were.
    """
    from analysis import datasets
    from analysis.datasets import parts
    from analysis.models import registry

    model = registry.load(folder)
    if parts.has_parts(data):
        rows = parts.read(parts.open_parts(data))
        rows = rows.at(horizon) if horizon else rows
    else:
        rows = datasets.load(model.facts.dataset, data, horizon)
    return registry.load(folder, rows.definitions), rows


def judge(folder: Path, data: Path, horizon: str | None, keep_overlap: bool, seed: int) -> "Evaluation":
    """The model on all rows that it could not know."""
    from analysis.evaluation import evaluate, unknown_to

    model, rows = open_model(folder, data, horizon)
    free = unknown_to(model.facts, rows, keep_overlap=keep_overlap)
    return evaluate(model, free, seed=seed, left_out=len(rows) - len(free))


def show(found: "Evaluation") -> None:
    """Scores by slice, and the verdict."""
    table = Table("rows", "n", "events", "base rate", "log loss", "baseline", "Brier", "baseline", "AUC", "verdict")
    table.add_row(*_cells(found.whole))
    for slices in (found.by_horizon, found.by_tier, found.by_category):
        if len(slices) > 1:
            table.add_section()
            for one in slices:
                table.add_row(*_cells(one))
    console().print(table)
    if found.left_out:
        typer.echo(f"{found.left_out} rows were left out: the model knew their event or their time")
    if found.overlapping:
        typer.echo(f"{found.overlapping} rows were decided before the last training label was known")
    typer.echo(found.verdict)


def _cells(one: "Slice") -> list[str]:
    ours, theirs = one.model, one.baseline
    numbers = [one.base_rate, ours.log_loss, theirs.log_loss, ours.brier, theirs.brier, ours.auc]
    return [one.name, str(one.rows), str(one.events), *(f"{value:.4f}" for value in numbers), one.verdict]


def models_folder(context: Context, given: Path | None) -> Path:
    """Where models are kept: the folder that was named, or `models` in the home of the appliance."""
    return given if given is not None else context.settings().home / "models"
