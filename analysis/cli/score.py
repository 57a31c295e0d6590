"""`tapedeck-analysis score`."""

from pathlib import Path
from typing import Annotated

import typer

from analysis.cli.model_options import Data, Horizon, ModelFolder, open_model
from recorder.process.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(score)


def score(
    context: typer.Context,
    model: ModelFolder,
    data: Data,
    horizon: Horizon = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Parquet file to write; without it, the table prediction of the database is filled."
        ),
    ] = None,
) -> int:
    """Write the forecast of a model for every row, one for each subject and decision time.

    Running the command again adds no row to the database a second time.

    Example: `tapedeck-analysis score var/models/btc_range --data data/resolved_markets --out forecasts.parquet`
    """
    from analysis.models import score as scoring

    loaded, rows = open_model(model, data, horizon)
    scored = scoring.score(loaded, rows)
    model_name = f"{loaded.metadata.name} {loaded.metadata.version}"
    if out is not None:
        scoring.write_parquet(out, loaded.metadata, scored)
        say(f"wrote {len(scored)} predictions of {model_name} to {out}")
        return 0
    from analysis.models import store

    new = store.write_predictions(context.obj.database_url(), loaded.metadata, scored)
    say(f"{new} new predictions of {model_name}; {len(scored) - new} existed already")
    return 0
