"""`tapedeck`: the appliance from a terminal. One file per group of commands; `app.py` lists them."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the process at once and without a traceback, for imports: nothing is open yet.

    Afterwards Ctrl-C raises KeyboardInterrupt, unless this process was started to ignore it or has a handler.
    """
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.default_int_handler, signal.SIG_DFL):
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    else:
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when all is well, 1 when something is unhealthy or a check failed, 2 when the user must change something,
        130 after Ctrl-C.
    """
    with quiet_interrupt():
        from recorder.cli.app import app
        from recorder.process.files import keep_private
        from recorder.process.terminal import run
    keep_private()
    return run(app, "tapedeck", "tapedeck", arguments)
