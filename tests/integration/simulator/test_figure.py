"""The simulated Figure Markets sends the messages of the captured one."""

import json
import time
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.simulator.client import LIMIT_S, FastClock, HurriedClock, ask, client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.simulator.running import running

INVALID = {"message": "Invalid request", "code": 1}


def subscribe(socket: ClientConnection, channel: str, symbol: str = "HASH-USD", uuid: str = "") -> str:
    """Subscribe with an id of our choice."""
    uuid = uuid or str(uuid4())
    socket.send(json.dumps({"action": "SUBSCRIBE", "channelUuid": uuid, "channel": channel, "symbol": symbol}))
    return uuid


def read_until(socket: ClientConnection, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Return messages up to the first that satisfies the condition."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Any] = []
    while not enough(messages):
        messages.append(json.loads(socket.recv(timeout=max(0.01, deadline - time.monotonic()))))
    return messages


def of(messages: list[Any], *uuids: str) -> list[dict[str, Any]]:
    """Return the data of these subscriptions."""
    return [one for one in messages if isinstance(one, dict) and one.get("channelUuid") in uuids and "channel" in one]


def listed(socket: ClientConnection) -> list[dict[str, str]]:
    """Return the venue's list of subscriptions."""
    socket.send('{"action":"LIST_SUBSCRIPTIONS"}')
    found: list[dict[str, str]] = next(
        one
        for one in read_until(socket, lambda seen: any(isinstance(one, list) for one in seen))
        if isinstance(one, list)
    )
    return found


def test_nothing_is_acknowledged_and_a_list_is_a_bare_array() -> None:
    with running("figure", rate=1) as venue, client(venue.url) as socket:
        book, trades = subscribe(socket, "ORDER_BOOK", "BTC-USD-2S"), subscribe(socket, "TRADES")
        rows = listed(socket)
        socket.send("{}")  # its answer is an error, after which everything sent before has arrived
        messages = read_until(socket, lambda seen: seen[-1:] == [INVALID])
    assert rows == [
        {"channelUuid": book, "channel": "ORDER_BOOK", "symbol": "BTC-USD-2S", "tickSize": "0.1"},
        {"channelUuid": trades, "channel": "TRADES", "symbol": "HASH-USD"},
    ]
    assert [one for one in messages if one != INVALID] == of(messages, book)


def test_every_book_is_full_with_running_totals_and_repeated_when_nothing_changed() -> None:
    with running("figure", seed=3, rate=60, clock=FastClock()) as venue, client(venue.url) as socket:
        venue.do("every", ping_s=1e9)
        uuid = subscribe(socket, "ORDER_BOOK")
        frames = read_until(socket, lambda seen: len(seen) == 40)
        venue.do("rate", per_s=1e-9)
        frames += read_until(socket, lambda seen: len(seen) > 1 and seen[-1] == seen[-2])
        began = time.monotonic()
        again = read_until(socket, lambda seen: len(seen) == 3)
        passed_s = 10 * (time.monotonic() - began)
    for message in frames:
        assert list(message) == ["channelUuid", "asks", "bids", "channel"]
        assert (message["channelUuid"], message["channel"]) == (uuid, "ORDER_BOOK")
        for side, sign in (("asks", 1), ("bids", -1)):
            prices = [Decimal(level["price"]) * sign for level in message[side]]
            assert prices == sorted(set(prices))
            total = Decimal(0)
            for level in message[side]:
                total += Decimal(level["quantity"])
                assert (Decimal(level["total"]), level["totalOrders"]) == (total, "0")
    assert frames[-1] == again[0] == again[1] == again[2]
    assert 3 * 4 < passed_s < 3 * 7


def test_books_come_on_a_tick_and_differ_from_the_one_before() -> None:
    with running("figure", seed=3, rate=100, clock=FastClock()) as venue, client(venue.url) as socket:
        subscribe(socket, "ORDER_BOOK")
        stamped: list[tuple[float, str | bytes]] = []
        while len(stamped) < 30:
            frame = socket.recv(timeout=5)
            stamped.append((time.monotonic() * 10, frame))
    gaps = sorted(after - before for (before, _), (after, _) in pairwise(stamped[1:]))
    assert 0.25 < gaps[len(gaps) // 2] < 1.0
    assert sum(one == other for (_, one), (_, other) in pairwise(stamped)) < 5


def test_a_side_is_empty_for_a_tick_or_three_when_asked() -> None:
    with running("figure", seed=3, rate=100, clock=FastClock()) as venue, client(venue.url) as socket:
        book, market = subscribe(socket, "ORDER_BOOK"), subscribe(socket, "MARKET")
        read_until(socket, lambda seen: len(of(seen, book)) > 2)
        venue.do("empty", symbol="HASH-USD", side="both", ticks=2)
        messages = read_until(socket, lambda seen: any(one["bids"] == [] for one in of(seen, book)))
        messages += read_until(socket, lambda seen: any(one["bids"] for one in of(seen, book)))
    empty = [one for one in of(messages, book) if one["bids"] == one["asks"] == []]
    assert 1 <= len(empty) <= 2
    bare = [one for one in of(messages, market) if "bestBid" not in one]
    assert bare
    assert not any("bestAsk" in one or "midMarketPrice" in one for one in bare)


def test_trades_have_texts_as_ids_one_time_a_block_no_side_and_numbers_of_both_kinds() -> None:
    with running("figure", seed=4, rate=2000) as venue, client(venue.url) as socket:
        uuid = subscribe(socket, "TRADES")
        trades = read_until(socket, lambda seen: len(seen) > 150)
    assert {tuple(one) for one in trades} == {("channelUuid", "id", "price", "quantity", "created", "channel")}
    assert {one["channelUuid"] for one in trades} == {uuid}
    ids = [one["id"] for one in trades]
    assert len(set(ids)) == len(ids)
    assert {len(one) for one in ids} == {12}
    assert ids != sorted(ids)
    assert {type(one["price"]) for one in trades} == {type(one["quantity"]) for one in trades} == {float, str}
    assert all(len(one["created"]) == len("2025-07-18T22:47:33.145840291Z") for one in trades)
    assert len({one["created"] for one in trades}) < len(trades)


def test_the_market_channel_has_best_prices_as_texts_and_counts_as_numbers() -> None:
    with running("figure", seed=4, rate=100, clock=FastClock()) as venue, client(venue.url) as socket:
        uuid = subscribe(socket, "MARKET", "BTC-USD-2S")
        messages = of(read_until(socket, lambda seen: len(seen) > 20), uuid)
    full = next(one for one in messages if "bestBid" in one)
    assert list(full)[1:4] == ["bestBid", "bestAsk", "midMarketPrice"]
    assert full["marketId"] == "BTC-USD-2S"
    assert Decimal(full["midMarketPrice"]) * 2 == Decimal(full["bestBid"]) + Decimal(full["bestAsk"])
    assert {type(full[name]) for name in ("tradeCount24h", "pricePrecision")} == {int}
    assert type(full["percentageChange24h"]) is float
    assert len(full["lastTradedPrice"].split(".")[1]) == 18
    times = [one["publishTime"] for one in messages]
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ("no json", INVALID),
        ('{"action":"PING"}', INVALID),
        ('{"action":"SUBSCRIBE","channelUuid":"abc","channel":"TRADES","symbol":"HASH-USD"}', INVALID),
        ('{"action":"SUBSCRIBE","channelUuid":"%s","channel":"NOPE","symbol":"HASH-USD"}', INVALID),
        ('{"action":"SUBSCRIBE","channelUuid":"%s","channel":"TRADES"}', INVALID),
        (
            '{"action":"SUBSCRIBE","channelUuid":"%s","channel":"TRADES","symbol":"hash-usd"}',
            {"message": "Invalid symbol", "code": 3},
        ),
        (
            '{"action":"UNSUBSCRIBE","channelUuid":"%s"}',
            {"message": "Not subscribed to any channel with given ID", "code": 5},
        ),
        (
            '{"action":"SUBSCRIBE","channelUuid":"%s","channel":"ADDRESS_ORDERS","symbol":"HASH-USD"}',
            {"message": "Connection is not authorized", "code": 7},
        ),
    ],
)
def test_errors_name_a_code_and_nothing_else(request_: str, answer: dict[str, Any]) -> None:
    with running("figure", rate=20) as venue, client(venue.url) as socket:
        socket.send(request_.replace("%s", str(UUID(int=7, version=4))))
        assert json.loads(socket.recv(timeout=5)) == answer
        assert listed(socket) == []


