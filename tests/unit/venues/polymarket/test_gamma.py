"""Gamma's markets: every captured row, both versions, and what one odd field or row costs."""

import gzip
import json
from collections import Counter
from typing import Any

import pytest
from support.captured_data import CAPTURES, require
from support.venues.polymarket import CONDITION, NO, NOW_NS, YES, gamma_body, gamma_row, market

from recorder.errors import DecodeError
from recorder.venues.polymarket.polls import gamma
from recorder.venues.polymarket.polls.gamma import MarketPage

FOLDER = CAPTURES / "polymarket"


def captured(name: str) -> MarketPage:
    """Return the rows of a captured file."""
    data = require(FOLDER / name).read_bytes()
    if not name.endswith(".gz"):
        return gamma.markets(b"[" + data + b"]", NOW_NS)
    lines = gzip.decompress(data).splitlines()
    if "recorder" in name:
        lines = [json.dumps(json.loads(line)["raw"]).encode() for line in lines]
    return gamma.markets(b"[" + b",".join(lines) + b"]", NOW_NS)


def only(**changes: Any) -> tuple[MarketPage, dict[str, str]]:
    """Return the page of one row, and its odd fields with their reasons."""
    page = gamma.markets(gamma_body(gamma_row(**changes)), NOW_NS)
    return page, {one.what: one.reason for one in page.odd}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("gamma_markets_2026.jsonl.gz", 300),
        ("gamma_markets_closed_2020_era.jsonl.gz", 150),
        ("recorder_btc5m_markets_a.jsonl.gz", 146),
        ("gamma_market_open.json", 1),
        ("gamma_market_closed_resolved_accepting_orders_true.json", 1),
        ("gamma_market_closed_zero_zero.json", 1),
    ],
)
def test_every_captured_row_becomes_a_market_without_an_odd_field(name: str, size: int) -> None:
    page = captured(name)
    assert (page.size, len(page.rows), page.odd) == (size, size, [])
    for market_, *_ in page.rows:
        assert len(market_.condition_id) == 66
        assert market_.tokens == () or len(market_.tokens) == len(market_.outcomes)


def test_captured_events_give_their_markets_and_themselves() -> None:
    page = gamma.events(require(FOLDER / "gamma_event.json").read_bytes(), NOW_NS)
    assert (len(page.rows), page.odd) == (2, [])
    assert {row.market.event_id for row in page.rows} == {30829}
    event = page.rows[0].event
    assert event is not None
    assert event.neg_risk
    assert event.volume == 799823812.487094
    listed = gamma.events(require(FOLDER / "gamma_events_page_a.json").read_bytes(), NOW_NS)
    assert (len(listed.rows), listed.odd) == (10, [])


def test_only_exact_prices_of_a_final_row_are_payouts() -> None:
    payouts = Counter(row.payouts for row in captured("gamma_markets_2026.jsonl.gz").rows)
    assert payouts == {(0, 1_000_000): 175, (1_000_000, 0): 101, None: 24}
    old = captured("gamma_markets_closed_2020_era.jsonl.gz").rows
    assert not any(row.payouts for row in old)  # 0/0 and prices just below 1 are no label
    assert all(row.market.phase == "closed" for row in old)
    assert captured("gamma_market_closed_resolved_accepting_orders_true.json").rows[0].payouts == (1_000_000, 0)


@pytest.mark.parametrize(
    ("changes", "payouts"),
    [
        ({"umaResolutionStatus": "proposed"}, None),
        ({"umaResolutionStatus": "disputed"}, None),
        ({"closed": False, "umaResolutionStatus": "resolved"}, None),
        ({"outcomePrices": '["0", "0"]'}, None),
        ({"outcomePrices": '["0.5", "0.5"]', "umaResolutionStatus": "resolved"}, None),
        ({"outcomePrices": '["0.9999989", "0.0000011"]'}, None),
        ({}, (1_000_000, 0)),
        ({"umaResolutionStatus": "resolved"}, (1_000_000, 0)),
        ({"version": "v2", "positionIds": [YES, NO], "resolutionStatus": "active"}, None),
        ({"version": "v2", "positionIds": [YES, NO], "umaResolutionStatus": "resolved"}, None),
        ({"version": "v2", "positionIds": [YES, NO], "resolutionStatus": "resolved"}, (1_000_000, 0)),
    ],
)
def test_a_row_is_a_source_only_by_the_status_of_its_version(
    changes: dict[str, Any], payouts: tuple[int, int] | None
) -> None:
    page, _ = only(**({"closed": True, "outcomePrices": '["1", "0"]'} | changes))
    assert page.rows[0].payouts == payouts


