"""The table browser: what the reader may read, in order, linked, and never by a name that is not in the catalog."""

from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import psycopg2
import pytest
from support.web.browser import NARROW, WatchedPage
from support.web.rows import BTC, HOSTILE, TRADES, Market
from support.web.server import RunningWeb
from support.workers.bars import rows

from recorder.web.browser import catalog
from recorder.web.browser.compose import Question

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_tables_are_those_that_the_reader_may_read(public_web: RunningWeb) -> None:
    names = {item["name"] for item in public_web.get("/api/v1/tables").json["items"]}
    assert {"trade", "quote", "gap", "trade_named"} <= names
    assert not {"app_user", "app_session", "audit_log"} & names
    assert public_web.get("/api/v1/tables/app_user").status == 404
    assert public_web.get("/api/database/tables").json["items"] == public_web.get("/api/v1/tables").json["items"]


def test_pages_of_a_table_hold_each_row_once(public_web: RunningWeb) -> None:
    ids: list[str] = []
    after = ""
    while True:
        query = urlencode({"limit": 500, "start": "-3h", **({"after": after} if after else {})})
        page = public_web.get(f"/api/v1/tables/trade?{query}").json
        ids += [item["trade_id"] for item in page["items"]]
        after = page["next"] or ""
        if not after:
            break
    assert len(ids) == len(set(ids)) == TRADES


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["price = 100", f"instrument_id = {BTC}"], 43),
        (["price in 100,101"], 86),
        (["price >= 116"], 42),
        (["venue_trade_id null"], TRADES),
        (["venue_trade_id null no"], 0),
    ],
)
def test_filters_are_those_of_sql(filters: list[str], count: int, public_web: RunningWeb, market: Market) -> None:
    query = urlencode({"filter": filters, "start": "-3h", "limit": 1000}, doseq=True)
    assert len(public_web.get(f"/api/v1/tables/trade?{query}").json["items"]) == count


@pytest.mark.parametrize(
    "query",
    [
        {"filter": 'price"; DROP TABLE trade; -- = 1'},
        {"filter": "price = 1); DROP TABLE trade; --"},
        {"filter": "price = '"},
        {"filter": "no_such = 1"},
        {"filter": "bids > 1"},
        {"sort": "price; DROP TABLE trade"},
        {"filter": "price like 1"},
        {"after": "x"},
    ],
)
def test_a_hostile_name_or_value_is_a_problem_and_changes_nothing(
    query: dict[str, str], public_web: RunningWeb
) -> None:
    answer = public_web.get(f"/api/v1/tables/trade?{urlencode(query)}")
    assert answer.status in (400, 422), answer.body
    assert public_web.get("/api/v1/tables/trade?start=-3h").json["items"]
    for name in ('trade"; DROP TABLE trade; --', "pg_authid", "pg_catalog.pg_authid"):
        assert public_web.get(f"/api/v1/tables/{quote(name)}").status == 404
    assert public_web.get("/api/v1/tables/trade%00").status == 422


def test_a_row_has_a_page_and_csv_and_json_say_what_is_shown(public_web: RunningWeb) -> None:
    assert f"instrument_id={BTC}" in public_web.get("/tables/trade?start=-3h&limit=1").body.decode()
    page = public_web.get(f"/tables/instrument/row?instrument_id={BTC}").body.decode()
    assert "kraken" in page
    assert public_web.get("/tables/instrument/row?instrument_id=1").status == 404
    assert public_web.get("/tables/trade.csv?start=-3h&limit=3").body.count(b"\r\n") == 4
    assert len(public_web.get("/tables/trade.json?start=-3h&limit=3").json["items"]) == 3
    facets = public_web.get("/tables/trade?start=-3h&facet=aggressor").body.decode()
    assert f"{TRADES // 2}" in facets


def test_a_hostile_symbol_is_text_on_every_page_of_tables(public_web: RunningWeb, browser: "Browser") -> None:
    shown = WatchedPage(browser, public_web.url)
    dialogs: list[str] = []
    shown.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page = shown.open("/tables/instrument?" + urlencode({"filter": "symbol contains script"}))
    assert HOSTILE in page.locator("#rows").inner_text()
    page.get_by_role("link", name="row", exact=True).first.click()
    page.wait_for_url("**/row?*")
    assert HOSTILE in page.locator("main").inner_text()
    shown.open("/tables/quarantine")
    assert (dialogs, shown.faults) == ([], [])
    shown.close()


