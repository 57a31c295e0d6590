"""`tapedeck`: the appliance from a terminal. One file per group of commands; this one puts them together."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer
from typer.exceptions import TyperException

import recorder
from recorder.cli import appliance, data, decode, replay, simulate, venue
from recorder.cli.common import Context
from recorder.errors import ConfigError, RecorderError, StoreUnavailable

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
    words = sys.argv[1:] if arguments is None else arguments
    try:
        result = app(words, prog_name="tapedeck", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except TyperException as error:
        return _complain(error.format_message(), 2)
    except ConfigError as error:
        return _complain(str(error), 2)
    except StoreUnavailable as error:
        return _complain(f"the database cannot be reached: {error}", 2)
    except RecorderError as error:
        return _complain(str(error), 1)
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        sys.stderr.close()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        return _complain(f"a fault in tapedeck itself, {type(error).__name__}: {error} (--debug shows where)", 1)


def _complain(sentence: str, code: int) -> int:
    typer.echo(f"tapedeck: {sentence}", err=True)
    return code
