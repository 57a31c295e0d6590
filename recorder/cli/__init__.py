"""`tapedeck`: the appliance from a terminal. One file per group of commands; this one puts them together."""

from pathlib import Path
from typing import Annotated

import typer

import recorder
from recorder.cli import appliance, data, decode, replay, simulate, venue
from recorder.cli.common import Context
from recorder.terminal import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Record markets: every message of a venue's feed, into Postgres, exactly once.\n\n"
    "Start with `tapedeck up`, look with `tapedeck status`, prove with `tapedeck verify`, end with `tapedeck down`.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapedeck {recorder.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings: a TOML file, or a profile (demo, live).")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log everything; show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Context(config, debug)


for group in (appliance, venue, decode, data, replay, simulate):
    group.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all is well, 1 when something is unhealthy or a check failed, 2 when the user must change something.
    """
    return run(app, "tapedeck", "tapedeck", arguments)
