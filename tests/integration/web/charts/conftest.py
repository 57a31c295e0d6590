"""Fixtures of the tests of charts, books and markets.

chart_database   (session) address of a migrated database with the rows of `support.web.charted`
charted          (session) what these rows are
chart_web        (session) a running program on it whose pages need no login; kraken's fee is 2 bp, coinbase's 1 bp
"""

import secrets
from collections.abc import Iterator

import pytest
from support.web.charted import Charted, fill
from support.web.server import RunningWeb

from recorder.store.database import with_database
from recorder.store.migrate import drop_database, migrate


@pytest.fixture(scope="session")
def chart_database(postgres: str) -> Iterator[str]:
    url = with_database(postgres, f"tapedeck_chart_{secrets.token_hex(6)}")
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="session")
def charted(chart_database: str) -> Charted:
    return fill(chart_database)


@pytest.fixture(scope="session")
def chart_web(chart_database: str, charted: Charted, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningWeb]:
    running = RunningWeb(
        tmp_path_factory.mktemp("web") / "home",
        chart_database,
        TAPEDECK__WEB__PUBLIC_READ="true",
        TAPEDECK__WEB__FEES_BPS='{"kraken": 2, "coinbase": 1}',
        TAPEDECK__WEB__FRESH_S="3600",
    )
    try:
        running.start()
        yield running
    finally:
        running.stop()
