"""Load every journal into Postgres."""

import sys

from recorder.load.main import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("writer", main)


if __name__ == "__main__":
    sys.exit(start())
