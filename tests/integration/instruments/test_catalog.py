"""Listings of the simulated venues: fetched over REST, with the symbols of the stream, and kept on disk."""

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from support.misbehaving_rest import response, rest_server

from recorder.clock import ManualClock, SystemClock
from recorder.errors import RestError, RestInvalidResponse
from recorder.instruments.catalog import Catalog, CatalogFile, fetch_catalog, fetch_listings
from recorder.instruments.patterns import resolve
from recorder.rest.client import RestClient, client_of
from recorder.simulator.build import VENUES as SIMULATED
from recorder.simulator.running import Running, running
from recorder.venues import VENUES
from recorder.venues.base import Listing, Ranked, RestLimits
from recorder.venues.coinbase.stream import Coinbase
from recorder.venues.figure.stream import Figure
from recorder.venues.polymarket.stream import Polymarket

PLENTY = RestLimits(per_s=1000, burst=1000)


@pytest.fixture(params=sorted(SIMULATED))
def simulated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    with running(request.param, truth=tmp_path / "truth.jsonl", rate=0) as served:
        yield served


def fetched(simulated: Running) -> list[Listing]:
    venue = VENUES[simulated.venue.name]()
    client = client_of(venue, simulated.rest_url, "tapedeck-test", threading.Event())
    try:
        return fetch_listings(client, venue)
    finally:
        client.close()


def test_every_symbol_of_the_market_is_listed_by_the_name_its_stream_has(simulated: Running) -> None:
    listings = {listing.symbol: listing for listing in fetched(simulated)}
    assert set(simulated.venue.symbols) <= set(listings)
    for symbol in simulated.venue.symbols:
        assert listings[symbol].base
        assert listings[symbol].quote
    assert any(listings[symbol].trades for symbol in simulated.venue.symbols)


def test_the_busiest_are_found_by_volume(simulated: Running) -> None:
    listings = fetched(simulated)
    wanted = min(2, sum(listing.trades for listing in listings))
    assert len(resolve([f"top:{wanted}"], listings).symbols) == wanted
    assert resolve(["top:1"], listings).symbols[0] in simulated.venue.symbols


def figure_page(page: int, pages: int, *symbols: str) -> bytes:
    rows = [
        {"symbol": symbol, "denom": "n", "quoteDenom": "u", "marketType": "CRYPTO", "status": "OPEN",
         "lastTradedPrice": "0.5", "volume24h": "10.25"}
        for symbol in symbols
    ]  # fmt: skip
    pagination = {"page": page, "size": 50, "totalPages": pages, "totalCount": 3}
    return response(body=msgspec.json.encode({"data": rows, "pagination": pagination}))


def client(url: str) -> RestClient:
    return RestClient("venue", url, PLENTY, "tapedeck-test", threading.Event(), SystemClock(), random.Random(1))


def test_figures_pages_are_read_to_the_last() -> None:
    pages = figure_page(1, 3, "A-USD"), figure_page(2, 3, "B-USD"), figure_page(3, 3, "C-USD", "A-USD")
    with rest_server(*pages) as server:
        listings = fetch_listings(client(server.url), Figure())
    assert [listing.symbol for listing in listings] == ["A-USD", "B-USD", "C-USD"]
    assert [(listing.price, listing.volume) for listing in listings] == [(0.5, 10.25)] * 3
    assert [line.split()[1] for line in server.requests] == [f"/markets?page={n}&size=50" for n in (1, 2, 3)]


def gamma_page(cursor: str | None, token: str) -> bytes:
    market = {
        "slug": f"will-{token}", "outcomes": '["Yes"]', "clobTokenIds": f'["{token}"]', "acceptingOrders": True,
        "orderPriceMinTickSize": 0.01, "orderMinSize": 5, "volume24hr": 7.5,
    }  # fmt: skip
    return response(body=msgspec.json.encode({"markets": [market], "next_cursor": cursor}))


