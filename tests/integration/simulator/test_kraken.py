"""The simulated Kraken sends the messages of the captured one."""

import json
import urllib.request
from decimal import Decimal
from typing import Any

import pytest
from support.simulator.client import FastClock, KrakenBook, client, kraken_subscribe, parse, read_until

from recorder.simulator.running import running


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def of(messages: list[dict[str, Any]], channel: str) -> list[dict[str, Any]]:
    return [message for message in messages if message.get("channel") == channel]


def stamp(messages: list[dict[str, Any]]) -> str:
    """Return the venue time of the last book message, or an empty text."""
    return str(messages[-1]["data"][0]["timestamp"]) if of(messages, "book") else ""


@pytest.mark.parametrize("depth", [10, 25, 100])
def test_every_checksum_is_right_by_an_independent_book_at_each_depth(depth: int) -> None:
    with running("kraken", seed=depth, rate=3000) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", depth=depth)
        books = of(read_until(socket, lambda seen: len(of(seen[-1:], "book")) == 1 and len(seen) > 700), "book")
    book = KrakenBook(depth)
    assert len(books) > 600
    assert [index for index, message in enumerate(books) if not book.apply(message)] == []
    assert books[0]["type"] == "snapshot"
    assert [len(books[0]["data"][0][side]) for side in ("bids", "asks")] == [depth, depth]


def test_a_narrow_window_is_the_top_of_a_wide_one_at_every_moment() -> None:
    with running("kraken", seed=5, rate=1000) as venue, client(venue.url) as wide, client(venue.url) as narrow:
        kraken_subscribe(wide, "book", depth=500)
        read_until(wide, lambda seen: bool(of(seen, "book")))
        kraken_subscribe(narrow, "book", depth=10)
        short = of(read_until(narrow, lambda seen: len(seen) > 150), "book")
        full = of(read_until(wide, lambda seen: stamp(seen[-1:]) >= stamp(short[-1:])), "book")
        venue.do("close", how="fin")
    moments: dict[str, dict[str, Any]] = {}
    small, tops = KrakenBook(10), 0
    for message in short:
        assert small.apply(message)
        moments[stamp([message])] = {side: dict(small.sides[side]) for side in ("bids", "asks")}
    large: dict[str, dict[str, str]] = {"bids": {}, "asks": {}}
    for message in full:  # sizes are absolute: levels of the wide client must equal those of the narrow one
        for side in ("bids", "asks"):
            large[side].update({level["price"]: level["qty"] for level in message["data"][0][side]})
        for side, levels in moments.get(stamp([message]), {}).items():
            for price, size in levels.values():
                tops += price in large[side]
                assert large[side].get(price, size) == size
    assert tops > 100


def test_status_comes_first_and_each_symbol_is_acknowledged_alone() -> None:
    with running("kraken", rate=20) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "ticker", symbols=("BTC/USD", "ETH/USD"), event_trigger="bbo")
        messages = read_until(socket, lambda seen: sum("method" in one for one in seen) == 2)
    assert messages[0]["channel"] == "status"
    assert messages[0]["data"][0]["connection_id"] > 2**53
    answers = [one for one in messages if "method" in one]
    assert [one["result"]["symbol"] for one in answers] == ["BTC/USD", "ETH/USD"]
    assert {one["req_id"] for one in answers} == {7}
    assert all(one["success"] for one in answers)


def test_refusals_name_the_pair_but_a_wrong_depth_names_nothing() -> None:
    with running("kraken", rate=20) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "trade", symbols=("XBT/USD",))
        kraken_subscribe(socket, "book", depth=42)
        answers = [one for one in read_until(socket, lambda seen: len(seen) == 3) if "method" in one]
    assert [(one["success"], one["error"], one.get("symbol")) for one in answers] == [
        (False, "Currency pair not supported XBT/USD", "XBT/USD"),
        (False, "Subscription depth not supported", None),
    ]


def test_trades_are_contiguous_and_begin_with_the_last_fifty_when_asked() -> None:
    with running("kraken", seed=2, rate=2000) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "trade", snapshot=True)
        trades = of(read_until(socket, lambda seen: len(of(seen, "trade")) > 100), "trade")
    assert (trades[0]["type"], len(trades[0]["data"])) == ("snapshot", 50)
    ids = [row["trade_id"] for message in trades for row in message["data"]]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert any(len(message["data"]) > 1 for message in trades[1:])


def test_trades_happen_at_the_touch_that_the_ticker_showed() -> None:
    with running("kraken", seed=2, rate=1000) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "ticker", event_trigger="bbo")
        kraken_subscribe(socket, "trade")
        messages = read_until(socket, lambda seen: len(of(seen, "trade")) > 60)
    touch: dict[str, Any] = {}
    checked = 0
    for message in messages:
        if message.get("channel") == "ticker":
            (touch,) = message["data"]
            assert Decimal(touch["bid"]) < Decimal(touch["ask"])
        elif message.get("channel") == "trade" and touch:
            first = message["data"][0]
            assert first["price"] == touch["ask" if first["side"] == "buy" else "bid"]
            checked += 1
    assert checked > 50


