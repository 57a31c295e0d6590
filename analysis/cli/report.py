"""`tapedeck-analysis report`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.judging import Data, Horizon, ModelFolder, Overlap, Seed, judge


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
        Path | None, typer.Option("--out", help="Folder to write to; without it, that of the model.")
    ] = None,
) -> int:
    """Judge a model as `evaluate` does and write what a person reads: a page with figures, a model card, a JSON.

    The page needs nothing but itself: no other file and no network.

    Example: `tapedeck-analysis report var/models/btc_range --data data/resolved_markets --out report`
    """
    from analysis.evaluation import write_report
    from analysis.models import registry

    found = judge(model, data, horizon, keep_overlap, seed)
    page = write_report(found, out if out is not None else registry.latest(model))
    typer.echo(found.verdict)
    typer.echo(f"wrote {page}")
    return 0
