"""A Postgres that hangs, so that it refuses nothing and answers nothing, as every page shows it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from support.database_server import DatabaseServer
from support.web.browser import WatchedPage
from support.web.server import RunningWeb
from support.web.stored import StoredRows

from recorder.store.migrate import migrate

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BANNER_S = 7.0  # 3 s for one page; here six pages share a machine with other tests


def test_every_page_says_that_postgres_hangs_and_recovers(
    database_server: DatabaseServer, browser: "Browser", tmp_path: Path
) -> None:
    migrate(database_server.url())
    stored = StoredRows(database_server.url())
    stored.instrument("kraken", "BTC/USD")
    stored.close()
    own = RunningWeb(tmp_path / "web", database_server.url(), TAPEDECK__WEB__PUBLIC_READ="true")
    own.start()
    paths = ("/", "/coverage", "/markets", "/chart/kraken:BTC/USD", "/book/kraken:BTC/USD", "/spreads")
    shown = [WatchedPage(browser, own.url) for _ in paths]
    try:
        pages = [one.open(path) for one, path in zip(shown, paths, strict=True)]
        for page in pages:
            page.locator("#banner-database").wait_for(state="hidden")
        database_server.hang()
        until = time.monotonic() + BANNER_S
        for path, page in zip(paths, pages, strict=True):
            left_ms = max(1.0, 1000 * (until - time.monotonic()))
            page.locator("#banner-database").wait_for(state="visible", timeout=left_ms)
            assert page.locator("#banner-web").is_hidden(), path
        assert own.get("/api/v1/pulse").json["database"] is False
        began = time.monotonic()
        assert own.get("/chart/kraken:BTC/USD").status == 503
        assert time.monotonic() - began < 3, "a request waits behind a server that is known to hang"
        pages[-2].locator("#stale").wait_for(state="visible", timeout=12_000)
        database_server.recover()
        for path, page in zip(paths, pages, strict=True):
            page.locator(".banner:visible").first.wait_for(state="detached", timeout=30_000)
            assert page.locator(".banner:visible").count() == 0, path
    finally:
        database_server.recover()
        for one in shown:
            one.close()
        own.stop()
