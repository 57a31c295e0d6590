"""`tapedeck-analysis evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.judging import Data, Horizon, ModelFolder, Overlap, Seed, judge, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)


def evaluate(
    model: ModelFolder,
    data: Data,
    horizon: Horizon = None,
    keep_overlap: Overlap = False,
    seed: Seed = 1,
    out: Annotated[Path | None, typer.Option("--out", help="JSON to write; without it, only a table is shown.")] = None,
) -> int:
    """Judge a model on the rows it could not know, against the market price on the same rows.

    Rows of events the model was trained on are always left out, and rows that were decided before its last training
    label was known unless they are asked for.

    Example: `tapedeck-analysis evaluate var/models/btc_range --data data/resolved_markets`
    """
    found = judge(model, data, horizon, keep_overlap, seed)
    show(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found.json(), indent=1, allow_nan=False) + "\n")
    return 0
