"""The entry of every program in bin/: settings, log, main, exit status."""

import sys
from collections.abc import Callable

from recorder.errors import ConfigError
from recorder.printable import one_line
from recorder.process.files import keep_private
from recorder.process.log import configure, get_logger
from recorder.settings import Settings

_log = get_logger(__name__)


def run(program: str, main: Callable[[Settings], int]) -> int:
    """Load the settings, set up the log, call main.

    Returns:
        What main returns; 2 with one sentence on standard error when the user must change something; 1 with a
        traceback in the log for an unexpected error.
    """
    keep_private()
    try:
        settings = Settings.load()
        handler = configure(settings.log, program)
        try:
            return main(settings)
        except ConfigError:
            raise
        except Exception:
            _log.exception("program.failed", program=program)
            return 1
        finally:
            handler.drain(1.0)
    except ConfigError as error:
        print(f"{program}: {one_line(str(error))}", file=sys.stderr)
        return 2
