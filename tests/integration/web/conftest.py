"""Fixtures of the tests of the program `web`.

web_database   (session) address of a migrated database with the rows of `support.web.rows`
market         (session) what these rows are
web            (session) a running program on it that needs a login
public_web     (session) a running program on it whose pages need none
tokens         (session) an access token by role, of users of `web`
browser        (session) one Chromium
"""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg2
import pytest
from support.web.browser import require_chromium, running_browser
from support.web.rows import Market, fill
from support.web.server import SECRET, RunningWeb

from recorder.store.database import with_database
from recorder.store.migrate import drop_database, migrate
from recorder.web.access import Role
from recorder.web.security import users
from recorder.web.security.keys import Keys
from recorder.web.security.passwords import Passwords
from recorder.web.security.tokens import Tokens

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PASSWORD = "a password of a test"


@pytest.fixture(scope="session")
def web_database(postgres: str) -> Iterator[str]:
    url = with_database(postgres, f"tapedeck_web_{secrets.token_hex(6)}")
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def market(web_database: str) -> Market:
    return fill(web_database)


@pytest.fixture(scope="session")
def web(web_database: str, market: Market, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    yield from _running(tmp_path_factory.mktemp("web"), web_database)


@pytest.fixture(scope="session")
def public_web(web_database: str, market: Market, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    yield from _running(tmp_path_factory.mktemp("web"), web_database, TAPEDECK__WEB__PUBLIC_READ="true")


def _running(folder: Path, database: str, **variables: str) -> Iterator[RunningWeb]:
    running = RunningWeb(folder / "home", database, **variables)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="session")
def tokens(web_database: str) -> dict[str, str]:
    """Add a user of each role, named as the role, and return access tokens of theirs."""
    hashed = Passwords().make(PASSWORD)
    connection = psycopg2.connect(web_database)
    with connection, connection.cursor() as cursor:
        for role in Role:
            users.add(cursor, role.name, role, hashed)
    connection.close()
    maker = Tokens(Keys(SECRET.encode()).tokens)
    return {role.name: maker.make(role.name, role) for role in Role}


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    require_chromium()
    with running_browser() as found:
        yield found
