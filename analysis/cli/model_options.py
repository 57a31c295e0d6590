"""Options of the commands about models, and the rows they name."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from analysis.cli.common import Context
from analysis.cli.tables import print_table
from recorder.process.files import keep_private
from recorder.process.terminal import say

if TYPE_CHECKING:
    from analysis.datasets import Dataset
    from analysis.evaluation import Evaluation, Slice
    from analysis.models import Model

SetName = Annotated[
    str,
    typer.Argument(
        help="btc_range, mixed10m, mixed24h, long_horizon, crypto_5m, or any name when --data holds Parquet parts."
    ),
]
ModelFolder = Annotated[
    Path, typer.Argument(help="Folder of one version of a model, or of all versions (then the latest).")
]
Data = Annotated[
    Path, typer.Option("--data", help="Folder with the files of the set, or with its rows in Parquet parts.")
]
Horizon = Annotated[
    str | None,
    typer.Option("--horizon", help="Use the rows of one horizon only; without it, all that can be trained on."),
]
Overlap = Annotated[
    bool,
    typer.Option(
        "--keep-overlap", help="Keep rows decided before the last training label was known; they are counted."
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of every random choice.")]


def open_model(folder: Path, data: Path, horizon: str | None) -> "tuple[Model, Dataset]":
    """Load a model, and the rows of its set from a folder.

    Raises:
        ModelError: The model is damaged, or its features changed.
    """
    from analysis import datasets
    from analysis.datasets import parts
    from analysis.models import registry

    model = registry.load(folder)
    if parts.has_parts(data):
        rows = parts.read(parts.open_parts(data))
        rows = rows.at(horizon) if horizon else rows
    else:
        rows = datasets.load(model.metadata.dataset, data, horizon)
    return registry.load(folder, rows.definitions), rows


def evaluate_folder(folder: Path, data: Path, horizon: str | None, keep_overlap: bool, seed: int) -> "Evaluation":
    """Evaluate a model on all rows of a folder that it was not trained on."""
    from analysis.evaluation import evaluate, unknown_to
    from analysis.models import registry

    model, rows = open_model(folder, data, horizon)
    free = unknown_to(model.metadata, rows, keep_overlap=keep_overlap)
    found = evaluate(model, free, seed=seed, left_out=len(rows) - len(free))
    return count_looks(found, registry.latest(folder).parent.parent, free)


def count_looks(found: "Evaluation", models: Path, rows: "Dataset") -> "Evaluation":
    """Enter an evaluation into the ledger of looks, and return it with the number of earlier looks."""
    from analysis.models.looks import record_look

    try:
        return replace(found, looks=record_look(models, found.metadata, rows))
    except OSError as error:
        say(f"the ledger of looks in {models} cannot be written, so earlier looks are not counted: {error}")
        return found


def show(found: "Evaluation") -> None:
    """Print scores by slice, and the verdict."""
    rows, sections = [_cells(found.all_rows)], []
    for slices in (found.by_horizon, found.by_tier, found.by_category):
        if len(slices) > 1:
            sections.append(len(rows))
            rows += [_cells(one) for one in slices]
    print_table(
        ["slice", "rows", "events", "base rate", "log loss", "baseline", "Brier", "baseline", "AUC", "verdict"],
        rows,
        sections=sections,
    )
    if found.left_out:
        say(f"{found.left_out} rows were left out: the model was trained on their event or their time")
    if found.overlapping:
        say(f"{found.overlapping} rows were decided before the last training label was known")
    if found.looks:
        say(f"{found.looks} other versions of models were evaluated on some of these events before")
    for alarm in found.alarms:
        say(f"too good to be true: {alarm}")
    if sections:
        say("slices are exploratory: their verdicts are adjusted for their number (Holm)")
    say(found.verdict)


def _cells(one: "Slice") -> list[str]:
    ours, theirs = one.model, one.baseline
    numbers = [one.base_rate, ours.log_loss, theirs.log_loss, ours.brier, theirs.brier, ours.auc]
    return [one.name, str(one.rows), str(one.events), *(f"{value:.4f}" for value in numbers), one.verdict]


def models_folder(context: Context, given: Path | None) -> Path:
    """Return the folder of all models: the given one, or `models` in the home of the appliance."""
    if given is not None:
        return given
    keep_private()
    return context.settings().home / "models"