def test_numbers_are_printed_with_all_their_decimals() -> None:
    with running("kraken", rate=200) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", symbols=("DOGE/USD",), depth=100)
        (snapshot,) = of(read_until(socket, lambda seen: bool(of(seen, "book"))), "book")
    levels = snapshot["data"][0]["bids"] + snapshot["data"][0]["asks"]
    assert {len(level["price"].split(".")[1]) for level in levels} == {7}
    assert {len(level["qty"].split(".")[1]) for level in levels} == {8}


def test_a_resubscription_brings_a_fresh_snapshot_and_a_second_one_is_refused() -> None:
    with running("kraken", seed=8, rate=1000) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", depth=10)
        read_until(socket, lambda seen: len(of(seen, "book")) > 20)
        kraken_subscribe(socket, "book", depth=10)
        refused = read_until(socket, lambda seen: bool(seen) and "method" in seen[-1])[-1]
        unsubscribe = {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}}
        socket.send(json.dumps(unsubscribe))
        ended = read_until(socket, lambda seen: bool(seen) and "method" in seen[-1])[-1]
        kraken_subscribe(socket, "book", depth=10)
        again = read_until(socket, lambda seen: len(of(seen, "book")) > 20)
    assert (refused["success"], refused["error"]) == (False, "Already subscribed")
    assert (ended["method"], ended["success"]) == ("unsubscribe", True)
    assert of(again, "book")[0]["type"] == "snapshot"
    book = KrakenBook(10)
    assert all(book.apply(message) for message in of(again, "book"))


def test_ping_is_answered_and_heartbeats_come_once_subscribed() -> None:
    with running("kraken", rate=1, clock=FastClock()) as venue, client(venue.url) as socket:
        socket.send('{"method":"ping","req_id":3}')
        kraken_subscribe(socket, "trade")
        messages = read_until(socket, lambda seen: {"channel": "heartbeat"} in seen)
    (pong,) = [one for one in messages if one.get("method") == "pong"]
    assert pong["req_id"] == 3


def test_the_instrument_channel_names_pairs_as_the_socket_does_and_rest_as_v1_does() -> None:
    with running("kraken", rate=1) as venue:
        with client(venue.url) as socket:
            socket.send('{"method":"subscribe","params":{"channel":"instrument","snapshot":true}}')
            (message,) = of(read_until(socket, lambda seen: bool(of(seen, "instrument"))), "instrument")
        listed = get(f"{venue.rest_url}/0/public/AssetPairs")
    assert {pair["symbol"] for pair in message["data"]["pairs"]} == set(venue.venue.symbols)
    assert message["data"]["pairs"][0]["qty_increment"] == "1e-08"
    assert listed["result"]["XXBTZUSD"]["wsname"] == "XBT/USD"


def test_rest_trades_walk_forward_from_since_and_equal_what_the_socket_sent() -> None:
    with running("kraken", seed=4, rate=2000) as venue:
        with client(venue.url) as socket:
            kraken_subscribe(socket, "trade")
            trades = of(read_until(socket, lambda seen: len(of(seen, "trade")) > 100), "trade")
        rows: list[Any] = []
        since, before = "1", ""
        while since != before:
            answer = get(f"{venue.rest_url}/0/public/Trades?pair=XBTUSD&since={since}&count=40")
            assert answer["error"] == []
            (page,) = [value for key, value in answer["result"].items() if key != "last"]
            rows += page
            before, since = since, answer["result"]["last"]
        unknown = get(f"{venue.rest_url}/0/public/Trades?pair=NOPE")
    found = {row[6]: (row[0], row[1], row[3]) for row in rows}
    sent = {
        row["trade_id"]: (row["price"], row["qty"], row["side"][0]) for message in trades for row in message["data"]
    }
    # A page may end between trades of one timestamp, as at the venue; its cursor skips the rest of them.
    assert len(sent.keys() & found.keys()) > 0.9 * len(sent)
    assert all(found[number] == values for number, values in sent.items() if number in found)
    assert unknown["error"] == ["EQuery:Unknown asset pair"]


def test_malformed_requests_are_answered_and_the_connection_lives() -> None:
    with running("kraken", rate=1) as venue, client(venue.url) as socket:
        socket.send("{nonsense")
        socket.send('{"method":"subscribe","params":{"channel":"surprise","symbol":["BTC/USD"]}}')
        socket.send('{"method":"ping"}')
        messages = [parse(socket.recv(timeout=5)) for _ in range(4)]
    assert [one.get("success") for one in messages[1:3]] == [False, False]
    assert messages[3]["method"] == "pong"
