"""The common name of a pair, from the lists of the venues."""

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
from support.captured_data import CAPTURES, require

from recorder.venues import VENUES, venue_class
from recorder.venues.base import Listing
from recorder.venues.canonical import called, canonical, meant


def names(venue: str, body: object) -> dict[str, str | None]:
    """Return the canonical names by symbol."""
    kind = venue_class(venue)()
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return {one.symbol: canonical(one, kind.asset_name) for one in kind.listings(raw)}


def listed(symbol: str, name: str | None, kind: str = "spot", *, trades: bool = True) -> Listing:
    return Listing(symbol, "", "", kind, None, None, "", trades=trades, canonical=name)


def test_kraken_has_the_modern_names_of_bitcoin_and_dogecoin() -> None:
    pairs = {"XXBTZUSD": "XBT/USD", "XDGUSD": "XDG/USD", "ETHXBT": "ETH/XBT", "DOTUSDT": "DOT/USDT"}
    rows = {key: {"wsname": name, "status": "online"} for key, name in pairs.items()}
    assert names("kraken", {"error": [], "result": rows}) == {
        "BTC/USD": "BTC-USD", "DOGE/USD": "DOGE-USD", "ETH/BTC": "ETH-BTC", "DOT/USDT": "DOT-USDT",
    }  # fmt: skip


def test_bitfinex_has_codes_of_its_own_and_its_perpetuals_share_the_name_of_the_pair() -> None:
    pairs = ("BTCUSD", "BTCUST", "BTCF0:USTF0", "DOGE:USD", "DSHBTC", "UDCUSD", "TESTBTC:TESTUSD", "ETHEUT")
    assert names("bitfinex", [[[name, [None] * 5] for name in pairs]]) == {
        "tBTCUSD": "BTC-USD", "tBTCUST": "BTC-USDT", "tBTCF0:USTF0": "BTC-USDT", "tDOGE:USD": "DOGE-USD",
        "tDSHBTC": "DASH-BTC", "tUDCUSD": "USDC-USD", "tTESTBTC:TESTUSD": "TESTBTC-TESTUSD", "tETHEUT": "ETH-EURT",
    }  # fmt: skip


