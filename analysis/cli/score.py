"""`tapedeck-analysis score`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.judging import Data, Horizon, ModelFolder, open_model


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    context: typer.Context,
    model: ModelFolder,
    data: Data,
    horizon: Horizon = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Parquet to write; without it, the table prediction of the database.")
    ] = None,
) -> int:
    """Write what a model says of every row, once for each subject and decision time.

    Into the database a row goes once, however often the command runs.

    Example: `tapedeck-analysis score var/models/btc_range --data data/resolved_markets --out said.parquet`
    """
    from analysis.models import score as scoring

    loaded, rows = open_model(model, data, horizon)
    said = scoring.score(loaded, rows)
    if out is not None:
        scoring.write_parquet(out, loaded.facts, said)
        typer.echo(f"{len(said)} predictions of {loaded.facts.name} {loaded.facts.version} in {out}")
        return 0
    from analysis.models import store

    new = store.write_predictions(context.obj.database_url(), loaded.facts, said)
    typer.echo(f"{new} new predictions of {loaded.facts.name} {loaded.facts.version}, {len(said) - new} were there")
    return 0
