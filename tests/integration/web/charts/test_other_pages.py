"""Instruments, markets, spreads and models in a real browser: no fault, hostile names as text, numbers of Postgres."""

from typing import TYPE_CHECKING, Any

import pytest
from support.web.browser import NARROW, WIDE, WatchedPage
from support.web.charted import QUESTION, Charted
from support.web.rows import HOSTILE
from support.web.server import RunningWeb

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.mark.parametrize(
    ("path", "ready", "words"),
    [
        ("/instruments?q=script", "html[data-ready]", [HOSTILE, QUESTION]),
        ("/markets?phase=every", "html[data-ready]", [QUESTION, "no bid", "74.8 ¢", "paid Valley", "1,500"]),
        ("/market/close-above", "html[data-market-ready]", [QUESTION, "no bid", "mirror of the snapshot", "70.0 %"]),
        ("/models", "html[data-ready]", ["rain-1h", "0.0400", "model is better"]),
    ],
)
def test_a_page_shows_its_rows_as_text_wide_and_narrow(
    path: str, ready: str, words: list[str], chart_web: RunningWeb, browser: "Browser"
) -> None:
    for size, dark in ((WIDE, True), (NARROW, False)):
        opened = WatchedPage(browser, chart_web.url, size=size, dark=dark)
        page = opened.open(path, ready=ready)
        text = page.locator("main").inner_text()
        assert [word for word in words if word not in text] == []
        assert not opened.overflows()
        assert opened.faults == []
        opened.close()


def test_a_hostile_instrument_has_pages_of_its_own(chart_web: RunningWeb, browser: "Browser") -> None:
    opened = WatchedPage(browser, chart_web.url)
    page = opened.open("/instruments?q=script")
    page.locator("tr", has_text="kraken").locator("a", has_text="book").click()
    page.locator("html[data-book-ready]").wait_for(state="attached")
    assert HOSTILE in page.locator("h1").inner_text()
    assert "no snapshot" in page.locator("#unknown").inner_text()
    assert opened.faults == []
    opened.close()


def test_prices_have_the_digits_of_the_tick_or_those_that_they_have(chart_web: RunningWeb, browser: "Browser") -> None:
    opened = WatchedPage(browser, chart_web.url)
    page = opened.open("/instruments?q=TAPE")
    cells = page.locator("tr", has_text="coinbase").locator("td.number").all_inner_texts()
    assert cells == ["–", "1,004.00", "1,004.50"], "the tick is 0.01"
    module = (page.locator("script[src*='base.js']").get_attribute("src") or "").replace("base.js", "charts/price.js")
    shown = page.evaluate(
        """async (module) => {
            const { price } = await import(module);
            const own = [1e-5, 1e-8, 77569.1, 3].map((value) => price(value));
            return [price(77569.140000001, 2), ...own, price(null, 2), price(0.5, 2, 1)];
        }""",
        module,
    )
    assert shown == ["77,569.14", "0.00001", "0.00000001", "77,569.1", "3", "–", "0.500"]
    assert opened.faults == []
    opened.close()


def test_the_history_of_a_market_breaks_where_a_side_is_empty(chart_web: RunningWeb, charted: Charted) -> None:
    past = chart_web.get("/data/market/11?hours=6").json["history"]
    assert past["mid"][-1] is None, "the last book has no bid, which is not a bid of 0"
    assert past["ask"][-1] == 0.748
    assert past["mid"][-2] == 0.736


def test_spreads_are_after_fees_and_have_a_history(chart_web: RunningWeb, browser: "Browser") -> None:
    opened = WatchedPage(browser, chart_web.url)
    page = opened.open("/spreads?pair=TAPE-USD", ready="html[data-history-ready][data-spreads-ready]")
    [one] = page.evaluate("tapedeck.spreads.spreads")
    assert (one["buy"]["venue"], one["sell"]["venue"]) == ("kraken", "coinbase")
    expected: Any = (1004.0 * (1 - 1e-4) / (1000.1 * (1 + 2e-4)) - 1) * 1e4
    assert one["net_bps"] == pytest.approx(expected)
    assert page.locator("#spreads tr").count() == 1
    assert page.evaluate("tapedeck.spreads.drawn.points") >= 2
    assert opened.faults == []
    opened.close()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/data/chart/kraken:NONE", 404, "/instruments lists them"),
        ("/data/chart/kraken:TAPE%2FUSD?interval=2m", 422, "1m, 5m, 15m, 1h, 4h, 1d"),
        ("/data/chart/kraken:TAPE%2FUSD?indicators=rsi_15", 422, "rsi_14"),
        ("/data/chart/kraken:TAPE%2FUSD?start=0&end=9000000", 422, "ask for 1 to 5000"),
        ("/data/chart/kraken:TAPE%2FUSD?start=NaN", 422, "finite"),
        ("/data/book/kraken:TAPE%2FUSD?step=0", 422, "greater than 0"),
        ("/market/none", 404, "/markets lists them"),
        ("/markets?after=x", 422, "pattern"),
        ("/data/spreads/history?pair=NONE", 404, "/spreads lists the pairs"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_to_do(
    path: str, status: int, words: str, chart_web: RunningWeb
) -> None:
    answer = chart_web.get(path)
    assert answer.status == status
    assert words in answer.json["detail"]


def test_the_list_of_markets_goes_on_where_the_page_before_ended(chart_web: RunningWeb) -> None:
    text = chart_web.get("/markets?phase=every").body.decode()
    assert text.index("close above 100") < text.index("Rain on Sunday"), "what has ended comes last"
    assert "Rain on Sunday" not in chart_web.get("/markets?tag=bitcoin&ends=1d").body.decode()
