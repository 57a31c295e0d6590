"""Copies of the checkout."""

import shutil
from pathlib import Path

from support.database_server import ROOT

_MADE = shutil.ignore_patterns(
    ".git", ".venv*", "var", "build", "dist", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".env"
)


def copy_checkout(target: Path) -> Path:
    """Copy the files of this checkout, without what a command made in it."""
    shutil.copytree(ROOT, target, symlinks=True, ignore=_MADE)
    return target
