"""Write column files from the journals."""

import sys

from recorder.columns.main import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("columns", main)


if __name__ == "__main__":
    sys.exit(start())