def test_polymarkets_cursor_is_sent_by_the_one_name_that_is_not_ignored() -> None:
    with rest_server(gamma_page("a=/+&b", "1"), gamma_page("c", "2"), gamma_page(None, "3")) as server:
        listings = fetch_listings(client(server.url), Polymarket())
    assert [listing.symbol for listing in listings] == ["1", "2", "3"]
    first = "/markets/keyset?closed=false&limit=100"
    assert [line.split()[1] for line in server.requests] == [
        first, f"{first}&after_cursor=a%3D%2F%2B%26b", f"{first}&after_cursor=c",
    ]  # fmt: skip


def test_a_listing_has_its_canonical_name() -> None:
    with rest_server(PRODUCTS, response("404 Not Found", b"{}")) as server:
        assert [one.canonical for one in fetch_listings(client(server.url), Coinbase())] == ["A-USD"]


def test_a_repeated_cursor_ends_in_an_error_and_not_in_a_loop() -> None:
    with (
        rest_server(gamma_page("a", "1"), gamma_page("b", "2"), gamma_page("a", "3")) as server,
        pytest.raises(RestInvalidResponse, match="page 3 echoes the cursor"),
    ):
        fetch_listings(client(server.url), Polymarket())


PRODUCTS = response(
    body=b'[{"id":"A-USD","base_currency":"A","quote_currency":"USD","quote_increment":"0.01",'
    b'"base_increment":"1","status":"online"}]'
)


def test_a_listing_without_volumes_is_valid() -> None:
    assert isinstance(Coinbase(), Ranked)
    with rest_server(PRODUCTS, response("404 Not Found", b"{}")) as server:
        (listing,) = fetch_listings(client(server.url), Coinbase())
    assert (listing.symbol, listing.volume) == ("A-USD", None)


@pytest.mark.parametrize("body", [b"[]", b'{"message":"maintenance"}', b"null"])
def test_an_empty_list_and_none_at_all_are_errors(body: bytes) -> None:
    """As a listing they would mean that everything was delisted."""
    with rest_server(response(body=body)) as server, pytest.raises(RestInvalidResponse):
        fetch_listings(client(server.url), Coinbase())


def test_the_last_list_is_kept_with_its_time_and_outlives_a_failure(tmp_path: Path) -> None:
    clock = ManualClock()
    with rest_server(PRODUCTS, response(body=b"{}"), response("404 Gone", b"{}")) as server:
        own, file = client(server.url), CatalogFile(tmp_path, "coinbase", server.url)
        catalog = fetch_catalog(own, Coinbase(), file, clock)
        clock.advance(90)
        with pytest.raises(RestError):
            fetch_catalog(own, Coinbase(), file, clock)
        assert file.read() == catalog
        assert catalog.age_s(clock.wall_ns()) == 90.0


def test_a_listing_of_another_endpoint_is_ignored(tmp_path: Path) -> None:
    CatalogFile(tmp_path, "kraken", "http://127.0.0.1:1").write(Catalog("http://127.0.0.1:1", 1, []))
    assert CatalogFile(tmp_path, "kraken", "https://api.kraken.com").read() is None


def test_a_damaged_listing_is_ignored(tmp_path: Path) -> None:
    file = CatalogFile(tmp_path, "kraken", "u")
    assert file.read() is None
    file.write(Catalog("u", 1, []))
    (tmp_path / "listings" / "kraken.json").write_bytes(b'{"source":')
    assert file.read() is None


def test_a_listing_that_cannot_be_kept_is_still_used(tmp_path: Path) -> None:
    (tmp_path / "listings").write_text("a file where the folder should be")
    with rest_server(PRODUCTS, response(body=b"{}")) as server:
        catalog = fetch_catalog(
            client(server.url), Coinbase(), CatalogFile(tmp_path, "coinbase", server.url), ManualClock()
        )
    assert [listing.symbol for listing in catalog.listings] == ["A-USD"]
