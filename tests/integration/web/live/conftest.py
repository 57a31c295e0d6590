"""Fixtures of the tests of the stream, monitoring, coverage, jobs and alerts.

live_database   (session) address of a migrated database of these tests alone, since they write while others read
live_web        (session) a running program on it whose pages need no login
rows            (session) writes rows into that database
"""

import secrets
from collections.abc import Iterator

import pytest
from support.web.server import RunningWeb
from support.web.stored import StoredRows

from recorder.store.database import with_database
from recorder.store.migrate import drop_database, migrate


@pytest.fixture(scope="session")
def live_database(postgres: str) -> Iterator[str]:
    url = with_database(postgres, f"tapedeck_live_{secrets.token_hex(6)}")
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def live_web(live_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    running = RunningWeb(tmp_path_factory.mktemp("live") / "home", live_database, TAPEDECK__WEB__PUBLIC_READ="true")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def rows(live_database: str) -> Iterator[StoredRows]:
    stored = StoredRows(live_database)
    yield stored
    stored.close()
