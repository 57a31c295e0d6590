"""`tapedeck-analysis evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.model_options import Data, Horizon, ModelFolder, Overlap, Seed, evaluate_folder, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: ModelFolder,
    data: Data,
    horizon: Horizon = None,
    keep_overlap: Overlap = False,
    seed: Seed = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON file to write; without it, only a table is printed.")
    ] = None,
) -> int:
    """Evaluate a model on rows it was not trained on, against its baseline on the same rows.

    Rows of events that the model was trained on are always left out. Rows decided before its last training label was
    known are left out unless --keep-overlap is given.

    Example: `tapedeck-analysis evaluate var/models/btc_range --data data/resolved_markets`
    """
    found = evaluate_folder(model, data, horizon, keep_overlap, seed)
    show(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found.json(), indent=1, allow_nan=False) + "\n")
    return 0
