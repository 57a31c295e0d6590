"""The simulated Coinbase Advanced Trade sends the messages of the captured one; our decoder agrees with its truth."""

import json
import time
import urllib.error
import urllib.request
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import LIMIT_S, HurriedClock, Message, client, get
from support.simulator.decoded import Decoding, Truth, decoding, finish, rows_of, streams, trades_of
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.events import CHANNELS, Accepted, Alive, Book, Lost, Quote, Refused, Stream, Trade
from recorder.simulator.running import running
from recorder.truth import TradeItem, read_truth
from recorder.venues.coinbase_advanced.stream import CoinbaseAdvanced

PRODUCTS = ("BTC-EUR", "LTC-USD")

# The fields as captured on 2026-08-09, in their order.
KEYS = {
    "market_trades": ["product_id", "trade_id", "price", "size", "time", "side"],
    "l2_data": ["side", "event_time", "price_level", "new_quantity"],
    "ticker": [
        "type", "product_id", "price", "volume_24_h", "low_24_h", "high_24_h", "low_52_w", "high_52_w",
        "price_percent_chg_24_h", "best_bid", "best_ask", "best_bid_quantity", "best_ask_quantity",
    ],
}  # fmt: skip
ROWS = {"market_trades": "trades", "l2_data": "updates", "ticker": "tickers"}


def subscribe(socket: ClientConnection, channel: str, *products: str, kind: str = "subscribe") -> None:
    socket.send(json.dumps({"type": kind, "product_ids": products, "channel": channel}))


