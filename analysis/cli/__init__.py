"""`tapedeck-analysis`: from the tape to models, from a terminal. One file per command; this one puts them together.

A command imports what it computes with when it runs, so that `--help` is quick and a missing package of the extra
is named in one sentence.
"""

from pathlib import Path
from typing import Annotated

import typer

import recorder
from analysis.cli import audit, bars, evaluate, export, features, report, score, train
from analysis.cli.common import Context
from recorder.terminal import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Turn the tape into bars, features and models.\n\n"
    "Begin with `tapedeck-analysis export`: it writes whole days to a Parquet archive, which every other command reads "
    "with `--from`. Without `--from` they read the database of the appliance.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tapedeck-analysis {recorder.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Settings: a TOML file, or a profile (demo, live).")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    context.obj = Context(config, debug)


# The order of --help. Each is a module with `register(app)`.
COMMANDS = [
    export,
    bars,
    features,
    audit,
    train,
    evaluate,
    report,
    score,
]

for command in COMMANDS:
    command.register(app)


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all is well, 1 when a check failed or the tape is incomplete, 2 when the user must change something.
    """
    return run(app, "tapedeck-analysis", "tapedeck[analysis]", arguments)
