"""The simulated Coinbase sends the messages of the captured one."""

import json
import urllib.request
from decimal import Decimal
from typing import Any

import pytest
from support.simulator.client import CoinbaseBook, FastClock, client, coinbase_subscribe, read_until
from websockets.exceptions import ConnectionClosed

from recorder.simulator.running import running


def of(messages: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] in kinds]


def get(url: str) -> tuple[Any, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer), dict(answer.headers)


def test_the_reply_lists_everything_subscribed_and_names_level2_batch_otherwise() -> None:
    with running("coinbase", rate=1) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "matches")
        first = of(read_until(socket, lambda seen: bool(of(seen, "subscriptions"))), "subscriptions")[-1]
        coinbase_subscribe(socket, "level2_batch", symbols=("BTC-USD", "ETH-USD"))
        second = of(read_until(socket, lambda seen: bool(of(seen, "subscriptions"))), "subscriptions")[-1]
        socket.send(json.dumps({"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]}))
        third = of(read_until(socket, lambda seen: bool(of(seen, "subscriptions"))), "subscriptions")[-1]
    assert first["channels"] == [{"name": "matches", "product_ids": ["BTC-USD"], "account_ids": None}]
    assert {one["name"]: one["product_ids"] for one in second["channels"]} == {
        "matches": ["BTC-USD"],
        "level2_50": ["BTC-USD", "ETH-USD"],
    }
    assert [one["name"] for one in third["channels"]] == ["level2_50"]


def test_matches_follow_last_match_contiguously_and_name_the_maker() -> None:
    with running("coinbase", seed=3, rate=2000) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "matches", "ticker")
        messages = read_until(socket, lambda seen: len(of(seen, "match")) > 150)
    prints = of(messages, "last_match", "match")
    assert [one["type"] for one in prints[:2]] == ["last_match", "match"]
    ids = [one["trade_id"] for one in prints]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert prints == sorted(prints, key=lambda one: one["sequence"])
    takers = {one["sequence"]: one["side"] for one in of(messages, "ticker")}
    both = [(one["side"], takers[one["sequence"]]) for one in prints if one["sequence"] in takers]
    assert len(both) > 100
    assert all(sorted(pair) == ["buy", "sell"] for pair in both)


def test_the_book_built_from_updates_equals_the_touch_of_the_ticker() -> None:
    with running("coinbase", seed=3, rate=2000) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "level2_batch", "ticker")
        messages = read_until(socket, lambda seen: len(of(seen, "l2update")) > 500)
    book = CoinbaseBook()
    expected: tuple[Decimal, ...] | None = None
    compared = 0
    greeting = of(messages, "ticker")[0]  # it shows the touch before the next update
    for message in messages:
        if message is greeting:
            continue
        if message["type"] == "ticker":
            names = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
            expected = tuple(Decimal(message[name]) for name in names)
        elif message["type"] in ("snapshot", "l2update"):
            book.apply(message)
            assert book.touch[0] < book.touch[2]
            if expected is not None and message["type"] == "l2update":
                assert book.touch == expected
                compared += 1
            expected = None
    assert compared > 50


@pytest.mark.parametrize(
    ("channel", "symbol", "words"),
    [
        ("level2", "BTC-USD", "require authentication"),
        ("full", "BTC-USD", "require authentication"),
        ("matches", "NOT-HERE", "NOT-HERE is not a valid product"),
        ("surprise", "BTC-USD", "surprise is not a valid channel"),
    ],
)
def test_an_invalid_subscription_is_refused_with_all_its_streams(channel: str, symbol: str, words: str) -> None:
    with running("coinbase", rate=50) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "matches", channel, symbols=("BTC-USD", symbol))
        (message,) = read_until(socket, lambda seen: len(seen) == 1)
    assert message["type"] == "error"
    assert words in message["reason"]


def test_heartbeats_name_the_last_trade_each_second() -> None:
    with running("coinbase", rate=20, clock=FastClock()) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "heartbeat", "matches")
        messages = read_until(socket, lambda seen: len(of(seen, "heartbeat")) == 2)
    last = 0
    for message in messages:
        if message["type"] in ("match", "last_match"):
            last = message["trade_id"]
        elif message["type"] == "heartbeat" and last:
            assert message["last_trade_id"] == last


def test_a_client_that_does_not_subscribe_within_five_seconds_is_closed() -> None:
    slow = running("coinbase", rate=1, clock=FastClock())
    with slow as venue, client(venue.url) as socket, pytest.raises(ConnectionClosed):
        socket.recv(timeout=9)


def test_rest_pages_of_trades_walk_back_by_cursor_and_equal_the_matches() -> None:
    with running("coinbase", seed=6, rate=2000) as venue:
        with client(venue.url) as socket:
            coinbase_subscribe(socket, "matches")
            matches = of(read_until(socket, lambda seen: len(of(seen, "match")) > 120), "match")
        path = f"{venue.rest_url}/products/BTC-USD/trades?limit=50"
        page, headers = get(path)
        rows = list(page)
        while rows[-1]["trade_id"] > matches[0]["trade_id"]:
            page, headers = get(f"{path}&after={headers['CB-AFTER']}")
            rows += page
        newest, _ = get(f"{path}&before={rows[-1]['trade_id']}")
        products, _ = get(f"{venue.rest_url}/products")
    ids = [row["trade_id"] for row in rows]
    assert ids == list(range(ids[0], ids[0] - len(ids), -1))
    fields = ("trade_id", "side", "size", "price", "time")
    by_id = {row["trade_id"]: row for row in rows}
    assert [by_id[one["trade_id"]] for one in matches] == [{name: one[name] for name in fields} for one in matches]
    assert newest[0]["trade_id"] >= ids[0]  # the newest page, not the one next to the cursor
    assert {one["id"] for one in products} == set(venue.venue.symbols)