def test_a_table_is_usable_without_scripts_and_on_a_phone(public_web: RunningWeb, browser: "Browser") -> None:
    plain = WatchedPage(browser, public_web.url, scripts=False)
    page = plain.open("/tables/trade?start=-3h&limit=5", ready="#rows")
    assert page.locator("#rows tbody tr").count() == 5
    page.get_by_role("link", name="Next").click()
    assert page.locator("#rows tbody tr").count() == 5
    plain.close()
    narrow = WatchedPage(browser, public_web.url, size=NARROW)
    for path in ("/tables", "/tables/trade?start=-3h", f"/tables/instrument/row?instrument_id={BTC}"):
        narrow.open(path)
        assert not narrow.overflows(), path
    assert narrow.faults == []
    narrow.close()


def test_an_export_holds_all_rows_and_needs_an_analyst(
    web: RunningWeb, tokens: dict[str, str], market: Market, web_database: str
) -> None:
    span = {"instrument": "kraken:BTC/USD", "start": market.start.isoformat(), "end": market.end.isoformat()}
    path = f"/api/v1/export/trades?{urlencode(span)}"
    assert web.get(path, tokens["viewer"]).status == 403
    assert web.get(path, tokens["analyst"]).status == 409  # a gap is in the range
    answer = web.get(f"{path}&on_gap=ignore", tokens["analyst"])
    lines = answer.body.decode().splitlines()
    assert (answer.status, len(lines), lines[0].split(",")[0]) == (200, TRADES + 1, "trade_id")
    assert '"rows' not in answer.headers["tapedeck-manifest"]
    assert web.get(f"{path}&on_gap=ignore&format=ndjson", tokens["analyst"]).body.count(b"\n") == TRADES
    assert web.get(f"{path}&on_gap=ignore&format=parquet", tokens["analyst"]).status in (200, 501)
    audit = web.get("/api/v1/audit?name=analyst", tokens["admin"]).json["items"]
    assert any(item["action"] == "export" and "kraken:BTC/USD" in item["object"] for item in audit)


@pytest.fixture
def gaps_with_nulls(web_database: str, market: Market) -> Iterator[set[str]]:
    """Gaps of which every third has not ended; the ids of all gaps."""
    rows(
        web_database,
        "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision)"
        " SELECT n, %s, 'quote', 'disconnect', 'unhealable', %s,"
        " CASE WHEN n %% 3 > 0 THEN %s + n / 4 * interval '1 second' END, 1 FROM generate_series(1, 60) AS n",
        (BTC, market.start, market.start),
    )
    yield {str(gap_id) for (gap_id,) in rows(web_database, "SELECT gap_id FROM gap")}
    rows(web_database, "DELETE FROM gap WHERE gap_id <= 60")


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["ended_at", "first_id", "reason", "state"])
def test_pages_hold_each_row_once_where_the_sort_has_nulls(
    sort: str, order: str, public_web: RunningWeb, gaps_with_nulls: set[str]
) -> None:
    found: list[dict[str, object]] = []
    after: dict[str, str] = {}
    while True:
        query = urlencode({"sort": sort, "order": order, "limit": 7, **after})
        page = public_web.get(f"/api/v1/tables/gap?{query}").json
        found += page["items"]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert len(found) == len(gaps_with_nulls)
    assert {item["gap_id"] for item in found} == gaps_with_nulls
    nulls = [item[sort] is None for item in found]
    assert nulls == sorted(nulls, reverse=order == "desc")
    assert page["note"] == ""


def test_a_view_that_has_more_rows_says_so(public_web: RunningWeb) -> None:
    page = public_web.get("/api/v1/tables/trade_named?limit=50").json
    assert (len(page["items"]), page["next"]) == (50, None)
    assert "more rows than these 50 exist: it has no key to page by; filter, or set limit" in page["note"]
    assert "more rows than these 50 exist" in public_web.get("/tables/trade_named?limit=50").body.decode()


@pytest.mark.parametrize(
    ("table", "sort", "why"),
    [
        ("book", "bids", "values of double precision[] have no order here"),
        ("quarantine", "sample", "values of bytea have no order here"),
        ("trade_named", "price", "it is a view, in the order of its own; filter it instead"),
    ],
)
def test_a_sort_that_cannot_be_paged_is_refused_with_a_sentence(
    table: str, sort: str, why: str, public_web: RunningWeb
) -> None:
    answer = public_web.get(f"/api/v1/tables/{table}?sort={sort}&limit=1")
    assert (answer.status, answer.json["detail"]) == (422, f"{table} cannot be sorted by {sort}: {why}")


def test_every_table_with_pages_has_an_order_that_is_total(web_database: str) -> None:
    connection = psycopg2.connect(web_database)
    with connection.cursor() as cursor:
        found = [catalog.table(cursor, one.name) for one in catalog.tables(cursor) if one.schema == "public"]
    connection.close()
    assert [one.name for one in found if Question().order(one) and not one.key] == []
