"""Fixtures every test may use.

postgres          (session) address of a Postgres as superuser: TEST_DSN when set, else an embedded server
database          address of a fresh, migrated database; dropped afterwards
empty_database    address of a database that does not exist yet; dropped afterwards
database_server   (function) an embedded server of the test's own, started: kill, stop and start it at will
"""

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg2
import pytest
from psycopg2 import sql
from support.database_server import DatabaseServer

from recorder.store.database import database_name, with_database
from recorder.store.migrate import drop_database, migrate

_REASON_LENGTH = 800  # characters


def pytest_configure() -> None:
    """Let programs of tests be interrupted where a script runs them, and let a busy machine fail no example."""
    hypothesis.settings.register_profile("busy", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
    hypothesis.settings.load_profile("busy")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print why each test failed once more at the end, with its seed: a log that was cut shows its end."""
    failed = [*terminalreporter.stats.get("failed", []), *terminalreporter.stats.get("error", [])]
    if failed:
        terminalreporter.section("why they failed")
    for report in failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        reason = report.longreprtext if crash is None else f"{crash.path}:{crash.lineno}: {crash.message}"
        terminalreporter.write_line(f"{report.nodeid}\n    {reason[:_REASON_LENGTH]}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of the database `postgres` of a server where databases may be created."""
    dsn = os.environ.get("TEST_DSN")
    if dsn:
        yield dsn
        return
    with tempfile.TemporaryDirectory(prefix="tapedeck-pg-") as home:
        server = DatabaseServer(Path(home))
        try:
            server.start()
            yield server.url()
        finally:
            server.stop()


@pytest.fixture(scope="session")
def _template(postgres: str) -> Iterator[str]:
    """A migrated database without connections, because copying it is much faster than migrating again."""
    url = with_database(postgres, f"tapedeck_template_{secrets.token_hex(6)}")
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture
def database(postgres: str, _template: str) -> Iterator[str]:
    """Address of a fresh, migrated database."""
    url = with_database(postgres, f"tapedeck_test_{secrets.token_hex(6)}")
    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    with connection.cursor() as cursor:
        names = sql.Identifier(database_name(url)), sql.Identifier(database_name(_template))
        cursor.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
    connection.close()
    yield url
    drop_database(url)


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    """Address of a database that is not there."""
    url = with_database(postgres, f"tapedeck_test_{secrets.token_hex(6)}")
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Path]:
    """The home of an embedded server that was started once and stopped: a copy starts faster than a new one."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-pg-") as folder:
        server = DatabaseServer(Path(folder) / "home")
        try:
            server.start()
        finally:
            server.stop()
        yield server.home


@pytest.fixture
def database_server(tmp_path: Path, _cluster: Path) -> Iterator[DatabaseServer]:
    """An embedded server to be treated badly."""
    server = DatabaseServer(Path(shutil.copytree(_cluster, tmp_path / "home")))
    try:
        server.start()
        yield server
    finally:
        server.stop()
