"""Monitoring, coverage, jobs and alerts in a real browser: numbers equal to SQL, no fault, and what a fault shows."""

import os
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from support.database_server import DatabaseServer, wait_until_answers
from support.web.browser import NARROW, WIDE, WatchedPage
from support.web.rows import HOSTILE
from support.web.server import RunningWeb
from support.web.stored import StoredRows, hour_before

from recorder.store.migrate import migrate
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import Record
from recorder.watchdog.delivery.marks import read_marks
from recorder.web.queries.coverage import HOUR

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD = "a password of a test"
START = hour_before(datetime.now(UTC), 23)


@pytest.fixture(scope="module")
def filled(rows: StoredRows) -> dict[str, int]:
    """Rows of two instruments, one with a hostile name."""
    ids = {name: rows.instrument("bitfinex", name) for name in ("BTC-USD", HOSTILE)}
    with rows.cursor() as cursor:
        for name in ids:
            cursor.execute(
                "INSERT INTO subscription (venue, symbol, channel) VALUES ('bitfinex', %s, 'trade')", (name,)
            )
        cursor.execute(
            "INSERT INTO poll_run VALUES (1, 'listings', now(), 1, 'failed', 'refused', now(), 1, 0, 0, 0, 3, 0, '{}',"
            " '{}', %s)",
            (f"Traceback: {HOSTILE}",),
        )
    for _ in range(7):
        rows.trade(ids["BTC-USD"], 5)
    for number in range(20):
        rows.certificate(ids["BTC-USD"], "trade", START + number * HOUR, "proved")
    at = START + 20 * HOUR
    ids["gap"] = rows.gap(ids["BTC-USD"], "trade", at, at + timedelta(minutes=6), "unhealable", "sequence")
    ids["open"] = rows.gap(ids[HOSTILE], "trade", datetime.now(UTC) - timedelta(minutes=1))
    return ids


def test_monitoring_shows_what_sql_says_and_every_text_as_text(
    filled: dict[str, int], rows: StoredRows, live_web: RunningWeb, browser: "Browser"
) -> None:
    assert filled
    shown = WatchedPage(browser, live_web.url)
    page = shown.open("/")
    row = page.locator("tr[data-venue=bitfinex]")
    row.wait_for(timeout=15_000)
    with rows.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM trade JOIN instrument USING (instrument_id) WHERE venue = 'bitfinex'"
            " AND ts_event > now() - interval '1 minute'"
        )
        ((trades,),) = cursor.fetchall()
    assert row.locator("[data-is=trades]").inner_text() == str(trades)
    assert row.locator("[data-is=gaps]").inner_text() == "1"
    cells = row.locator("td").all_inner_texts()
    assert cells[1:6] == ["DISCONNECTED", "2", "0", "0", "0"]  # no recorder reports: subscribed and live are 0
    assert "is not running" in page.locator("#verdict").inner_text()
    assert HOSTILE in page.locator("#errors pre").first.text_content()  # type: ignore[operator]
    venues = page.locator("#scroll-venues")
    assert venues.evaluate("one => one.scrollWidth <= one.clientWidth + 1"), "a column of venues is cut at 1280"
    before = page.evaluate("window.tapedeck.refresh[0].refreshes")
    page.locator("#errors summary").first.click()
    _wait(page, f"window.tapedeck.refresh[0].refreshes > {before} + 1")
    assert page.locator("#errors pre").first.is_visible()  # a refresh closes nothing that a person opened
    assert shown.faults == []
    shown.close()


