"""Fixtures for the tests of `analysis`, which are skipped when a package of the analysis extra is missing.

stored     a tape in a database of the test's own (stored.py), a copy: change it at will
archive    the same tape exported to Parquet, a copy
"""

import importlib.util
import secrets
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import sql

from recorder.store.database import database_name, with_database
from recorder.store.migrate import drop_database, migrate

if TYPE_CHECKING:
    from support.analysis.stored_tape import Stored

NEEDED = (
    "numpy",
    "talib",
    "polars",
    "duckdb",
    "skfolio",
    "pyarrow",
    "adbc_driver_postgresql",
    "xgboost",
    "optuna",
    "distributed",
    "jinja2",
    "matplotlib",
    "jupytext",
    "nbclient",
    "ipykernel",
)
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]


class _Absent(pytest.Module):
    """A test file whose imports are missing here."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip(f"needs the analysis extra ({', '.join(MISSING)}): make test-analysis", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip the tests of this folder when a package of the extra is missing."""
    return _Absent.from_parent(parent, path=module_path) if MISSING else None


@pytest.fixture(scope="session")
def _filled(postgres: str) -> Iterator[str]:
    """Return a filled database without connections; copying it is faster than filling another one."""
    from support.analysis.stored_tape import Stored, fill

    url = with_database(postgres, f"tapedeck_filled_{secrets.token_hex(6)}")
    migrate(url)
    fill(Stored(url))
    yield url
    drop_database(url)


@pytest.fixture
def stored(postgres: str, _filled: str) -> "Iterator[Stored]":
    """Return a recording in a database of its own."""
    from support.analysis.stored_tape import Stored

    url = with_database(postgres, f"tapedeck_test_{secrets.token_hex(6)}")
    with closing(psycopg2.connect(postgres)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        names = sql.Identifier(database_name(url)), sql.Identifier(database_name(_filled))
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    yield Stored(url)
    drop_database(url)


@pytest.fixture(scope="session")
def _exported(_filled: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.analysis.stored_tape import DAYS, LATER

    from analysis.export import export
    from analysis.load import PostgresSource

    root = tmp_path_factory.mktemp("exported")
    for venue in ("kraken", "okx"):
        export(PostgresSource(_filled), root, venue, DAYS, now=LATER)
    return root


@pytest.fixture
def archive(_exported: Path, tmp_path: Path) -> Path:
    """Return the same recording as an archive."""
    return Path(shutil.copytree(_exported, tmp_path / "archive"))
