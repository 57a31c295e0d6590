"""`tapedeck-analysis report`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.model_options import Data, Horizon, ModelFolder, Overlap, Seed, evaluate_folder
from recorder.process.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    model: ModelFolder,
    data: Data,
    horizon: Horizon = None,
    keep_overlap: Overlap = False,
    seed: Seed = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder to write to; without it, the folder of the model.")
    ] = None,
) -> int:
    """Evaluate a model as `evaluate` does and write a report: a page with figures, a model card and a JSON file.

    The page is one file that needs no network.

    Example: `tapedeck-analysis report var/models/btc_range --data data/resolved_markets --out report`
    """
    from analysis.evaluation import write_report
    from analysis.models import registry

    found = evaluate_folder(model, data, horizon, keep_overlap, seed)
    page = write_report(found, out if out is not None else registry.latest(model))
    say(found.verdict)
    say(f"wrote {page}")
    return 0