def test_coverage_agrees_with_the_api_and_leads_to_the_gap(
    filled: dict[str, int], live_web: RunningWeb, browser: "Browser"
) -> None:
    passed = (hour_before(datetime.now(UTC), 23) - START) // HOUR  # since the rows were made, where an hour has ended
    answer = live_web.get("/api/v1/coverage/grid?channel=trade&hours=24&venue=bitfinex").json
    (btc,) = [item for item in answer["items"] if item["instrument"] == "bitfinex:BTC-USD"]
    assert btc["cells"] == "c" * (20 - passed) + "g" + "u" * (3 + passed)
    assert btc["missing"][str(20 - passed)] == pytest.approx(0.1, abs=0.001)
    assert btc["instrument_id"] == str(filled["BTC-USD"])
    table = live_web.get("/api/v1/coverage/grid.csv?channel=trade&hours=24&venue=bitfinex").body.decode()
    assert table.count("\n") == 1 + 24 * len(answer["items"])

    shown = WatchedPage(browser, live_web.url)
    page = shown.open("/coverage?channel=trade&hours=24&venue=bitfinex", ready="html[data-coverage]")
    state = page.evaluate("window.tapedeck.coverage")
    assert state["counts"] == answer["counts"]
    assert page.locator("#labels a").all_inner_texts()[0].startswith("bitfinex:")
    number = [item["instrument"] for item in answer["items"]].index("bitfinex:BTC-USD")
    box = page.locator("#cells").bounding_box()
    assert box is not None
    width = box["width"] / 24
    page.mouse.move(box["x"] + (20.5 - passed) * width, box["y"] + 18 * number + 9)
    page.locator("#tip", has_text=f"gap {filled['gap']}: sequence, unhealable").wait_for(timeout=5_000)
    page.mouse.down()
    page.mouse.up()
    page.locator("h1", has_text="bitfinex:BTC-USD trade").wait_for()
    assert page.locator(f"td:text-is('{filled['gap']}')").count() == 1
    assert shown.faults == []
    shown.close()


@pytest.mark.parametrize(("size", "dark"), [(WIDE, True), (NARROW, False)])
def test_every_page_fits_its_window_and_loads_without_fault(
    size: tuple[int, int], dark: bool, filled: dict[str, int], live_web: RunningWeb, browser: "Browser"
) -> None:
    shown = WatchedPage(browser, live_web.url, size=size, dark=dark)
    stream = f"/coverage/{filled[HOSTILE]}"
    for path in ("/", "/?unhealthy=1", "/coverage", stream, "/jobs", "/jobs/listings", "/alerts"):
        page = shown.open(path)
        assert not shown.overflows(), path
        assert page.locator("main").inner_text().strip()
    assert shown.faults == []
    shown.close()


def test_pages_are_readable_without_a_script(filled: dict[str, int], live_web: RunningWeb, browser: "Browser") -> None:
    shown = WatchedPage(browser, live_web.url, scripts=False)
    for path, text in (("/", "bitfinex"), ("/jobs/listings", "refused"), ("/alerts", "venue_no_data")):
        assert text in shown.open(path, ready="main").locator("main").inner_text()
    page = shown.open(f"/coverage/{filled['BTC-USD']}?hour={(START + 20 * HOUR).isoformat().replace('+', '%2B')}",
                      ready="main")  # fmt: skip
    assert "sequence" in page.locator("main").inner_text()
    shown.close()


def test_an_analyst_acknowledges_and_silences_and_a_viewer_cannot(web: RunningWeb, tokens: dict[str, str],
                                                                  browser: "Browser") -> None:  # fmt: skip
    now = time.time()
    alert = Alert(4_611_686_018_427_387_905, "disk_filling", "", "ticket", "firing", HOSTILE, 91.0, now, now, None, 1)
    folder = web.home / "watchdog"
    folder.mkdir(exist_ok=True)
    (folder / "alerts.json").write_bytes(msgspec.json.encode([Record(alert)]))
    refused = web.ask("POST", "/alerts/acknowledge", b"alert_id=1", tokens["viewer"],
                      {"content-type": "application/x-www-form-urlencoded"})  # fmt: skip
    assert refused.status == 403
    foreign = web.form("/alerts/acknowledge", {"alert_id": "1"}, origin="https://evil.example", cookie="tapedeck=x")
    assert foreign.status == 403

    shown = WatchedPage(browser, web.url)
    shown.log_in("analyst", PASSWORD)
    page = shown.open("/alerts")
    one = page.locator(f"li[data-alert='{alert.alert_id}']")
    assert HOSTILE in one.inner_text()
    one.locator("input[name=note]").fill("seen by a test")
    one.locator("button", has_text="Acknowledge").click()
    page.locator("li", has_text="acknowledged (seen by a test)").wait_for()
    one.locator("form[action='/alerts/silence'] button").click()
    page.locator("button", has_text="End it").wait_for()
    marks = read_marks(web.home)
    assert [(ack.alert_id, ack.note) for ack in marks.acks] == [(alert.alert_id, "seen by a test")]
    assert [(mark.rule, round(mark.until - mark.made_at)) for mark in marks.silences] == [("disk_filling", 1800)]
    page.locator("button", has_text="End it").click()
    page.locator("button", has_text="End it").wait_for(state="detached")
    assert read_marks(web.home).silences == ()
    assert shown.faults == []
    shown.close()


