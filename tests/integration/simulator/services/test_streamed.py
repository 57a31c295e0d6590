"""The services show the markets of the simulated stream: the same tokens, books and trades as its websocket."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import client as client_of
from support.simulator.services import ServiceClient, ids_of

from recorder.simulator.running import Running, running
from recorder.simulator.services.polymarket.feed import Feed
from recorder.simulator.services.polymarket.streamed import Stream
from recorder.simulator.services.polymarket.world import World
from recorder.simulator.services.running import RunningServices, running_services
from recorder.simulator.venues.polymarket.polled import PolledMarkets
from recorder.simulator.venues.polymarket.stream import Polymarket, demo_tokens
from recorder.truth import BookItem, ServedTrade, TradeItem, read_truth

TOKENS = demo_tokens()


@pytest.fixture
def venue(tmp_path: Path) -> Iterator[Running]:
    with running("polymarket", truth=tmp_path / "truth.jsonl", rate=100.0) as venue:
        yield venue


@pytest.fixture
def services(venue: Running, tmp_path: Path) -> Iterator[RunningServices]:
    assert isinstance(venue.venue, Polymarket)
    stream = Stream(venue.venue, venue.server, int(time.time()))
    with running_services(["gamma", "clob", "data"], stream=stream, folder=tmp_path) as services:
        yield services


@pytest.fixture
def client(services: RunningServices) -> Iterator[ServiceClient]:
    client = ServiceClient(services)
    yield client
    client.close()


def test_gamma_and_clob_have_the_tokens_of_the_stream(client: ServiceClient) -> None:
    listed = {token for row in client.markets(limit=100) for token in ids_of(row)}
    assert set(TOKENS) <= listed
    found = client.get("gamma", "/markets/keyset", clob_token_ids=TOKENS[:4]).json()["markets"]
    assert sorted(token for row in found for token in ids_of(row)) == sorted(TOKENS[:4])
    assert sorted(row["asset_id"] for row in client.books(TOKENS)) == sorted(TOKENS)


def test_books_are_those_of_the_stream(venue: Running, client: ServiceClient) -> None:
    assert isinstance(venue.venue, Polymarket)
    venue.do("rate", per_s=0.0)  # without clients the market stands still
    markets = venue.server.call(lambda: [(one.tokens[0], one.touch(one.tokens[0])) for one in venue.venue.markets])  # type: ignore[attr-defined]
    books = {row["asset_id"]: row for row in client.books([token for token, _ in markets])}
    for token, (bid, ask) in markets:
        if token in books:
            best = books[token]["bids"][-1]["price"], books[token]["asks"][-1]["price"]
            assert tuple(round(float(price) * 10_000) for price in best) == (bid, ask)


def test_trades_are_those_of_the_stream(
    venue: Running, services: RunningServices, client: ServiceClient, tmp_path: Path
) -> None:
    rows = client.get("data", "/v2/trades", limit=1000).json()["data"]
    mine = {(row["transaction_hash"], row["token_id"], row["price"], row["size"]) for row in rows
            if row["token_id"] in TOKENS}  # fmt: skip
    assert len(mine) > 50
    logged = {(one.tx, one.token, one.price, one.size) for one in read_truth(services.truth_path("polymarket"))
              if isinstance(one, ServedTrade)}  # fmt: skip
    assert mine <= logged
    made = {(one.s, float(one.p), float(one.q)) for one in read_truth(tmp_path / "truth.jsonl")
            if isinstance(one, TradeItem)}  # fmt: skip
    assert {(token, price, size) for _, token, price, size in mine} <= made


def test_a_market_that_the_stream_resolves_pays_everywhere(venue: Running, client: ServiceClient) -> None:
    venue.do("resolve", symbol=TOKENS[1])
    [row] = client.get("gamma", "/markets/keyset", clob_token_ids=TOKENS[1], closed="true").json()["markets"]
    [resolution] = client.get("data", "/v2/resolutions", condition=row["conditionId"]).json()["data"]
    assert resolution["payouts"] == [0, 1_000_000]
    assert row["outcomePrices"] == '["0","1"]'
    assert client.books(TOKENS[:2]) == []


def test_the_stream_carries_the_markets_of_the_services_with_the_same_books_and_trades(tmp_path: Path) -> None:
    now_s = int(time.time())
    world = World(60, 1)
    tokens = [
        token
        for one in world.open(now_s)
        if one.traded and one.has_book(now_s) and one.stop_s - now_s > 60 and one.switch_s is None
        for token in one.tokens(one.version)
    ]
    with running("polymarket", truth=tmp_path / "truth.jsonl", rate=1.0) as venue:
        assert isinstance(venue.venue, Polymarket)
        venue.venue.polled = PolledMarkets(60, 1, 20.0)
        with client_of(venue.url) as socket:
            socket.send(json.dumps({"type": "market", "assets_ids": [*tokens, "77"], "custom_feature_enabled": True}))
            messages: list[dict[str, Any]] = []
            deadline = time.monotonic() + 30
            while len([one for one in messages if one["event_type"] == "last_trade_price"]) < 20:
                frame = json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic())))
                messages += frame if isinstance(frame, list) else [frame]
    books = [one for one in messages if one["event_type"] == "book"]
    assert {one["asset_id"] for one in books} == set(tokens)
    assert len(books) > len(tokens)  # some have changed since
    for one in books:
        served = json.loads(world.served_at(one["asset_id"], int(one["timestamp"])) or b"{}")
        assert {name: one[name] for name in ("market", "bids", "asks")} == {
            name: served[name] for name in ("market", "bids", "asks")
        }
    feed = Feed(world, 20.0)
    rows = {(row.tx, row.token, round(row.price, 4), row.size) for at_s in range(now_s - 10, now_s + 40)
            for row in feed.second(at_s)}  # fmt: skip
    trades = [one for one in messages if one["event_type"] == "last_trade_price"]
    assert {
        (one["transaction_hash"], one["asset_id"], float(one["price"]), float(one["size"])) for one in trades
    } <= rows
    made = {(one.s, one.ts) for one in read_truth(tmp_path / "truth.jsonl") if isinstance(one, BookItem)}
    assert {(one["asset_id"], int(one["timestamp"]) * 10**6) for one in books} <= made