def read(socket: ClientConnection, count: int, channel: str = "") -> list[Message]:
    """Return messages up to the one that completes `count` messages of a channel."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Message] = []
    while sum(one.get("channel") == channel or not channel for one in messages) < count:
        assert time.monotonic() < deadline, f"not {count} {channel} in {LIMIT_S} s"
        messages.append(json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic()))))
    return messages


def of(messages: list[Message], channel: str) -> list[Message]:
    return [one for one in messages if one.get("channel") == channel]


def rows(messages: list[Message], channel: str) -> list[Message]:
    return [row for one in of(messages, channel) for event in one["events"] for row in event[ROWS[channel]]]


def test_one_number_counts_every_message_of_a_connection_and_snapshots_come_before_the_answer() -> None:
    with running("coinbase_advanced", rate=1000, seed=2) as venue, client(venue.url) as socket:
        for channel in ("market_trades", "ticker", "level2", "heartbeats"):
            subscribe(socket, channel, *PRODUCTS)
        messages = read(socket, 30, "l2_data")
        with client(venue.url) as other:
            subscribe(other, "heartbeats")
            assert read(other, 2)[0]["sequence_num"] == 0
    assert [one["sequence_num"] for one in messages] == list(range(len(messages)))
    assert all(list(one) == ["channel", "timestamp", "sequence_num", "events"] for one in messages)
    assert [one["timestamp"] for one in messages] == sorted(one["timestamp"] for one in messages)
    assert [one["channel"] for one in messages[:3]] == ["market_trades", "market_trades", "subscriptions"]
    assert [one["events"][0]["type"] for one in messages[:2]] == ["snapshot", "snapshot"]
    assert of(messages, "subscriptions")[-1]["events"] == [
        {
            "subscriptions": {
                "heartbeats": ["heartbeats"], "level2": list(PRODUCTS), "market_trades": list(PRODUCTS),
                "ticker": list(PRODUCTS),
            }
        }
    ]  # fmt: skip


def test_messages_have_the_fields_of_the_captured_ones_and_numbers_without_trailing_zeros() -> None:
    with running("coinbase_advanced", rate=1000, seed=2) as venue, client(venue.url) as socket:
        for channel in ("market_trades", "ticker", "level2"):
            subscribe(socket, channel, *PRODUCTS)
        messages = read(socket, 20, "l2_data")
    for channel, keys in KEYS.items():
        found = rows(messages, channel)
        assert all(list(row) == keys for row in found)
        assert all(isinstance(value, str) for row in found for value in row.values())
    for name in ("price_level", "new_quantity"):
        texts = [row[name] for row in rows(messages, "l2_data")]
        assert not [text for text in texts if "." in text and text[-1] in "0."]
        assert any("." not in text for text in texts)
    assert {row["side"] for row in rows(messages, "l2_data")} == {"bid", "offer"}
    for message in of(messages, "l2_data"):
        assert len({row["event_time"] for row in message["events"][0]["updates"]}) == 1


def test_trades_come_in_unsorted_complete_batches_and_name_the_maker(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("coinbase_advanced", truth=path, rate=1500, seed=3) as venue, client(venue.url) as socket:
        subscribe(socket, "market_trades", "BTC-EUR")
        messages = read(socket, 1, "market_trades")
        started = time.monotonic()
        messages += read(socket, 12, "market_trades")
        passed_s = time.monotonic() - started
    first, *batches = of(messages, "market_trades")
    past = [int(row["trade_id"]) for row in first["events"][0]["trades"]]
    assert past == sorted(past, reverse=True)
    batched = [[int(row["trade_id"]) for row in one["events"][0]["trades"]] for one in batches]
    assert any(ids != sorted(ids) for ids in batched)
    assert any(ids != sorted(ids, reverse=True) for ids in batched)
    everything = sorted(past + [number for ids in batched for number in ids])
    assert everything == list(range(everything[0], everything[0] + len(everything)))
    assert passed_s > 11 * 0.2
    takers = {line.id: line.side for line in read_truth(path) if isinstance(line, TradeItem) and line.s == "BTC-EUR"}
    for row in rows(messages, "market_trades"):
        assert takers[int(row["trade_id"])] == {"BUY": "s", "SELL": "b"}[row["side"]]


def test_a_book_of_updates_equals_the_one_given_by_rest_and_never_crosses() -> None:
    with running("coinbase_advanced", rate=2000, seed=4) as venue, client(venue.url) as socket:
        subscribe(socket, "level2", "BTC-EUR")
        messages = read(socket, 25, "l2_data")
        venue.do("rate", per_s=0.001)
        last = time.monotonic() + 0.3
        while time.monotonic() < last:
            messages += read_quietly(socket)
        given = get(f"{venue.rest_url}/api/v3/brokerage/market/product_book?product_id=BTC-EUR")["pricebook"]
    book: dict[str, dict[Decimal, Decimal]] = {}
    for message in of(messages, "l2_data"):
        (event,) = message["events"]
        if event["type"] == "snapshot":
            book = {"bid": {}, "offer": {}}
        for row in event["updates"]:
            price, size = Decimal(row["price_level"]), Decimal(row["new_quantity"])
            if size:
                book[row["side"]][price] = size
            else:
                book[row["side"]].pop(price, None)
        assert max(book["bid"]) < min(book["offer"])
    for side, name in (("bid", "bids"), ("offer", "asks")):
        assert book[side] == {Decimal(level["price"]): Decimal(level["size"]) for level in given[name]}


def read_quietly(socket: ClientConnection) -> list[Message]:
    try:
        return [json.loads(socket.recv(timeout=0.1))]
    except TimeoutError:
        return []


def test_an_alias_is_answered_under_the_name_it_stands_for() -> None:
    with running("coinbase_advanced", rate=300) as venue, client(venue.url) as socket:
        subscribe(socket, "ticker", "LTC-USDC")
        messages = read(socket, 4)
        products = get(f"{venue.rest_url}/api/v3/brokerage/market/products")["products"]
    assert {row["product_id"] for row in rows(messages, "ticker")} == {"LTC-USD"}
    assert of(messages, "subscriptions")[0]["events"] == [{"subscriptions": {"ticker": ["LTC-USD"]}}]
    alias = {one["product_id"]: (one["alias"], one["alias_to"]) for one in products}
    assert alias["LTC-USDC"] == ("LTC-USD", [])
    assert alias["LTC-USD"] == ("", ["LTC-USDC"])
    listings = CoinbaseAdvanced().listings(json.dumps({"products": products}).encode())
    assert {one.symbol for one in listings} == set(alias)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"type": "subscribe", "product_ids": ["NOT-HERE"], "channel": "ticker"}, "NOT-HERE is not a valid product"),
        ({"type": "subscribe", "product_ids": ["BTC-EUR"], "channel": "l2_data"}, "unknown channel l2_data"),
        ({"type": "subscribe", "product_ids": ["BTC-EUR"], "channel": "user"}, "authentication failure"),
        ({"type": "hello", "product_ids": ["BTC-EUR"], "channel": "ticker"}, "unknown message type hello"),
        ([1], "failed to parse message"),
    ],
)
def test_an_invalid_request_is_answered_by_an_error(request_: object, words: str) -> None:
    with running("coinbase_advanced", rate=50) as venue, client(venue.url) as socket:
        socket.send(json.dumps(request_))
        assert read(socket, 1) == [{"type": "error", "message": words}]


def test_more_than_eight_requests_a_second_are_refused() -> None:
    with running("coinbase_advanced", rate=1) as venue, client(venue.url) as socket:
        for _ in range(9):
            subscribe(socket, "heartbeats")
        answers = read(socket, 9)
    assert [one.get("message") for one in answers] == [None] * 8 + ["rate limit exceeded"]


def test_a_subscription_ends_and_the_answer_lists_what_is_left() -> None:
    with running("coinbase_advanced", rate=500) as venue, client(venue.url) as socket:
        subscribe(socket, "ticker", *PRODUCTS)
        read(socket, 1, "subscriptions")
        subscribe(socket, "ticker", "BTC-EUR", kind="unsubscribe")
        answer = read(socket, 1, "subscriptions")[-1]
        after = read(socket, 5, "ticker")
    assert answer["events"] == [{"subscriptions": {"ticker": ["LTC-USD"]}}]
    assert {row["product_id"] for row in rows(after, "ticker")} == {"LTC-USD"}


def seconds_open(socket: ClientConnection) -> float:
    """Return the seconds until the venue closes."""
    started = time.monotonic()
    try:
        while True:
            socket.recv(timeout=LIMIT_S)
    except ConnectionClosed:
        return time.monotonic() - started


def test_heartbeats_count_and_keep_an_idle_connection_open() -> None:
    with (
        running("coinbase_advanced", rate=0.001, clock=HurriedClock()) as venue,
        client(venue.url) as kept,
        client(venue.url) as idle,
        client(venue.url) as dumb,
    ):
        subscribe(kept, "heartbeats")
        subscribe(idle, "status", "BTC-EUR")
        assert seconds_open(dumb) < 0.5
        assert seconds_open(idle) > 0.2
        beats = of(read(kept, 40, "heartbeats"), "heartbeats")
    counters = [one["events"][0]["heartbeat_counter"] for one in beats]
    assert counters == sorted(counters)
    assert list(beats[0]["events"][0]) == ["current_time", "heartbeat_counter"]
    assert "+0000 UTC m=+" in beats[0]["events"][0]["current_time"]


def test_rest_lists_trades_newest_first_between_seconds_and_pages_products() -> None:
    with running("coinbase_advanced", rate=1500, seed=5) as venue, client(venue.url) as socket:
        subscribe(socket, "market_trades", "BTC-EUR")
        live = {row["trade_id"]: row for row in rows(read(socket, 5, "market_trades"), "market_trades")}
        market = f"{venue.rest_url}/api/v3/brokerage/market"
        answer = get(f"{market}/products/BTC-EUR/ticker?limit=1000")
        none = get(f"{market}/products/BTC-EUR/ticker?limit=5&start=1000&end=2000")["trades"]
        few = get(f"{market}/products/BTC-EUR/ticker?limit=5")["trades"]
        everything = get(f"{market}/products")
        page = get(f"{market}/products?limit=2&offset=1")
        one = get(f"{market}/products/BTC-EUR")
        touch = get(f"{market}/product_book?product_id=BTC-EUR&limit=1")
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            get(f"{market}/products/NOT-HERE")
        with pytest.raises(urllib.error.HTTPError, match="400"):
            get(f"{market}/products?limit=many")
    trades = {row["trade_id"]: row for row in answer["trades"]}
    assert live.keys() <= trades.keys()
    for number, row in live.items():
        assert {name: trades[number][name] for name in row} == row
    ids = [int(row["trade_id"]) for row in answer["trades"]]
    assert ids == sorted(ids, reverse=True)
    assert (len(few), none) == (5, [])
    names = [product["product_id"] for product in everything["products"]]
    assert everything["num_products"] == len(names)
    assert [product["product_id"] for product in page["products"]] == names[1:3]
    assert one["product_id"] == "BTC-EUR"
    assert [len(touch["pricebook"][side]) for side in ("bids", "asks")] == [1, 1]
    assert json.loads(missing.value.read())["error"] == "NOT_FOUND"


# ---- the decoder and the truth


def same(found: Decoding, path: Path) -> None:
    truth = Truth(path)
    assert trades_of(found.outputs) == trades_of(truth.sent)
    assert rows_of(found.outputs) == rows_of(truth.sent)


WRONGS: list[tuple[str, dict[str, Any], bool]] = [
    ("status", {}, False),
    *(("freeze", {"symbol": "BTC-EUR", "channel": channel}, False) for channel in CHANNELS),
    *(("repeat", {"times": 2, "channel": channel}, False) for channel in CHANNELS),
    *(("malformed", {"kind": "truncated", "instead": True, "channel": channel}, False) for channel in CHANNELS),
    ("malformed", {"kind": "not_json"}, False),
    ("reorder", {"times": 2}, False),
    ("skip", {"times": 2, "channel": "trade"}, False),  # the missing numbers are trade ids
    ("republish", {"count": 5, "now": True}, False),
    ("reset_ids", {"symbol": "BTC-EUR"}, False),
    ("skip", {"times": 2, "channel": "quote"}, True),
    ("skip", {"times": 2, "channel": "book"}, True),
    ("sequence_hole", {"missing": 3}, True),
    ("repeat_sequence", {"times": 1}, True),
]


@pytest.mark.parametrize(("action", "arguments", "lost"), WRONGS)
def test_our_decoder_finds_exactly_the_truth_and_a_broken_sequence(
    action: str, arguments: dict[str, Any], lost: bool, tmp_path: Path
) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("coinbase_advanced", truth=path, rate=800, seed=9) as venue,
        decoding(venue, CoinbaseAdvanced(), streams(*PRODUCTS)) as found,
    ):
        found.until(lambda one: len(one.of(Book)) > 8 and len(one.of(Alive)) > 0)
        venue.do(action, **arguments)
        quotes = len(found.of(Quote))
        found.until(lambda one: len(one.of(Quote)) > quotes + 40)
        finish(venue, found)
    same(found, path)
    assert bool(found.of(Lost)) == lost
    assert len(found.unreadable) == (action == "malformed")
    assert {one.stream for one in found.of(Accepted)} == set(streams(*PRODUCTS))


def test_a_refusal_on_request_reaches_the_decoder() -> None:
    with running("coinbase_advanced", rate=50) as venue:
        venue.do("refuse", channel="book", symbol="BTC-EUR", times=1, reason="not today")
        with decoding(venue, CoinbaseAdvanced(), [Stream("book", "BTC-EUR")]) as found:
            found.until(lambda one: len(one.of(Refused)) > 0)
            assert found.of(Refused) == [Refused(None, "not today")]
            found.subscribe([Stream("book", "BTC-EUR")])
            found.until(lambda one: len(one.of(Book)) > 3)


def test_a_snapshot_of_five_megabytes_equals_the_truth(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("coinbase_advanced", truth=path, rate=100) as venue:
        venue.do("deep_book")
        with client(venue.url) as socket:
            subscribe(socket, "level2", "BTC-EUR")
            size = len(socket.recv(timeout=LIMIT_S))
        with decoding(venue, CoinbaseAdvanced(), [Stream("book", "BTC-EUR")]) as found:
            found.until(lambda one: len(one.of(Book)) > 5)
            finish(venue, found)
    assert 4_500_000 < size < 6_000_000
    (symbol, channel), stored = rows_of(found.outputs).popitem()
    assert stored == rows_of(Truth(path).sent)[symbol, channel][-len(stored) :]
    assert len(found.of(Book)[0].bids) + len(found.of(Book)[0].asks) > 45_000


def test_two_connections_have_numbers_of_their_own_and_the_truth_knows_both(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("coinbase_advanced", truth=path, rate=500, seed=10) as venue,
        decoding(venue, CoinbaseAdvanced(), streams("BTC-EUR")) as early,
        client(venue.url) as socket,
    ):
        early.until(lambda one: len(one.of(Quote)) > 20)
        late = Decoding(socket, CoinbaseAdvanced())
        late.subscribe(streams("BTC-EUR"))
        late.until(lambda one: len(one.of(Quote)) > 40)
        finish(venue, early, late)
    assert early.of(Lost) == late.of(Lost) == []
    truth = Truth(path)
    first, second, sent = (rows_of(rows) for rows in (early.outputs, late.outputs, truth.sent))
    for channel in ("quote", "book"):
        found = Counter(first["BTC-EUR", channel]) + Counter(second["BTC-EUR", channel])
        assert found == Counter(sent["BTC-EUR", channel])
    assert set(trades_of(late.outputs)) | set(trades_of(early.outputs)) == set(trades_of(truth.sent))
    assert len(early.of(Trade)) > len(late.of(Trade)) > 0
