"""Tables and drawings fit their window: nothing is cut, and what can be pressed can be reached."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from support.web.browser import NARROW, WIDE, WatchedPage
from support.web.server import RunningWeb

from ..conftest import PASSWORD

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def _cut(page: "Page") -> int:
    """Return how many tables are wider than the room they have."""
    return int(
        page.evaluate(
            "[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
        )
    )


def _keep(shown: WatchedPage, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        shown.screenshot(Path(folder) / f"{name}.png")


def test_markets_cut_no_column_at_1280(chart_web: RunningWeb, browser: "Browser") -> None:
    shown = WatchedPage(browser, chart_web.url, size=WIDE)
    page = shown.open("/markets?phase=every")
    _keep(shown, "markets")
    assert _cut(page) == 0
    shown.close()


def test_the_buttons_of_users_can_be_reached_on_a_telephone(
    web: RunningWeb, tokens: dict[str, str], browser: "Browser"
) -> None:
    assert tokens
    shown = WatchedPage(browser, web.url, size=NARROW)
    shown.log_in("admin", PASSWORD)
    page = shown.open("/users")
    _keep(shown, "users")
    assert _cut(page) == 0
    assert not shown.overflows()
    shown.close()


def test_the_axis_of_spreads_names_each_time_once_and_cuts_no_value(chart_web: RunningWeb, browser: "Browser") -> None:
    for size in (WIDE, NARROW):
        shown = WatchedPage(browser, chart_web.url, size=size)
        page = shown.open("/spreads?pair=TAPE-USD", ready="html[data-history-ready][data-spreads-ready]")
        drawn = page.evaluate("tapedeck.spreads.drawn")
        assert len(set(drawn["labels"])) == len(drawn["labels"])
        widest = page.evaluate(
            """(values) => {
                const pen = document.createElement("canvas").getContext("2d");
                pen.font = "12px system-ui, sans-serif";
                return Math.max(...values.map((value) => pen.measureText(`${value.toFixed(1)} bp`).width));
            }""",
            [drawn["low"], drawn["high"]],
        )
        assert 6 + widest <= drawn["right"], "a value ends beyond the edge"
        _keep(shown, f"spreads-{size[0]}")
        shown.close()
