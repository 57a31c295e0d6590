"""Keep the disk and the tables: partitions, archives, retention."""

import sys

from recorder.keeper.main import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("keeper", main)


if __name__ == "__main__":
    sys.exit(start())
