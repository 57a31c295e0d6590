"""Poll REST services on a schedule."""

import sys

from recorder.poller.main import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("poller", main)


if __name__ == "__main__":
    sys.exit(start())
