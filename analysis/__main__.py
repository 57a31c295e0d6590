"""Entry point of `tapedeck-analysis`; Ctrl-C ends it quietly from its first import to its end."""

import os
import signal
import sys


def main() -> int:
    """Import the commands and run one.

    Returns:
        The exit code of `analysis.cli.main`, or 130 after Ctrl-C.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored:
        # Nothing is open while modules are imported, so the process can end at once.
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(130))
    from analysis.cli import main as run

    try:
        if not ignored:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except KeyboardInterrupt:
        return 130
    finally:
        if not ignored:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # the interpreter would print a traceback while it ends


if __name__ == "__main__":
    sys.exit(main())
