"""Answers of POST /books: each book by its own token, each odd book at its own cost."""

import json
import random
from typing import Any

import pytest
from support.captured_data import CAPTURES, require

from recorder.errors import DecodeError
from recorder.venues.polymarket.polls import books

NOW_MS = 1_796_000_000_000
NOW_NS = NOW_MS * 10**6
CONDITION = "0x" + "ab" * 32


def level(price: str, size: str) -> dict[str, str]:
    return {"price": price, "size": size}


def wire(token: str = "111", **changed: Any) -> dict[str, Any]:
    return {
        "market": CONDITION,
        "asset_id": token,
        "timestamp": str(NOW_MS),
        "hash": "ff00",
        "bids": [level("0.01", "1000"), level("0.44", "20"), level("0.45", "7.5")],
        "asks": [level("0.99", "900"), level("0.48", "30"), level("0.47", "12")],
        "min_order_size": "5",
        "tick_size": "0.01",
        "neg_risk": False,
        "last_trade_price": "0.46",
    } | changed


def decode(*answer: object) -> books.Books:
    return books.decode(json.dumps(answer).encode(), NOW_NS)


def test_the_best_price_is_the_last_of_the_wire_and_the_first_of_the_value() -> None:
    (book,) = decode(wire()).books
    assert book.bids == [(0.45, 7.5), (0.44, 20.0), (0.01, 1000.0)]
    assert book.asks == [(0.47, 12.0), (0.48, 30.0), (0.99, 900.0)]
    assert (book.token, book.condition_id, book.ts_event_ns, book.hash) == ("111", CONDITION, NOW_NS, "ff00")
    assert (book.tick_size, book.min_size, book.last_trade_price, book.version) == (0.01, 5.0, 0.46, None)


def test_a_side_in_another_order_has_its_best_price_first_nevertheless() -> None:
    sides = wire()
    (book,) = decode(wire(bids=sides["bids"][::-1], asks=sides["asks"][::-1])).books
    assert (book.bids[0], book.asks[0]) == ((0.45, 7.5), (0.47, 12.0))


def test_the_captured_book_decodes() -> None:
    path = require(CAPTURES / "polymarket" / "clob_book_a.json")
    answer = books.decode(b"[" + path.read_bytes() + b"]", NOW_NS)
    assert answer.odd == []
    assert answer.books[0].bids[0] == (0.1, 125.0)
    assert answer.books[0].asks[0] == (0.14, 705.0)
    assert answer.books[0].ts_event_ns == 1_728_799_418_260 * 10**6


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_side_is_a_book_with_one_side(empty: list[object] | None) -> None:
    (book,) = decode(wire(asks=empty)).books
    assert book.bids
    assert book.asks == []


@pytest.mark.parametrize("never", ["", None])
def test_a_token_that_never_traded_has_no_last_price(never: str | None) -> None:
    (book,) = decode(wire(last_trade_price=never)).books
    assert book.last_trade_price is None


def test_version_two_names_itself_and_its_shorter_condition_is_padded() -> None:
    (book,) = decode(wire(version="v2", market="0x01" + "CD" * 30)).books
    assert (book.version, book.condition_id) == ("v2", "0x01" + "cd" * 30 + "00")


def test_shuffled_and_incomplete_answers_belong_to_their_tokens() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    prices = {str(number): f"0.{rng.randrange(10, 99)}" for number in range(100, 350)}
    answered = rng.sample(sorted(prices), 200)
    answer = decode(*(wire(token, bids=[level(prices[token], "1")], asks=[]) for token in answered))
    assert {book.token: book.bids[0][0] for book in answer.books} == {t: float(prices[t]) for t in answered}
    tokens = books.requested(books.request(sorted(prices)))
    assert tokens == sorted(prices)
    assert answer.without(tokens) == sorted(set(prices) - set(answered))


@pytest.mark.parametrize(
    "fault",
    [
        {"asset_id": "1e5"},
        {"asset_id": "9" * 79},
        {"asset_id": None},
        {"timestamp": "0"},
        {"timestamp": str(NOW_MS + 2 * 86_400_000)},
        {"timestamp": "soon"},
        {"timestamp": "9" * 30},
        {"bids": None, "asks": None},
        {"bids": [level("0", "5")]},
        {"bids": [level("1", "5")]},
        {"bids": [level("nan", "5")]},
        {"bids": [level("0.5", "-1")]},
        {"bids": [level("0.5", "inf")]},
        {"bids": [level("0.5", "1e13")]},
        {"bids": [level("0.5", "1"), level("0.50", "2")]},
        {"bids": [{"price": "0.5"}]},
        {"bids": [level("0.5", "1")] * 10_001},
        {"bids": {"price": "0.5"}},
        {"last_trade_price": "1.5"},
        {"last_trade_price": "a lot"},
        {"last_trade_price": True},
        {"last_trade_price": [0.5]},
        {"tick_size": "-0.01"},
        {"min_order_size": "9" * 400},
        {"min_order_size": 10**400},
        {"market": "0xabc"},
    ],
    ids=lambda fault: str(fault)[:50],
)
def test_an_odd_book_costs_itself_only(fault: dict[str, Any]) -> None:
    answer = decode(wire("111"), wire("222") | fault, wire("333"))
    assert [book.token for book in answer.books] == ["111", "333"]
    assert len(answer.odd) == 1
    assert all(len(odd.what) <= 80 and odd.reason for odd in answer.odd)
    # Of the token whose book is odd it is not known that it has none; nor of any token, where it is not named.
    named = fault.get("asset_id", "222") == "222"
    assert answer.without(["111", "222", "333", "444"]) == (["444"] if named else [])


@pytest.mark.parametrize("odd", [None, 5, "text", [], {}])
def test_a_value_that_is_no_book_costs_itself_only(odd: object) -> None:
    answer = decode(wire("111"), odd)
    assert [book.token for book in answer.books] == ["111"]
    assert len(answer.odd) == 1


def test_a_token_that_is_answered_twice_keeps_its_first_book() -> None:
    answer = decode(wire("111", bids=[level("0.4", "1")]), wire("111", bids=[level("0.3", "1")]))
    assert [book.bids for book in answer.books] == [[(0.4, 1.0)]]
    assert [odd.token for odd in answer.odd] == ["111"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"error":"Payload exceeds the limit"}',
        b'[{"asset_id":"1"',
        b"\xff\xfe",
        b"[" * 5000,
    ],
)
def test_an_answer_that_is_no_array_says_nothing(body: bytes) -> None:
    with pytest.raises(DecodeError, match="not an array of books"):
        books.decode(body, NOW_NS)


def test_no_request_names_more_tokens_than_a_chunk() -> None:
    tokens = [str(number) for number in range(1, 702)]
    parts = books.chunks(tokens)
    assert [len(part) for part in parts] == [250, 250, 201]
    assert [token for part in parts for token in part] == tokens
    assert books.chunks([]) == []


def test_the_halves_of_a_failed_chunk_are_the_chunk() -> None:
    assert books.halves(["1", "2", "3"]) == [["1", "2"], ["3"]]
    assert books.halves(["1"]) == [["1"]]


def test_a_request_names_decimal_ids_as_texts() -> None:
    assert books.request(["12", "34"]) == b'[{"token_id":"12"},{"token_id":"34"}]'


@pytest.mark.parametrize("body", [b"", b"{}", b'[{"token_id":5}]', b'[{"token_id":"0x12"}]'])
def test_bytes_that_are_no_request_are_refused(body: bytes) -> None:
    with pytest.raises(DecodeError, match="not a request"):
        books.requested(body)
