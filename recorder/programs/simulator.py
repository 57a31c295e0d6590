"""Serve simulated venues on loopback."""

import sys

from recorder.process.program import run
from recorder.simulator.main import main


def start() -> int:
    """Run the program and return its exit status."""
    return run("simulator", main)


if __name__ == "__main__":
    sys.exit(start())