@pytest.mark.parametrize(
    ("changes", "version", "tokens"),
    [
        ({}, "v1", (YES, NO)),
        ({"version": None}, "v1", (YES, NO)),
        ({"positionIds": ["7", "8"]}, "v1", (YES, NO)),
        ({"version": "v2", "positionIds": ["7", "8"]}, "v2", ("7", "8")),
        ({"version": "v2", "positionIds": '["7", "8"]', "clobTokenIds": None}, "v2", ("7", "8")),
        ({"version": "v2"}, "v2", ()),  # not assigned yet
        ({"version": None, "clobTokenIds": None}, None, ()),
    ],
)
def test_ids_are_those_of_the_version(changes: dict[str, Any], version: str | None, tokens: tuple[str, ...]) -> None:
    found = market(**changes)
    assert (found.version, found.tokens) == (version, tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": "v3"},
        {"version": 2},
        {"version": None, "positionIds": ["7", "8"]},
        {"clobTokenIds": json.dumps([YES])},
        {"clobTokenIds": json.dumps([YES, ""])},
        {"clobTokenIds": json.dumps([YES, YES])},
        {"clobTokenIds": "[1e77, 2]"},
        {"clobTokenIds": json.dumps([YES, "0x12"])},
        {"conditionId": "0x12"},
        {"conditionId": "0x03" + "ab" * 30},
        {"id": "-1"},
        {"id": "9" * 40},
        {"outcomes": '["Yes"]'},
        {"outcomes": "Yes"},
        {"outcomes": json.dumps(["a"] * 65)},
        {"question": None},
        {"slug": 7},
    ],
)
def test_a_row_without_a_certain_identity_costs_itself_and_is_named(changes: dict[str, Any]) -> None:
    page = gamma.markets(gamma_body(gamma_row(**changes), gamma_row(id="2")), NOW_NS)
    assert [row.market.market_id for row in page.rows] == [2]
    assert page.odd


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"endDate": "2026-13-01T00:00:00Z"}, "end_ns"),
        ({"endDate": "9999-12-31T00:00:00Z"}, "end_ns"),
        ({"endDate": 10**400}, "end_ns"),
        ({"gameStartTime": "tomorrow"}, "game_start_ns"),
        ({"orderPriceMinTickSize": 0}, "tick_size"),
        ({"orderPriceMinTickSize": True}, "tick_size"),
        ({"orderMinSize": "five"}, "min_size"),
        ({"acceptingOrders": "yes"}, "accepting_orders"),
        ({"feeSchedule": [1]}, "fee_rate"),
        ({"feeSchedule": {"rate": -1}}, "fee_rate"),
        ({"line": "1e999"}, "line"),
        ({"gameId": {"id": 1}}, "game"),
    ],
)
def test_an_odd_field_costs_that_field(changes: dict[str, Any], field: str) -> None:
    page, odd = only(**changes)
    assert getattr(page.rows[0].market, field) is None
    [name] = odd
    assert name.startswith("1557558 ")


@pytest.mark.parametrize("value", ["", None, "1e400", -1, "abc", [], {}, True, 1e16])
def test_a_volume_that_is_no_volume_is_unknown(value: object) -> None:
    assert only(volumeNum=value)[0].rows[0].market.numbers.volume is None


def test_numbers_are_read_as_numbers_and_as_texts() -> None:
    numbers = market(volumeNum=None, volume="32257.445115", bestBid=0, bestAsk=1).numbers
    assert (numbers.volume, numbers.liquidity, numbers.best_bid, numbers.best_ask) == (32257.445115, 2000.25, 0.0, 1.0)
    assert (numbers.event_volume, numbers.event_open_interest, numbers.received_ns) == (9000.0, 70.0, NOW_NS)
    assert numbers.price == 0.505
    assert market(outcomePrices='["0", "0"]').numbers.price is None


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("2020-11-02 16:31:01+00", 1604334661 * 10**9),
        ("2020-11-02T16:31:01Z", 1604334661 * 10**9),
        ("2020-11-02T16:31:01.25Z", 1604334661 * 10**9 + 250_000_000),
        ("2020-11-02 16:31:01.5+00:00", 1604334661 * 10**9 + 500_000_000),
    ],
)
def test_both_formats_of_a_time_are_read(text: str, time_ns: int) -> None:
    assert market(closedTime=text, endDate=text).closed_ns == time_ns


