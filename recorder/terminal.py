"""One way to run a command of either program: what it prints when it cannot, and its exit code."""

import sys
import traceback

import typer
from typer.exceptions import TyperException

from recorder.errors import ConfigError, RecorderError, StoreUnavailable


def run(app: typer.Typer, program: str, package: str, arguments: list[str] | None) -> int:
    """Run one command.

    Args:
        app: The program's commands.
        program: Its name.
        package: What to install where a module is missing.
        arguments: What stands behind the name; None takes those of this process.

    Returns:
        0 when all is well, 1 when a check failed or something is not whole, 2 when the user must change something.
    """
    words = sys.argv[1:] if arguments is None else arguments

    def complain(sentence: str, code: int) -> int:
        typer.echo(f"{program}: {sentence}", err=True)
        return code

    try:
        result = app(words, prog_name=program, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except TyperException as error:
        return complain(error.format_message(), 2)
    except ConfigError as error:
        return complain(str(error), 2)
    except StoreUnavailable as error:
        return complain(f"the database cannot be reached: {error}", 2)
    except ModuleNotFoundError as error:
        return complain(f"the package {error.name} is missing; run: pip install '{package}'", 2)
    except RecorderError as error:
        return complain(str(error), 1)
    except BrokenPipeError:  # the reader of our output has seen enough, as `head` does
        sys.stderr.close()
        return 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except Exception as error:
        if "--debug" in words:
            traceback.print_exc()
        return complain(f"a fault in tapedeck itself, {type(error).__name__}: {error} (--debug shows where)", 1)