def test_binance_writes_no_separator_and_names_base_and_quote() -> None:
    rows = [
        {"symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "filters": []},
        {"symbol": "1000SATSFDUSD", "status": "BREAK", "baseAsset": "1000SATS", "quoteAsset": "FDUSD", "filters": []},
    ]
    assert names("binance", {"symbols": rows}) == {"BTCUSDT": "BTC-USDT", "1000SATSFDUSD": "1000SATS-FDUSD"}


def test_derivatives_of_okx_have_the_name_of_what_they_track_and_options_have_none() -> None:
    rows = [
        {"instId": "BTC-USDT", "instType": "SPOT", "state": "live", "baseCcy": "BTC", "quoteCcy": "USDT"},
        {"instId": "BTC-USDT-SWAP", "instType": "SWAP", "state": "live", "uly": "BTC-USDT"},
        {"instId": "BTC-USD-261225", "instType": "FUTURES", "state": "live", "uly": "BTC-USD"},
        {"instId": "BTC-USD-261225-90000-C", "instType": "OPTION", "state": "live", "uly": "BTC-USD"},
    ]
    assert names("okx", {"code": "0", "msg": "", "data": rows}) == {
        "BTC-USDT": "BTC-USDT", "BTC-USDT-SWAP": "BTC-USDT", "BTC-USD-261225": "BTC-USD",
        "BTC-USD-261225-90000-C": None,
    }  # fmt: skip


def test_figure_is_named_by_what_it_shows_and_not_by_the_unit_it_settles_in() -> None:
    row = {"denom": "nhash", "quoteDenom": "uusd.trading", "marketType": "CRYPTO", "status": "OPEN"}
    rows = [{"symbol": "HASH-USD", **row}, {"symbol": "pm.sale", **row}]
    assert names("figure", {"data": rows}) == {"HASH-USD": "HASH-USD", "pm.sale": None}


def test_a_coinbase_product_keeps_its_name() -> None:
    row = {"base_currency": "BTC", "quote_currency": "USD", "quote_increment": "1", "base_increment": "1"}
    assert names("coinbase", [{"id": "BTC-USD", "status": "online", **row}]) == {"BTC-USD": "BTC-USD"}


def test_an_outcome_has_none() -> None:
    market = {"slug": "will-it", "outcomes": '["Yes","No"]', "clobTokenIds": '["71","72"]'}
    assert names("polymarket", {"markets": [market]}) == {"71": None, "72": None}


@pytest.mark.parametrize("asset", ["", " ", "A B", "A-B", "A/B", "A:B", "A\0", "\ud800", "A\n", "x" * 41])
def test_what_is_no_asset_gives_no_name(asset: str) -> None:
    assert canonical(Listing("s", asset, "USD", "spot", None, None, ""), lambda name: name) is None
    assert canonical(Listing("s", "BTC", asset, "spot", None, None, ""), lambda name: name) is None


def test_a_name_in_another_script_is_a_name() -> None:
    assert canonical(Listing("s", "币安人生", "USDT", "spot", None, None, ""), lambda name: name) == "币安人生-USDT"


@pytest.mark.parametrize("venue", sorted(VENUES))
def test_no_common_name_is_a_code_of_another_asset(venue: str) -> None:
    """Translating a name a second time would turn it into another asset, except where the venue swapped two names."""
    assets = venue_class(venue).assets
    assert {name for name in assets.values() if assets.get(name, name) != name} <= {"LUNA"}


def raw_answers(path: Path) -> list[bytes]:
    return [json.loads(line)["raw"].encode() for line in require(path).read_text().splitlines()]


def test_every_captured_spot_instrument_of_okx_is_its_own_name() -> None:
    found = [names("okx", body) for body in raw_answers(CAPTURES / "okx/rest_instruments_spot_20220513.rest.jsonl")]
    together = {symbol: name for one in found for symbol, name in one.items()}
    assert len(together) == 12
    assert all(symbol == name for symbol, name in together.items())


def test_captured_products_of_coinbase_advanced_have_names_and_each_spot_name_is_unique() -> None:
    path = CAPTURES / "coinbase/advanced_trade_20260809_a.rest.jsonl"
    kind = venue_class("coinbase_advanced")()
    listings = [one for body in raw_answers(path) if b'"products"' in body for one in kind.listings(body)]
    spot = Counter(canonical(one, kind.asset_name) for one in listings if one.kind == "spot")
    assert len(listings) == 8
    assert None not in spot
    assert max(spot.values()) == 1
    assert all(canonical(one, kind.asset_name) == one.symbol for one in listings if one.kind == "spot")


def test_no_captured_market_of_polymarket_has_a_name() -> None:
    lines = gzip.decompress(require(CAPTURES / "polymarket/gamma_markets_2026.jsonl.gz").read_bytes()).splitlines()
    found = names("polymarket", b'{"markets":[%s]}' % b",".join(lines))
    assert len(found) > 10
    assert set(found.values()) == {None}


def test_a_name_finds_what_trades_and_else_what_does_not() -> None:
    old, new = listed("OLD", "BTC-USD", trades=False), listed("NEW", "BTC-USD")
    assert called("BTC-USD", [old, new, listed("OTHER", "ETH-USD")]) == [new]
    assert called("BTC-USD", [old]) == [old]
    assert called("BTC/USD", [old, new]) == []


@pytest.mark.parametrize("text", ["XBT/USD", "XBT-USD", "XBTUSD", "xbtusd", "BTCUSD", "btc-usd", "BTC:USD"])
def test_old_codes_and_other_separators_are_understood(text: str) -> None:
    listings = [listed("BTC/USD", "BTC-USD"), listed("ETH/USD", "ETH-USD"), listed("77", None, "outcome")]
    assert [one.symbol for one in meant(text, listings, {"XBT": "BTC", "XDG": "DOGE"})] == ["BTC/USD"]


def test_an_old_code_may_be_the_quote() -> None:
    listings = [listed("ETH/BTC", "ETH-BTC"), listed("tBTCUST", "BTC-USDT")]
    assert [one.symbol for one in meant("ETH/XBT", listings, {"XBT": "BTC"})] == ["ETH/BTC"]
    assert [one.symbol for one in meant("BTCUST", listings, {"UST": "USDT"})] == ["tBTCUST"]
