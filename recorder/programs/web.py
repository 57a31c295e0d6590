"""Serve the API and the pages."""

import sys

from recorder.process.program import run
from recorder.web.main import main


def start() -> int:
    """Run the program and return its exit status."""
    return run("web", main)


if __name__ == "__main__":
    sys.exit(start())
