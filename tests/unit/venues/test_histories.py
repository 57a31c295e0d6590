"""The histories of venues: paths, decoded pages, cursors, and answers that are none."""

import json

import pytest

from recorder.errors import DecodeError, RestUnavailable
from recorder.venues import VENUES
from recorder.venues.history import PastPage, PastTrade, TradeHistory

MS = 1_772_719_200_123
NS = MS * 10**6


def history(name: str) -> TradeHistory:
    found = VENUES[name].trade_history
    assert isinstance(found, TradeHistory)
    return found


ANSWERS = {
    "coinbase": [
        {"trade_id": 8, "side": "sell", "size": "0.5", "price": "10.25", "time": "2026-03-05T14:00:00.123Z"},
        {"trade_id": 7, "side": "buy", "size": "1.5", "price": "10.5", "time": "2026-03-05T14:00:00.123Z"},
    ],
    "binance": [
        {
            "id": 7,
            "price": "10.5",
            "qty": "1.5",
            "quoteQty": "1",
            "time": MS,
            "isBuyerMaker": True,
            "isBestMatch": True,
        },
        {"id": 8, "price": "10.25", "qty": "0.5", "quoteQty": "1", "time": MS, "isBuyerMaker": False},
    ],
    "kraken": {
        "error": [],
        "result": {
            "XXBTZUSD": [
                ["10.5", "1.5", MS / 1000, "s", "l", "", 7],
                ["10.25", "0.5", MS / 1000, "b", "m", "", 8],
            ],
            "last": str(NS),
        },
    },
    "okx": {
        "code": "0",
        "msg": "",
        "data": [
            {"instId": "A", "side": "buy", "sz": "0.5", "px": "10.25", "tradeId": "8", "ts": str(MS), "source": "0"},
            {"instId": "A", "side": "sell", "sz": "1.5", "px": "10.5", "tradeId": "7", "ts": str(MS), "source": "0"},
        ],
    },
}
FOLLOWING = {"coinbase": 7, "binance": 9, "kraken": NS - 1, "okx": 7}


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_a_page_has_the_side_of_the_taker_and_the_cursor_of_the_next(name: str) -> None:
    page = history(name).decode(json.dumps(ANSWERS[name]).encode())
    assert sorted(page.trades) == [PastTrade(7, NS, 10.5, 1.5, "s"), PastTrade(8, NS, 10.25, 0.5, "b")]
    assert page.following == FOLLOWING[name]


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_page_at_the_cursor_of_a_trade_begins_with_it(name: str) -> None:
    one = history(name)
    cursor = one.cursor_at(8, NS)
    if name == "kraken":
        assert cursor == NS - 10**6, "whether the cursor includes its own time is disputed"
        assert one.path("BTC/USD", cursor) == f"/0/public/Trades?pair=XBTUSD&count=1000&since={cursor}"
    elif one.rising:
        assert cursor == 8
    else:
        assert cursor == 9
    assert str(cursor) in one.path("A/B C", cursor)
    assert " " not in one.path("A/B C", cursor)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_an_empty_page_has_no_next_one(name: str) -> None:
    empty: object = {
        "kraken": {"error": [], "result": {"A": [], "last": str(NS)}},
        "okx": {"code": "0", "data": []},
    }.get(name, [])
    assert history(name).decode(json.dumps(empty).encode()) == PastPage([], None)


@pytest.mark.parametrize("name", sorted(ANSWERS))
@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[1]", b'{"code":"50011"}', b'{"error":["EQuery:Unknown"]}'])
def test_what_is_no_page_is_an_error_of_that_page(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        history(name).decode(body)


@pytest.mark.parametrize("name", sorted(ANSWERS))
@pytest.mark.parametrize(("old", "new"), [("1.5", "0"), ("10.5", "nan"), ("7", "99999999999999999999"), ("1.5", "-1")])
def test_a_value_that_no_table_holds_is_an_error_of_its_page(name: str, old: str, new: str) -> None:
    text = json.dumps(ANSWERS[name]).replace(f'"{old}"', f'"{new}"').replace(f" {old},", f" {new},")
    text = text.replace(f", {old}]", f", {new}]")
    with pytest.raises(DecodeError):
        history(name).decode(text.encode())


def test_kraken_pages_without_ids_cannot_be_used_and_its_rate_limit_asks_to_wait() -> None:
    body = json.dumps(ANSWERS["kraken"]).replace(", 7]", ", 0]")
    with pytest.raises(DecodeError, match="id 0"):
        history("kraken").decode(body.encode())
    with pytest.raises(RestUnavailable):
        history("kraken").decode(b'{"error":["EGeneral:Too many requests"]}')


def test_kraken_pages_without_last_go_on_from_just_before_their_last_row() -> None:
    answer = json.loads(json.dumps(ANSWERS["kraken"]))
    del answer["result"]["last"]
    assert history("kraken").decode(json.dumps(answer).encode()).following == NS - 1001
