"""Run the embedded Postgres in the foreground; the first start creates it."""

import sys

from recorder.appliance.embedded_postgres import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("postgres", main)


if __name__ == "__main__":
    sys.exit(start())