def test_a_condition_id_of_62_digits_is_padded() -> None:
    assert market(conditionId="0x01" + "AB" * 30).condition_id == "0x01" + "ab" * 30 + "00"
    assert market(conditionId=CONDITION.upper().replace("X", "x")).condition_id == CONDITION


def test_the_first_category_of_the_priority_counts() -> None:
    tags = [{"slug": "crypto"}, {"slug": "Politics"}, {"slug": "all"}, {"label": "no slug"}]
    found = market(tags=tags)
    assert (found.category, found.tags) == ("politics", ("crypto", "Politics", "all"))
    assert market(tags=None, category="US-current-affairs").category == "politics"
    assert market(tags=None, category="Pop-Culture ").category == "culture"
    assert market(tags=[{"slug": "something-new"}]).category == "other"


def test_the_start_of_a_price_window_is_no_game() -> None:
    start = "2026-09-21 18:00:00+00"
    assert market(eventStartTime="2026-09-21T18:00:00Z").game is None
    assert market(gameStartTime=start, tags=[{"slug": "sports"}]).game == "game"
    assert market(gameStartTime=start, sportsMarketType="totals").game == "totals"


def test_an_unknown_status_is_kept_and_named() -> None:
    page, odd = only(umaResolutionStatus="postponed")
    assert (page.rows[0].market.uma_status, page.rows[0].market.phase) == ("postponed", "open")
    assert odd == {"1557558 umaResolutionStatus": "unknown word 'postponed'"}


def test_an_endless_text_is_cut_and_named() -> None:
    page, odd = only(question="?" * 5_000)
    assert len(page.rows[0].market.question) == 1_000
    assert odd == {"1557558 question": "cut at 1000 of 5000 characters"}


def test_an_odd_market_of_an_event_costs_itself() -> None:
    body = json.dumps({"events": [{"id": 7, "markets": [gamma_row(events=None), {"id": "2"}, 5]}]}).encode()
    page = gamma.events(body, NOW_NS)
    assert [row.market.event_id for row in page.rows] == [7]
    assert [one.what for one in page.odd] == ["event 7 markets", "2"]


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"{}", b'{"markets": null}', b'{"markets": 7}', b"[" * 5_000, b'{"markets": [{}' , b"\xff"],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        gamma.markets(body, NOW_NS)


def test_a_page_of_odd_rows_is_a_changed_format() -> None:
    with pytest.raises(DecodeError, match="11 of 11"):
        gamma.markets(gamma_body(*[{"id": str(number)} for number in range(11)]), NOW_NS)
    assert gamma.markets(gamma_body(), NOW_NS).size == 0
    assert gamma.markets(gamma_body(gamma_row(), cursor="abc"), NOW_NS).next_cursor == "abc"


def test_the_second_witness_decides_where_a_row_with_positions_has_no_version() -> None:
    body = gamma_body(gamma_row(version=None, positionIds=["7", "8"]))
    page = gamma.markets(body, NOW_NS)
    assert (page.rows, page.unversioned) == ([], [CONDITION])
    assert gamma.version_of(json.dumps({"c": CONDITION, "v": "v2", "t": []}).encode(), CONDITION) == "v2"
    assert gamma.version_of(json.dumps({"c": CONDITION, "v": "v3"}).encode(), CONDITION) is None
    for version, tokens in (("v1", (YES, NO)), ("v2", ("7", "8"))):
        found = gamma.markets(body, NOW_NS, {CONDITION: version})  # type: ignore[dict-item]
        assert [row.market.tokens for row in found.rows] == [tokens]
        assert (found.odd, found.unversioned) == ([], [])


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"c": 1, "v": "v1"}', b'{"c": "0x12", "v": "v1"}', b"<html>"])
def test_a_witness_about_another_market_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        gamma.version_of(body, CONDITION)
