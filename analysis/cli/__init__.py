"""`tapedeck-analysis`, the command line from the recording to models; one file per command, assembled here.

A command imports its heavy packages when it runs, so that `--help` is quick and a missing package of the extra is named
in one sentence.
"""

from pathlib import Path
from typing import Annotated

import typer

import recorder
from analysis.cli import audit, bars, evaluate, export, features, quality, report, score, train
from analysis.cli.common import Context
from recorder.process.terminal import run

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Turn recorded data into bars, features and models.\n\n"
    "Start with `tapedeck-analysis export`: it writes whole days to a Parquet archive, which every other command reads "
    "with `--from`. Without `--from`, commands read the database of the appliance in the present folder.",
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


# In the order of --help. Each module has a function `register(app)`.
COMMANDS = [
    export,
    bars,
    features,
    quality,
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

    Args:
        arguments: Words after the program's name; None takes those of this process.

    Returns:
        0 on success, 1 when a check failed or the recording is incomplete, 2 when the user must change something,
        130 after Ctrl-C.
    """
    return run(app, "tapedeck-analysis", "tapedeck[analysis]", arguments)
