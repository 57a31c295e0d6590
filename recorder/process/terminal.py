"""Running a command of a terminal program: its answers, error messages and exit codes."""

import shutil
import sys
import traceback
from typing import Any

import typer
from typer.exceptions import TyperException

from recorder.errors import ConfigError, RecorderError, StoreUnavailable
from recorder.printable import one_line, printable, printable_json


def say(text: str, *, err: bool = False) -> None:
    """Print one line, which may hold words of others."""
    typer.echo(printable(text), err=err)


def say_json(value: Any, *, indented: bool = False, err: bool = False) -> None:
    """Print a value as one JSON document; one line of it unless it is indented."""
    from msgspec import json  # `--help` does without it

    encoded = json.encode(value)
    typer.echo(printable_json(json.format(encoded) if indented else encoded), err=err)


def run(app: typer.Typer, program: str, package: str, arguments: list[str] | None) -> int:
    """Run one command.

    Args:
        app: The program's commands.
        program: Its name.
        package: To install where a module is missing.
        arguments: Those after the name; None takes those of this process.

    Returns:
        0 on success, 1 when a check failed or something is incomplete, 2 when the user must change something, or
        another code that the help of the command explains.
    """
    words = sys.argv[1:] if arguments is None else arguments

    def complain(sentence: str, code: int) -> int:
        text = f"{program}: {one_line(sentence)}"
        for line in _folded(text) if sys.stderr.isatty() else [text]:
            typer.echo(line, err=True)
        return code

    try:
        result = app(words, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except TyperException as error:
        return complain(_plain(error), 2)
    except ConfigError as error:
        return complain(str(error), 2)
    except StoreUnavailable as error:
        return complain(f"the database cannot be reached: {error}; `tapedeck status` shows whether it runs", 2)
    except ModuleNotFoundError as error:
        return complain(f"the package {error.name} is missing; run: pip install '{package}'", 2)
    except RecorderError as error:
        return complain(str(error), 1)
    except BrokenPipeError:  # the reader of our output stopped reading, as `head` does
        sys.stderr.close()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if "--debug" in words:
            for line in traceback.format_exc().splitlines():
                say(line, err=True)
        return complain(f"internal error, {type(error).__name__}: {error} (--debug shows the traceback)", 1)


def _folded(text: str) -> list[str]:
    """Return a text in lines of the width of the terminal."""
    from recorder.process.screen import fold  # with rich, which a command without an error does without

    return fold(text, shutil.get_terminal_size().columns, "  ")


def _plain(error: TyperException) -> str:
    """Return the message about wrong arguments, without pydantic's words about the type of a value."""
    if isinstance(error, typer.BadParameter) and error.__cause__ is not None:
        from pydantic import ValidationError  # typer imported it to find the fault; `--help` does without it

        from recorder.settings.errors import reason

        if isinstance(error.__cause__, ValidationError):
            error.message = reason(error.__cause__.errors()[0], secret=False)
    return error.format_message()
