"""Pages in a real browser: no console error, no violation of the CSP, no request to elsewhere."""

from typing import TYPE_CHECKING

import pytest
from support.web.browser import NARROW, WIDE, WatchedPage
from support.web.server import RunningWeb

from recorder.store.database import with_database
from recorder.web.answers.problems import KINDS

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.mark.parametrize("path", ["/login", "/docs", "/docs/problems"])
def test_a_page_loads_without_fault_and_without_the_internet(
    path: str, public_web: RunningWeb, browser: "Browser"
) -> None:
    ready = "body[data-ready]" if path == "/docs" else "html[data-ready]"
    shown = WatchedPage(browser, public_web.url)
    shown.open(path, ready=ready)
    assert shown.faults == []
    shown.close()


@pytest.mark.parametrize(("size", "dark"), [(WIDE, True), (NARROW, False)])
def test_a_page_fits_its_window_in_both_themes(
    size: tuple[int, int], dark: bool, public_web: RunningWeb, browser: "Browser"
) -> None:
    shown = WatchedPage(browser, public_web.url, size=size, dark=dark)
    page = shown.open("/login")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(16, 22, 29)" if dark else "rgb(255, 255, 255)")
    assert not shown.overflows()
    page.keyboard.press("Escape")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    assert shown.faults == []
    shown.close()


def test_the_type_of_a_problem_leads_to_its_line_also_without_a_login(
    web: RunningWeb, public_web: RunningWeb, browser: "Browser"
) -> None:
    refused = web.get("/api/v1/instruments")
    assert (refused.status, refused.json["type"]) == (401, "/docs/problems#unauthorized")
    for answer, running in (
        (refused, web),
        (public_web.get("/api/v1/instruments/none"), public_web),
        (public_web.get("/api/v1/trades?instrument=kraken:BTC/USD&start=x"), public_web),
        (public_web.post("/api/v1/trades"), public_web),
    ):
        shown = WatchedPage(browser, running.url)
        address, _, anchor = answer.json["type"].partition("#")
        page = shown.open(answer.json["type"])
        assert page.locator(f"tr[id='{anchor}']").count() == 1, address
        assert page.locator("tbody tr").count() == len(KINDS)
        assert shown.faults == []
        shown.close()


def test_a_page_says_that_the_program_is_gone_and_recovers(
    web_database: str, browser: "Browser", tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = RunningWeb(tmp_path_factory.mktemp("web") / "home", web_database, TAPEDECK__WEB__PUBLIC_READ="true")
    own.start()
    shown = WatchedPage(browser, own.url)
    page = shown.open("/login")
    assert page.locator("#banner-web").is_hidden()
    own.kill()
    page.locator("#banner-web").wait_for(state="visible", timeout=7_000)
    own.start()
    page.locator("#banner-web").wait_for(state="hidden", timeout=5_000)
    own.stop()
    shown.close()


def test_what_was_never_read_is_not_called_complete_or_empty(
    web_database: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = RunningWeb(
        tmp_path_factory.mktemp("web") / "home",
        with_database(web_database, "tapedeck_absent"),
        TAPEDECK__WEB__PUBLIC_READ="true",
    )
    own.start()
    try:
        text = own.get("/?part=live").body.decode()
        assert text.count("not known yet") >= 4
        for claim in ("no poll in the last hour", "no snapshot of a market", ">none<", "streams are live"):
            assert claim not in text
        assert "streams not known, trades not known" in text
        health = own.get("/api/monitoring/subscription-health").json
        assert (health["live"], health["stale"], health["panel"]["as_of"]) == (None, None, None)
        assert "not known: the watchdog does not report" in own.get("/alerts").body.decode()
        assert own.get("/api/v1/trades?instrument=kraken:BTC/USD").json["type"] == "/docs/problems#database-away"
    finally:
        own.stop()
