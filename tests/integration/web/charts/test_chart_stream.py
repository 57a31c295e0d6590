"""A chart follows by the stream of the page; without the stream it asks, says so, and goes back by itself."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psycopg2
import pytest
from support.web.browser import WatchedPage, wait_for
from support.web.charted import BARS, TAPE, Charted, figures
from support.web.server import RunningWeb

from recorder.web.assets import Assets
from recorder.web.routes.market_pages.charts import SCRIPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, WebSocketRoute

READY = 'html[data-chart-ready="1"]'
PATH = "/chart/kraken:TAPE/USD"

LABEL_PX = 18  # height of the label of the last price

Trade = Callable[[float], None]


@pytest.fixture
def trade(chart_database: str, charted: Charted) -> Iterator[Trade]:
    """Let the forming bar close at a price."""
    if Assets().get(SCRIPT) is None:
        pytest.skip("charts are not installed, because npm's registry could not be reached: make setup")
    connection = psycopg2.connect(chart_database)
    connection.autocommit = True
    start = charted.minute(BARS - 1)

    def write(close: float) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE bar SET close = %s, trade_count = trade_count + 1, updated_at = now() "
                "WHERE instrument_id = %s AND interval_s = 60 AND start = to_timestamp(%s)",
                (close, TAPE, start),
            )

    yield write
    connection.close()


def test_the_stream_brings_the_bars_and_a_killed_program_is_said_and_found_again(
    chart_web: RunningWeb, browser: "Browser", trade: Trade
) -> None:
    opened = WatchedPage(browser, chart_web.url)
    page = opened.open(PATH, ready=READY)
    wait_for(page, "tapedeck.live && tapedeck.live.connected && tapedeck.live.ticks > 1")
    before, began_ms = figures(page), page.evaluate("performance.now()")
    for close in (1010.1, 1010.2, 1010.3, 1010.4):
        trade(close)
        wait_for(page, f"tapedeck.chart.last.close === {close}")
    after, took_ms = figures(page), page.evaluate("performance.now()") - began_ms
    assert after["updates"] - before["updates"] >= 4
    assert after["asks"] - before["asks"] <= took_ms / 5000 + 1, "the server is asked every five seconds only"
    assert page.locator("#banner-live").is_hidden()
    axis = after["axis"]
    shown = [at for at, text in axis["numbers"] if text]
    assert shown, "the price scale has numbers"
    assert min(abs(at - axis["label"]) for at in shown) >= LABEL_PX, "none is half under the label of the last price"
    chart_web.kill()
    page.locator("#banner-live").get_by_text("The chart is stale").wait_for(timeout=5000)
    page.locator("#stale").get_by_text("No answer").wait_for(timeout=5000)
    trade(1010.5)
    chart_web.start()
    wait_for(page, "tapedeck.chart.last.close === 1010.5")
    wait_for(page, "tapedeck.live.connected && document.getElementById('banner-live').hidden")
    trade(1010.6)
    wait_for(page, "tapedeck.chart.last.close === 1010.6")
    opened.close()


def test_without_a_socket_the_chart_asks_once_a_second_and_says_that_it_is_stale(
    chart_web: RunningWeb, browser: "Browser", trade: Trade
) -> None:
    def refuse(socket: "WebSocketRoute") -> None:
        socket.close(code=1013, reason="a test")

    opened = WatchedPage(browser, chart_web.url)
    opened.page.route_web_socket("**/api/v1/stream", refuse)
    page = opened.open(PATH, ready=READY)
    page.locator("#banner-live").get_by_text("it asks once a second until the stream is back").wait_for()
    before = figures(page)["asks"]
    trade(1011.5)
    wait_for(page, f"tapedeck.chart.last.close === 1011.5 && tapedeck.chart.asks >= {before} + 2")
    assert opened.faults == []
    opened.close()
