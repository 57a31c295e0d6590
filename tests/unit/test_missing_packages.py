"""`analysis` without its extra: one sentence names the package and the command that installs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_EXTRA = ("pandas", "polars", "xgboost", "optuna", "matplotlib", "dask", "duckdb", "skfolio", "sklearn", "jinja2")
_DERIVE = ("numpy", "pyarrow", "polars", "adbc_driver_postgresql", "adbc_driver_manager", "talib")
_SCRIPT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not installed
try:
    {statement}
except ImportError as error:
    print(type(error).__name__, error)
"""
_RANGE = '"2026-03-05", "2026-03-06"'


def said(statement: str, missing: tuple[str, ...]) -> str:
    """Run a statement where packages are missing, and return the error."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(missing=missing, statement=statement)],
        capture_output=True, text=True, timeout=60, check=True, cwd=ROOT,
        env={**os.environ, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/never_asked"},
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("to", "call"),
    [
        ("pandas", 'trades("kraken", "BTC/USD", {range}, to="pandas")'),
        ("polars", 'bars("kraken", "BTC/USD", "1m", {range}, to="polars")'),
        ("pandas", "part(None)"),
    ],
)
def test_a_form_whose_library_is_missing_is_refused_before_the_database_is_asked(to: str, call: str) -> None:
    # polars reads archives, so that the loaders cannot be imported without it; here it goes missing afterwards
    statement = f"from analysis import load; sys.modules[{to!r}] = None; load.{call.format(range=_RANGE)}"
    assert said(statement, ()) == (
        f'PackageMissing to="{to}" needs the package {to}, which is not installed: run `make analysis`'
    )


@pytest.mark.parametrize(
    ("statement", "missing", "needs"),
    [
        ("from analysis import load", _DERIVE, "analysis.load needs the package"),
        ("from analysis.models import cluster", _EXTRA, "analysis.models needs the package"),
        ("from analysis.evaluation import evaluate", _EXTRA, "needs the package"),
        ("from analysis.plots import tape", _EXTRA, "analysis.plots needs the package matplotlib"),
    ],
)
def test_a_part_of_analysis_names_the_package_it_lacks(statement: str, missing: tuple[str, ...], needs: str) -> None:
    sentence = said(statement, missing)
    assert sentence.startswith("PackageMissing "), sentence
    assert needs in sentence
    assert sentence.endswith("which is not installed: run `make analysis`")


def test_a_fault_of_our_own_imports_is_not_called_a_missing_package() -> None:
    statement = (
        "from analysis.errors import extra_packages\n    with extra_packages():\n        import analysis.no_such"
    )
    assert said(statement, ()) == "ModuleNotFoundError No module named 'analysis.no_such'"
