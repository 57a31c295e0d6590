"""Serve notebooks/ with JupyterLab on loopback, behind a token."""

import sys

from recorder.appliance.jupyter import main
from recorder.process.program import run


def start() -> int:
    """Run the program and return its exit status."""
    return run("jupyter", main)


if __name__ == "__main__":
    sys.exit(start())