def test_an_id_in_use_is_refused_a_stream_may_be_had_twice_and_ends_by_its_id() -> None:
    with running("figure", seed=3, rate=500) as venue, client(venue.url) as socket:
        one = subscribe(socket, "TRADES")
        subscribe(socket, "TRADES", uuid=one)
        error = next(
            seen for seen in read_until(socket, lambda seen: any("code" in one for one in seen)) if "code" in seen
        )
        other = subscribe(socket, "TRADES")
        both = read_until(socket, lambda seen: len(of(seen, other)) > 20)
        socket.send(json.dumps({"action": "UNSUBSCRIBE", "channelUuid": one}))
        read_until(socket, lambda seen: seen[-1:] == [{"message": "UNSUBSCRIBED", "channelUuid": one}])
        later = read_until(socket, lambda seen: len(seen) > 20)
    assert error == {"message": "Duplicate channel UUID", "code": 2}
    assert {row["id"] for row in of(both, other)} <= {row["id"] for row in of(both, one)}
    assert {row["channelUuid"] for row in later} == {other}


def test_a_book_of_another_asset_class_gets_no_answer_and_the_51st_stream_an_error() -> None:
    with running("figure", rate=1e-9) as venue, client(venue.url) as socket:
        subscribe(socket, "ORDER_BOOK", "FIGR_HELOC-USD")
        subscribe(socket, "TRADES", "FIGR_HELOC-USD")
        assert [row["channel"] for row in listed(socket)] == ["TRADES"]
        for _ in range(50):
            subscribe(socket, "TRADES")
        assert json.loads(socket.recv(timeout=5))["code"] == 6
        assert len(listed(socket)) == 50