def test_pages_say_that_postgres_is_away_and_recover(
    database_server: DatabaseServer, browser: "Browser", tmp_path: Path
) -> None:
    migrate(database_server.url())
    own = RunningWeb(tmp_path / "web", database_server.url(), TAPEDECK__WEB__PUBLIC_READ="true")
    own.start()
    shown = WatchedPage(browser, own.url)
    try:
        page = shown.open("/")
        page.locator("#venues .stamp", has_text="ago").wait_for(timeout=20_000)
        database_server.kill()
        page.locator("#banner-database").wait_for(state="visible", timeout=7_000)
        page.locator("#streams .state", has_text="shown as of").wait_for(timeout=20_000)
        assert page.locator("#venues").is_visible()
        database_server.start()
        wait_until_answers(database_server.url())
        page.locator("#banner-database").wait_for(state="hidden", timeout=20_000)
        page.locator("#streams .state").wait_for(state="detached", timeout=20_000)
    finally:
        shown.close()
        own.stop()


def test_the_live_connection_draws_says_when_it_is_stale_and_comes_back(
    rows: StoredRows, live_web: RunningWeb, browser: "Browser"
) -> None:
    one = rows.instrument("bitfinex", "LIVE-JS")
    rows.quote(one, 1, 2)
    shown = WatchedPage(browser, live_web.url)
    page = shown.open("/jobs")
    module = re.sub(r"base\.js$", "live.js", page.locator("script[src*='base.js']").get_attribute("src") or "")
    page.evaluate(
        """async (module) => {
            const { LiveStream } = await import(module);
            window.drawn = [];
            new LiveStream([{ kind: "quote", instrument: "bitfinex:LIVE-JS" }], (items) => window.drawn.push(...items));
        }""",
        module,
    )
    _wait(page, "window.drawn.some((item) => item.bid === 1)")
    rows.quote(one, 3, 4)
    _wait(page, "window.drawn.at(-1).bid === 3")
    page.evaluate("Object.defineProperty(document, 'hidden', { configurable: true, get: () => true })")
    draws = page.evaluate("window.tapedeck.live.draws")
    ticks = page.evaluate("window.tapedeck.live.ticks")
    rows.quote(one, 5, 6)
    _wait(page, f"window.tapedeck.live.ticks > {ticks} + 1")
    assert page.evaluate("window.tapedeck.live.draws") == draws  # a hidden page draws nothing
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    _wait(page, "window.drawn.at(-1).bid === 5")
    os.kill(live_web.pid, signal.SIGSTOP)
    try:
        page.locator("#banner-live").wait_for(state="visible", timeout=3_200)
    finally:
        os.kill(live_web.pid, signal.SIGCONT)
    page.locator("#banner-live").wait_for(state="hidden", timeout=20_000)
    rows.quote(one, 7, 8)
    _wait(page, "window.drawn.at(-1).bid === 7")
    shown.close()


def _wait(page: "Page", condition: str, within_s: float = 15.0) -> None:
    """Return once an expression is true in the page; wait_for_function fails under its CSP."""
    until = time.monotonic() + within_s
    while not page.evaluate(condition):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(50)
