"""Pages in a real browser: no console error, no violation of the CSP, no request to elsewhere."""

from typing import TYPE_CHECKING

import pytest
from support.web.browser import NARROW, WIDE, WatchedPage
from support.web.server import RunningWeb

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
