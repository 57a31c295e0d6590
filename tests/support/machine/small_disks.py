"""Small file systems for tests; only root may mount them, so other users skip with the reason."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(arguments: list[str], target: Path) -> Iterator[Path]:
    """Mount a file system at a new folder, or skip the test; it is unmounted at the end."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    target.mkdir()
    done = subprocess.run(["mount", *arguments, str(target)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield target
    finally:
        subprocess.run(["umount", "-l", str(target)], check=True)
