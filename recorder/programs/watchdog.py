"""Judge all programs, answer on loopback, keep the alerts."""

import sys

from recorder.process.program import run
from recorder.watchdog.main import main


def start() -> int:
    """Run the program and return its exit status."""
    return run("watchdog", main)


if __name__ == "__main__":
    sys.exit(start())
