"""The data sets of real captures, which are too large for the repository.

`TAPEDECK_DATA` names their folder. Where a set is absent, a test that needs it is skipped; in CI it fails.
"""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TAPEDECK_DATA", ROOT / "../shared/data"))
CAPTURES = DATA / "captures"
"""Frames that venues sent, in one folder per venue."""


def require(path: Path) -> Path:
    """Return a path of a data set. Where it is absent, skip the test; in CI (environment CI=true), fail it.

    Call it in a test or in a fixture, not while tests are collected.
    """
    if not path.exists():
        reason = f"no captured data: {path} is absent (set TAPEDECK_DATA)"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
