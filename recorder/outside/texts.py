"""Bounded reading, and how values are shown."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

MOST_BYTES = 1 << 20  # of one file


def printable(text: str) -> str:
    """Return words of others as one line without control characters, as recorder/printable.py does."""
    line = " ".join(part.strip() for part in text.splitlines())
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in line)


def read(path: Path) -> str:
    """Return the text of a file of bounded size. A pipe in its place is never waited for.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(file, MOST_BYTES).decode("utf-8", "replace")
    finally:
        os.close(file)


def number(value: object) -> float:
    """Return a number from a file of another program; 0 for everything else."""
    return float(value) if isinstance(value, (int, float)) and abs(value) < 1e18 else 0.0


def duration(seconds: float) -> str:
    """Return a time as text."""
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def size(count: float) -> str:
    """Return a number of bytes as text."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def when(seconds: float) -> str:
    """Return an instant as text."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def table(value: object) -> dict[str, Any]:
    """Return a table of a file of another program; an empty one for everything else."""
    return value if isinstance(value, dict) else {}