def test_a_client_without_protocol_pings_is_closed_after_half_a_minute() -> None:
    slow = running("figure", rate=1e-9, clock=HurriedClock())
    with slow as venue, client(venue.url) as silent, client(venue.url) as alive:
        subscribe(silent, "TRADES")
        began = time.monotonic()
        while len(venue.venue.clients) == 2:
            assert time.monotonic() - began < 5
            assert alive.ping().wait(5)
        lasted_s = 100 * (time.monotonic() - began)
        with pytest.raises(ConnectionClosed):
            silent.recv(timeout=5)
        assert alive.ping().wait(5)
    assert 10 < lasted_s < 100  # by a clock a hundred times faster: a busy machine begins late
    assert silent.close_code == 1001


@pytest.mark.parametrize("how", ["age", "asked"])
def test_a_session_ends_at_its_age_or_when_asked(how: str) -> None:
    with running("figure", rate=50, clock=FastClock()) as venue, client(venue.url) as socket:
        subscribe(socket, "TRADES")
        if how == "age":
            venue.do("every", session_s=5.0)
        else:
            assert venue.do("session_end") == {"connections": 1}
        with pytest.raises(ConnectionClosed):  # noqa: PT012 (messages may arrive before the close)
            while True:
                socket.recv(timeout=5)
    assert socket.close_code == 1001


# ---- REST


def test_rest_lists_markets_in_pages_with_their_denominations() -> None:
    with running("figure", rate=100) as venue:
        rows: list[Any] = []
        page, pages = 1, 1
        while page <= pages:
            answer = json.loads(ask(f"{venue.rest_url}/markets?page={page}&size=3")[1])
            rows += answer["data"]
            page, pages = page + 1, answer["pagination"]["totalPages"]
        full = json.loads(ask(f"{venue.rest_url}/public/v1/markets?page=1&size=50")[1])
        refused = ask(f"{venue.rest_url}/service-hft-exchange/api/v1/markets?page=1&size=51")
        crypto = json.loads(ask(f"{venue.rest_url}/markets?market_type=CRYPTO")[1])
    assert [row["symbol"] for row in rows] == [row["symbol"] for row in full["data"]]
    assert full["pagination"] == {"page": 1, "size": 50, "totalPages": 1, "totalCount": len(rows)}
    assert {row["symbol"] for row in crypto["data"]} == set(venue.venue.symbols)
    bitcoin = next(row for row in rows if row["symbol"] == "BTC-USD-2S")
    assert (bitcoin["displayName"], bitcoin["status"]) == ("BTC-USD", "OPEN")
    assert next(row for row in rows if row["symbol"] == "HASH-USD")["denom"] == "nhash"
    assert "bestBid" not in next(row for row in rows if row["symbol"] == "FIGR_HELOC-USD")
    assert refused[0] == 400
    assert json.loads(refused[1])["errors"]


def test_rest_trades_by_time_equal_what_the_socket_sent() -> None:
    with running("figure", seed=4, rate=3000) as venue:
        with client(venue.url) as socket:
            subscribe(socket, "TRADES")
            live = read_until(socket, lambda seen: len(seen) > 250)
        path = f"{venue.rest_url}/trades/HASH-USD?end_date={live[-1]['created']}&size=200"
        found: dict[str, Any] = {}
        cursor = live[0]["created"]
        while True:
            answer = json.loads(ask(f"{path}&start_date={cursor}")[1])
            found |= {row["id"]: row for row in answer["matches"]}
            if len(answer["matches"]) < 200:
                break
            cursor = max(row["created"] for row in answer["matches"])
        unknown = ask(f"{venue.rest_url}/trades/NOPE")
        wrong = [
            ask(f"{venue.rest_url}{path}")[0]
            for path in ("/markets/HASH-USD/orderbook?depth=x", "/trades/HASH-USD?start_date=yesterday", "/nothing")
        ]
        book = json.loads(ask(f"{venue.rest_url}/markets/HASH-USD/orderbook?depth=5")[1])
    for one in live:
        row = found[one["id"]]
        assert row["created"] == one["created"]
        assert (float(row["price"]), float(row["quantity"])) == (float(one["price"]), float(one["quantity"]))
    assert (answer["denom"], answer["symbol"], answer["marketId"]) == ("nhash", "HASH-USD", "HASH-USD")
    assert wrong == [400, 400, 404]
    assert unknown == (404, b'{"errors":["No market for NOPE"]}')
    assert [len(book[side]) for side in ("bids", "asks")] == [5, 5]
    assert type(book["bids"][0]["price"]) is float
