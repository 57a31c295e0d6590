"""The last 24 hours of each venue, in quote units whatever the venue counts in, and the pages of lists."""

import json

import pytest

from recorder.errors import DecodeError
from recorder.venues import VENUES
from recorder.venues.base import Day, Paged, Ranked

RANKED = sorted(name for name, venue in VENUES.items() if isinstance(venue(), Ranked))
PAGED = sorted(name for name, venue in VENUES.items() if isinstance(venue(), Paged))


def ranked(name: str) -> Ranked:
    venue = VENUES[name]()
    assert isinstance(venue, Ranked)
    return venue


def paged(name: str) -> Paged:
    venue = VENUES[name]()
    assert isinstance(venue, Paged)
    return venue


@pytest.mark.parametrize(
    ("name", "body", "days"),
    [
        (
            "binance",
            [{"symbol": "AAAUSDT", "openPrice": "1", "lastPrice": "2.5", "volume": "4", "quoteVolume": "9.75"}],
            {"AAAUSDT": Day(2.5, 9.75)},  # the venue sums price by size itself
        ),
        (
            "bitfinex",
            [
                ["tAAAUSD", 1, 2, 3, 4, 5, 6, 2.5, 4, 9, 8],
                ["fUSD", 0.1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
                ["tNEW:USD", None, 0, None, 0, 0, 0, None, 0, None, None],
            ],
            {"tAAAUSD": Day(2.5, 10.0)},
        ),
        (
            "coinbase",
            {
                "AAA-USD": {"stats_30day": {"volume": "99"}, "stats_24hour": {"last": "2.5", "volume": "4"}},
                "NEW-USD": {"stats_24hour": {"open": "1", "last": None}},
                "OLD-USD": {"stats_30day": {"volume": "1"}},
            },
            {"AAA-USD": Day(2.5, 10.0)},
        ),
        (
            "kraken",
            {"error": [], "result": {"XAAAZUSD": {"c": ["2.5", "1"], "v": ["1", "4"], "t": [1, 2]}}},
            {"XAAAZUSD": Day(2.5, 10.0)},
        ),
        (
            "okx",
            {
                "code": "0",
                "msg": "",
                "data": [
                    {"instType": "SPOT", "instId": "AAA-USDT", "last": "2.5", "vol24h": "4", "volCcy24h": "9.75"},
                    {"instType": "SWAP", "instId": "AAA-USD-SWAP", "last": "2.5", "vol24h": "70", "volCcy24h": "4"},
                    {"instType": "SPOT", "instId": "NEW-USDT", "last": "", "vol24h": "0", "volCcy24h": "0"},
                ],
            },
            {"AAA-USDT": Day(2.5, 9.75), "AAA-USD-SWAP": Day(2.5, 10.0)},
        ),
    ],
)
def test_volumes_are_in_quote_units(name: str, body: object, days: dict[str, Day]) -> None:
    assert ranked(name).volumes(json.dumps(body).encode()) == days


def test_every_venue_publishes_volumes_in_its_list_or_apart() -> None:
    assert [name for name in VENUES if name not in RANKED] == ["coinbase_advanced", "figure", "polymarket"]


@pytest.mark.parametrize("name", RANKED)
@pytest.mark.parametrize("body", [b"", b"null", b"{", b"[1]", b'{"message":"NotFound"}', b"<html>", b"[" * 100_000])
def test_anything_but_volumes_is_a_decode_error(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        ranked(name).volumes(body)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("kraken", b'{"error":["EGeneral:Too many requests"]}'),
        ("okx", b'{"code":"50011","msg":"Too Many Requests","data":[]}'),
        ("binance", b'[{"symbol":"A","lastPrice":"nan","quoteVolume":"1"}]'),
        ("bitfinex", b'[["tA",1,2,3,4,5,6,-1,1,1,1]]'),
    ],
)
def test_volumes_that_are_refused_or_absurd_are_a_decode_error(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        ranked(name).volumes(body)


def test_the_next_page_of_figure_follows_the_page_number_in_its_answer() -> None:
    def following(page: int, pages: int) -> str | None:
        body = {"data": [], "pagination": {"page": page, "size": 50, "totalPages": pages, "totalCount": 0}}
        return paged("figure").next_page("/markets?page=1&size=50", json.dumps(body).encode())

    assert following(1, 2) == "/markets?page=2&size=50"
    assert following(2, 2) is None
    assert following(1, 0) is None
    assert paged("figure").next_page("/markets?page=1&size=50", b'{"data":[]}') is None


def test_the_last_page_of_polymarket_has_no_cursor_or_null() -> None:
    path = "/markets/keyset?closed=false&limit=100"
    assert paged("polymarket").next_page(path, b'{"markets":[],"next_cursor":"a&b"}') == f"{path}&after_cursor=a%26b"
    assert paged("polymarket").next_page(f"{path}&after_cursor=x", b'{"markets":[],"next_cursor":"y"}') == (
        f"{path}&after_cursor=y"
    )
    for last in (b'{"markets":[]}', b'{"markets":[],"next_cursor":null}', b'{"markets":[],"next_cursor":""}'):
        assert paged("polymarket").next_page(path, last) is None


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'{"message":"NotFound"}', b"<html>"])
def test_anything_but_a_page_is_a_decode_error(name: str, body: bytes) -> None:
    with pytest.raises(DecodeError):
        paged(name).next_page("/x", body)
