"""The page of a book in a real browser: now, at a past time, and when it is unknown."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from support.web.browser import WatchedPage
from support.web.charted import Charted, touch
from support.web.server import RunningWeb

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATH = "/book/kraken:TAPE/USD"
READY = "html[data-book-ready]"


def test_the_book_of_now_is_that_of_the_messages(
    chart_web: RunningWeb, chart_database: str, charted: Charted, browser: "Browser"
) -> None:
    touch(chart_database)
    opened = WatchedPage(browser, chart_web.url)
    page = opened.open(f"{PATH}?levels=5", ready=READY)
    book: Any = page.evaluate("tapedeck.book")
    # The last snapshot, and the change after it: 999.8 has 1, 1000.1 is gone, 1000.3 is new.
    assert book["bids"] == [[999.9, 2, 2], [999.8, 1, 3], [999, 5, 8]]
    assert book["asks"] == [[1000.2, 4, 4], [1000.3, 0.5, 4.5], [1001.5, 6, 10.5]]
    assert (book["bid"], book["ask"]) == (999.9, 1000.2)
    assert round(book["spread"], 6) == 0.3
    assert book["imbalance"] == (8 - 10.5) / 18.5
    assert len(book["trades"]) == 30
    assert book["trades"][0]["price"] == 1000.4
    cells = page.locator("#ladder tr.bid").first.locator("td").all_inner_texts()
    assert cells == ["999.9", "2", "2"]
    page.locator("#group").select_option("10")  # one quote unit
    page.locator("#ladder tr.bid td.price").first.get_by_text("999.0").wait_for()
    book = page.evaluate("tapedeck.book")
    assert book["bids"] == [[999, 8, 8]]
    assert book["asks"] == [[1001, 4.5, 4.5], [1002, 6, 10.5]]
    assert "group=10" in page.url
    assert opened.faults == []
    opened.close()


def test_a_past_book_is_rebuilt_and_an_unknown_one_is_not_shown(
    chart_web: RunningWeb, chart_database: str, charted: Charted, browser: "Browser"
) -> None:
    opened = WatchedPage(browser, chart_web.url)
    before = (charted.now - timedelta(minutes=45)).timestamp()
    page = opened.open(f"{PATH}?at={before}", ready=READY)
    book: Any = page.evaluate("tapedeck.book")
    assert book["bids"] == [[999.8, 3, 3], [999.7, 1.5, 4.5], [999, 5, 9.5]]
    assert book["trades"][0]["ts_event"] <= before
    within = (charted.now - timedelta(minutes=30)).timestamp()
    page = opened.open(f"{PATH}?at={within}", ready=READY)
    assert page.locator("#known").is_hidden()
    assert f"Book unknown since {charted.book_gap:%Y-%m-%d %H:%M:%S} UTC" in page.locator("#unknown").inner_text()
    touch(chart_database, seconds=60)  # the recorder says nothing of now
    page = opened.open(PATH, ready=READY)
    page.locator("#unknown").wait_for(state="visible")
    assert page.evaluate("tapedeck.book.bids") == []
    assert opened.faults == []
    opened.close()


def test_the_next_question_reads_only_what_came_since(chart_web: RunningWeb, chart_database: str) -> None:
    touch(chart_database)
    first, second = (chart_web.get("/data/book/kraken:TAPE%2FUSD").json["book"] for _ in range(2))
    assert first["bids"] == second["bids"]
    assert second["known"] is True
