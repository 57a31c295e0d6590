"""Pages of the site-wide trades: markets of both versions are kept, combinations and odd rows are not."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.captured_data import CAPTURES, require

from recorder.errors import DecodeError
from recorder.venues.polymarket.polls import trades

NOW_S = 1_796_000_000
NOW_NS = NOW_S * 10**9
SNAKE = {
    "proxyWallet": "proxy_wallet",
    "asset": "token_id",
    "conditionId": "condition_id",
    "transactionHash": "transaction_hash",
    "outcomeIndex": "outcome_index",
}


def row(**changed: Any) -> dict[str, Any]:
    return {
        "proxy_wallet": "0x" + "Ab" * 20,
        "side": "BUY",
        "token_id": "123",
        "condition_id": "0x" + "cd" * 32,
        "size": 2000.5,
        "price": 0.55,
        "timestamp": NOW_S - 3,
        "outcome": "Up",
        "outcome_index": 0,
        "transaction_hash": "0x" + "Ef" * 32,
        "event_slug": "",
    } | changed


def page(*rows: object, cursor: object = None) -> bytes:
    pagination = {"limit": 1000, "offset": 0, "has_more": cursor is not None, "next_cursor": cursor}
    return json.dumps({"data": rows, "pagination": pagination}).encode()


def test_a_row_is_the_takers_fill_in_lower_case() -> None:
    (fill,) = trades.decode(page(row()), NOW_NS).fills
    assert fill == trades.Fill(
        "0x" + "ef" * 32, "123", "0x" + "ab" * 20, "BUY", 2000.5, 0.55, "0x" + "cd" * 32, NOW_NS - 3 * 10**9, "Up", 0
    )
    assert fill.cash == pytest.approx(1100.275)


def test_the_captured_trades_decode_under_the_names_of_version_two() -> None:
    path = require(CAPTURES / "polymarket" / "data_api_trades_b.json")
    rows = [{SNAKE.get(key, key): value for key, value in one.items()} for one in json.loads(path.read_bytes())]
    answer = trades.decode(page(*rows), NOW_NS)
    assert (len(answer.fills), answer.odd) == (50, [])
    assert answer.fills[3].cash == pytest.approx(381.99 * 0.87)


def test_an_unknown_outcome_is_none() -> None:
    (fill,) = trades.decode(page(row(outcome_index=999, outcome="")), NOW_NS).fills
    assert (fill.outcome_index, fill.outcome) == (None, None)


@pytest.mark.parametrize("kind", ["01", "02"])
def test_a_market_of_version_two_is_kept_with_its_padded_id(kind: str) -> None:
    answer = trades.decode(page(row(condition_id=f"0x{kind}" + "ab" * 30)), NOW_NS)
    assert answer.fills[0].condition_id == f"0x{kind}" + "ab" * 30 + "00"


@pytest.mark.parametrize("padding", ["", "00"])
def test_a_combination_of_markets_is_left_out(padding: str) -> None:
    answer = trades.decode(page(row(condition_id="0x03" + "ab" * 30 + padding), row()), NOW_NS)
    assert (len(answer.fills), answer.combinations, answer.odd) == (1, 1, [])


def test_a_hash_of_version_one_that_begins_like_a_combination_is_a_market() -> None:
    answer = trades.decode(page(row(condition_id="0x03" + "ab" * 31)), NOW_NS)
    assert (len(answer.fills), answer.combinations) == (1, 0)


@pytest.mark.parametrize(
    "fault",
    [
        {"proxy_wallet": "0x12"},
        {"transaction_hash": ""},
        {"side": "HOLD"},
        {"token_id": 5e70},
        {"condition_id": "0x" + "ab" * 10},
        {"size": 0},
        {"size": 1e300},
        {"price": 1.01},
        {"price": None},
        {"timestamp": 5},
        {"timestamp": NOW_S + 2 * 86_400},
        {"timestamp": 10**40},
    ],
    ids=str,
)
def test_an_odd_row_costs_itself_only(fault: dict[str, Any]) -> None:
    answer = trades.decode(page(row(), row() | fault, row(), None), NOW_NS)
    assert len(answer.fills) == 2
    assert len(answer.odd) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b'{"data": null}', b'{"data": []}', page(cursor=5), page(cursor="c" * 2049), b"\xff"],
    ids=lambda body: str(body)[:30],
)
def test_a_body_that_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError, match="not a page of trades"):
        trades.decode(body, NOW_NS)


def test_the_walk_ends_where_there_is_no_cursor() -> None:
    assert trades.decode(page(cursor="abc"), NOW_NS).next_cursor == "abc"
    assert trades.decode(page(cursor=None), NOW_NS).next_cursor is None
    assert trades.decode(page(cursor=""), NOW_NS).next_cursor is None


def test_every_page_repeats_the_filters_and_no_walk_repeats_an_address() -> None:
    first, second = trades.path(100, 7), trades.path(100, 7, "a+b/=")
    query = parse_qs(urlsplit(second).query)
    assert query == parse_qs(urlsplit(first).query) | {"cursor": ["a+b/="]}
    assert (query["filter_type"], query["filter_amount"], query["taker_only"]) == (["CASH"], ["100"], ["true"])
    assert first != trades.path(100, 8)
    assert (trades.walk_of(first), trades.walk_of(second)) == (7, 7)


@pytest.mark.parametrize("path", ["/v2/trades", "/v2/trades?_=x", ""])
def test_a_path_of_no_walk_is_refused(path: str) -> None:
    with pytest.raises(DecodeError, match="not the path"):
        trades.walk_of(path)
