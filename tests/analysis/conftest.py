"""Tests of `analysis`. Without its extra they are skipped, with a reason: the recorder's own do not wait for it."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

MISSING = [name for name in ("numpy", "talib", "polars", "duckdb", "skfolio") if importlib.util.find_spec(name) is None]


class _Absent(pytest.Module):
    """A test file that cannot be imported here."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip(f"needs the analysis extra ({', '.join(MISSING)}): make test-analysis", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip what lies in this folder when a package of the extra is missing."""
    return _Absent.from_parent(parent, path=module_path) if MISSING else None
