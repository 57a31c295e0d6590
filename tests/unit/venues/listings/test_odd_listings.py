"""One odd row of a list of instruments costs that row, is named, and never refuses the list."""

import json
from typing import Any

import pytest

from recorder.errors import DecodeError
from recorder.venues import venue_class
from recorder.venues.base import ListingPage

FILTERS: list[object] = []
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "binance": (
        {"symbol": "AUSDT", "status": "TRADING", "baseAsset": "A", "quoteAsset": "USDT", "filters": FILTERS}, "AUSDT",
    ),
    "coinbase": (
        {"id": "A-USD", "base_currency": "A", "quote_currency": "USD", "quote_increment": "1", "base_increment": "1",
         "status": "online"}, "A-USD",
    ),
    "coinbase_advanced": (
        {"product_id": "A-USD", "base_currency_id": "A", "quote_currency_id": "USD", "product_type": "SPOT",
         "status": "online"}, "A-USD",
    ),
    "figure": (
        {"symbol": "A-USD", "denom": "a", "quoteDenom": "usd", "marketType": "CRYPTO", "status": "OPEN"}, "A-USD",
    ),
    "okx": ({"instId": "A-USD", "instType": "SPOT", "state": "live", "baseCcy": "A", "quoteCcy": "USD"}, "A-USD"),
    "polymarket": ({"slug": "a", "outcomes": '["Yes","No"]', "clobTokenIds": '["71","72"]'}, "71"),
}  # fmt: skip
WRAPPED = {
    "binance": "symbols", "coinbase_advanced": "products", "figure": "data", "okx": "data", "polymarket": "markets",
}  # fmt: skip


def body(name: str, rows: list[object]) -> bytes:
    if name == "bitfinex":
        return json.dumps([rows]).encode()
    key = WRAPPED.get(name)
    return json.dumps(rows if key is None else {key: rows, "code": "0", "msg": ""}).encode()


def page_of(name: str, answer: bytes) -> ListingPage:
    page = venue_class(name)().listings(answer)
    assert isinstance(page, ListingPage)
    return page


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("odd", [None, 7, [], {}, "text"])
def test_an_odd_row_costs_itself(name: str, odd: object) -> None:
    row, symbol = ROWS[name]
    page = page_of(name, body(name, [row, odd, row]))
    assert {listing.symbol for listing in page} >= {symbol}
    assert len(page.odd) == 1


@pytest.mark.parametrize("name", ROWS)
def test_a_null_field_costs_its_row_which_is_named(name: str) -> None:
    row, symbol = ROWS[name]
    key = next(key for key in row if row[key] not in ("a", symbol) and isinstance(row[key], str))
    page = page_of(name, body(name, [row, row | {key: 7}]))
    assert len(page.odd) == 1
    assert page.odd[0].startswith(("A", "a"))


@pytest.mark.parametrize("name", ROWS)
def test_a_list_of_which_most_is_odd_is_refused(name: str) -> None:
    with pytest.raises(DecodeError, match="2 of 3 rows"):
        page_of(name, body(name, [ROWS[name][0], None, 7]))


def test_an_odd_pair_of_kraken_costs_itself_and_the_others_keep_their_names() -> None:
    pair = {"wsname": "XBT/USD", "status": "online"}
    answer = {"error": [], "result": {"XODD": {"wsname": 7}, "XXBTZUSD": pair, "XOTHER": pair}}
    page = page_of("kraken", json.dumps(answer).encode())
    assert [(listing.symbol, listing.rest_symbol) for listing in page] == [
        ("BTC/USD", "XXBTZUSD"), ("BTC/USD", "XOTHER"),
    ]  # fmt: skip
    assert len(page.odd) == 1


def test_an_odd_pair_of_bitfinex_costs_itself() -> None:
    page = page_of("bitfinex", body("bitfinex", [["AAAUSD", []], ["A", []], ["BBBUSD", []]]))
    assert [listing.symbol for listing in page] == ["tAAAUSD", "tBBBUSD"]
    assert len(page.odd) == 1


YES_NO = {"slug": "a", "outcomes": '["Yes","No"]'}
POSITIONS = ["1" * 75, "2" * 75]


@pytest.mark.parametrize(
    ("market", "tokens", "odd"),
    [
        ({"clobTokenIds": '["71","72"]'}, ["71", "72"], 0),
        ({"version": "v1", "clobTokenIds": '["71","72"]', "positionIds": POSITIONS}, ["71", "72"], 0),
        ({"version": "v2", "clobTokenIds": None, "positionIds": POSITIONS}, POSITIONS, 0),
        ({"version": "v2", "clobTokenIds": '["71","72"]', "positionIds": json.dumps(POSITIONS)}, POSITIONS, 0),
        ({"version": "v2", "clobTokenIds": '["71","72"]', "positionIds": None}, [], 0),
        ({"clobTokenIds": '["71","72"]', "positionIds": POSITIONS}, [], 1),
        ({"version": "v3", "clobTokenIds": '["71","72"]'}, [], 1),
        ({"clobTokenIds": '["",""]'}, [], 0),
        ({"clobTokenIds": '["71",""]'}, [], 1),
        ({"clobTokenIds": '["71"]'}, [], 1),
        ({"clobTokenIds": "soon"}, [], 1),
    ],
)
def test_a_market_of_polymarket_is_traded_under_the_ids_of_its_version(
    market: dict[str, object], tokens: list[str], odd: int
) -> None:
    usual = {"slug": "b", "outcomes": '["Up","Down"]', "clobTokenIds": '["81","82"]'}
    page = page_of("polymarket", body("polymarket", [usual, YES_NO | market]))
    assert [listing.symbol for listing in page] == ["81", "82", *tokens]
    assert len(page.odd) == odd
