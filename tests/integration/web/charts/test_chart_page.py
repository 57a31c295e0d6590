"""The page of a chart in a real browser, against rows in Postgres."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest
from support.web.browser import NARROW, WatchedPage, wait_for
from support.web.charted import BARS, HOLE, PARTIAL, QUIET, TAPE, Charted, figures
from support.web.server import RunningWeb

from recorder.web.assets import Assets
from recorder.web.routes.market_pages.charts import SCRIPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser

READY = 'html[data-chart-ready="1"]'
PATH = "/chart/kraken:TAPE/USD"
MINUTE = 60


@pytest.fixture
def opened(chart_web: RunningWeb, browser: "Browser") -> Iterator[WatchedPage]:
    if Assets().get(SCRIPT) is None:
        pytest.skip("charts are not installed, because npm's registry could not be reached: make setup")
    shown = WatchedPage(browser, chart_web.url)
    yield shown
    assert shown.faults == []
    shown.close()


def read(url: str, query: str, *values: object) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    with connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


def test_bars_gaps_and_indicators_are_those_of_postgres(
    opened: WatchedPage, chart_database: str, charted: Charted
) -> None:
    page = opened.open(f"{PATH}?ind=sma,rsi", ready=READY)
    shown = figures(page)
    rows = read(
        chart_database,
        "SELECT extract(epoch FROM start)::bigint, open, high, low, close, trade_count, complete FROM bar "
        "WHERE instrument_id = %s AND interval_s = 60 AND start >= to_timestamp(%s) ORDER BY start",
        TAPE,
        shown["low"],
    )
    assert shown["bars"] == len(rows)
    time, *prices, trades, complete = rows[-1]
    assert [shown["last"][name] for name in ("time", "open", "high", "low", "close")] == [time, *prices]
    assert (shown["last"]["trades"], shown["last"]["complete"]) == (trades, complete)
    assert complete is False, "the forming bar is shown"
    slot = (charted.minute(HOLE.start) - shown["low"]) // MINUTE
    assert shown["hatched"] == [[slot, slot + len(HOLE) - 1, False], [slot + len(HOLE), slot + len(HOLE), True]]
    assert shown["partial"] == 1
    assert shown["panes"] == ["price", "volume", "rsi"]
    query = "SELECT extract(epoch FROM start)::bigint, {} FROM indicator WHERE instrument_id = %s AND interval_s = 60"
    for name in ("sma_20", "rsi_14"):
        stored = dict(read(chart_database, query.format(name), TAPE))
        drawn = dict(shown["values"][name])
        assert drawn == {start: stored[start] for start in drawn}
        assert len(drawn) == shown["bars"] - 1, "all but the forming bar"
    page.evaluate(f"tapedeck.hover({charted.minute(PARTIAL)})")
    assert "coverage 50.0 %" in page.locator("#legend").inner_text()
    page.evaluate(f"tapedeck.hover({charted.minute(HOLE.start)})")
    assert "in a gap" in page.locator("#legend").inner_text()
    page.evaluate(f"tapedeck.hover({charted.minute(QUIET.start)})")
    assert "no trade in this slot" in page.locator("#legend").inner_text()


def test_zoom_survives_history_a_revised_bar_a_new_candle_and_another_timeframe(
    opened: WatchedPage, chart_database: str, charted: Charted
) -> None:
    page = opened.open(PATH, ready=READY)
    before = figures(page)
    low = charted.minute(2_600)
    page.evaluate(f"tapedeck.show({{from: ({low} - {before['low']}) / 60, to: ({low} - {before['low']}) / 60 + 80}})")
    wait_for(page, f"tapedeck.chart.low < {before['low']} - 500 * 60 || tapedeck.chart.low < {low} - 200 * 60")
    assert figures(page)["shown"][0] == low, "the same bar is at the left, although older ones were loaded"

    def insert(minute: int, close: float) -> None:
        read(
            chart_database,
            "INSERT INTO bar (instrument_id, interval_s, start, open, high, low, close, volume, notional, vwap, "
            "trade_count, buy_volume, sell_volume, coverage, in_gap, complete, revision, updated_at) "
            "VALUES (%s, 60, to_timestamp(%s), 1000, 1100, 900, %s, 1, 1000, 1000, 3, 1, 0, 1, false, false, 1, now()) "
            "ON CONFLICT (instrument_id, interval_s, start) DO UPDATE SET close = EXCLUDED.close, "
            "revision = bar.revision + 1, updated_at = now()",
            TAPE,
            charted.minute(minute),
            close,
        )

    try:
        insert(2_650, 1_055.5)
        insert(BARS, 1_077.5)
        wait_for(
            page, f"tapedeck.bar({charted.minute(BARS)}) && tapedeck.bar({charted.minute(2_650)}).close === 1055.5"
        )
        after = figures(page)
        assert after["shown"][0] == low
        assert after["range"]["to"] - after["range"]["from"] == pytest.approx(80, abs=0.01)
        assert after["last"]["close"] == 1_077.5
    finally:
        read(
            chart_database,
            "DELETE FROM bar WHERE instrument_id = %s AND start = to_timestamp(%s)",
            TAPE,
            charted.minute(BARS),
        )
    page.locator("[data-interval-name='5m']").click()
    wait_for(page, "document.documentElement.dataset.chartReady === '1' && tapedeck.chart.interval === '5m'")
    five = figures(page)
    assert five["shown"][0] <= low
    assert five["shown"][1] >= low + 80 * MINUTE - 300
    assert five["shown"][1] - five["shown"][0] <= 30 * 300
    wait_for(page, "location.search.includes('interval=5m') && location.search.includes('from=')")
    again = opened.open(page.url.removeprefix(page.evaluate("location.origin")), ready=READY)
    assert figures(again)["shown"] == pytest.approx(five["shown"], abs=600), "a link shows the same time"


def test_it_works_by_keyboard_in_a_narrow_window_and_links_to_a_csv(
    chart_web: RunningWeb, browser: "Browser", chart_database: str
) -> None:
    if Assets().get(SCRIPT) is None:
        pytest.skip("charts are not installed, because npm's registry could not be reached: make setup")
    opened = WatchedPage(browser, chart_web.url, size=NARROW, dark=False)
    page = opened.open(f"{PATH}?interval=1h", ready=READY)
    page.locator("#type").select_option("heikin-ashi")
    page.locator("#preset").select_option("momentum")
    wait_for(page, "tapedeck.chart.panes.length === 5 && document.documentElement.dataset.chartReady === '1'")
    assert figures(page)["type"] == "heikin-ashi"
    page.locator("#chart").focus()
    wide = figures(page)["range"]
    page.keyboard.press("+")
    near = figures(page)["range"]
    assert near["to"] - near["from"] < wide["to"] - wide["from"]
    wait_for(page, "location.search.includes('ind=rsi')")
    link = page.locator("#csv").get_attribute("href")
    assert link is not None
    lines = chart_web.get(link).body.decode().splitlines()
    assert lines[0].startswith("start,open,high,low,close,volume")
    [(close,)] = read(
        chart_database, "SELECT close FROM bar WHERE instrument_id = %s AND interval_s = 3600 AND start = %s",
        TAPE, lines[1].split(",")[0],
    )  # fmt: skip
    assert float(lines[1].split(",")[4]) == close
    assert not opened.overflows()
    assert opened.faults == []
    opened.close()


def test_a_page_without_the_script_says_what_to_do(chart_web: RunningWeb, browser: "Browser") -> None:
    opened = WatchedPage(browser, chart_web.url)
    opened.page.route("**/chart/*", lambda route: route.fulfill(
        response=(answer := route.fetch()), body=answer.text().replace('data-installed="1"', 'data-installed="0"')
    ))  # fmt: skip
    page = opened.open("/chart/kraken:TAPE%2FUSD", ready='html[data-chart-ready="not installed"]')
    assert page.locator("#note").inner_text() == "charts are not installed: make setup"
    assert opened.faults == []
    opened.close()
