"""The simulated Binance sends the messages of the captured one."""

import contextlib
import json
import random
import re
import socket as socket_module
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import HurriedClock, Message, ask, client, read_until
from support.simulator.decoded import Decoding, Truth, compare, finish, misbehave, streams
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.events import Book, Ending, Fetch, Resync, Stream, Trade
from recorder.simulator.running import Running, running
from recorder.venues.binance.stream import Binance

EIGHT = re.compile(r"\d+\.\d{8}")
# The key orders of spot_btcusdt_20240808 and its REST snapshot, read 2026-11-21.
TRADE = ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
TICKER = ["u", "s", "b", "B", "a", "A"]
DEPTH = ["e", "E", "s", "U", "u", "b", "a"]


@contextmanager
def binance(tmp_path: Path, **options: Any) -> Iterator[tuple[Running, ClientConnection]]:
    """Yield the venue and a client of its combined streams."""
    with (
        running("binance", truth=tmp_path / "truth.jsonl", **{"rate": 600, "seed": 4, **options}) as venue,
        client(f"{venue.url}/stream") as socket,
    ):
        yield venue, socket


def request(socket: ClientConnection, method: str, *params: object, number: object = 1) -> Message:
    """Return the answer to a request, skipping data."""
    socket.send(json.dumps({"method": method, "params": params, "id": number}))
    return read_until(socket, lambda seen: bool(seen) and not {"stream", "e", "u"} & seen[-1].keys())[-1]


def of(messages: list[Message], stream: str) -> list[Message]:
    """Return the payloads of one stream."""
    return [one["data"] for one in messages if one.get("stream") == stream]


def closing(socket: ClientConnection) -> tuple[int, int, str]:
    """Read until the venue closes; return how many messages came, and the code and reason of the close."""
    count = 0
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=5)
            count += 1
    return count, socket.close_code or 0, socket.close_reason or ""


def get(venue: Running, path: str) -> Any:
    status, body = ask(venue.rest_url + path)
    assert status == 200, body
    return json.loads(body)


# ---- the socket


def test_messages_have_the_keys_and_numbers_of_the_captured_ones(tmp_path: Path) -> None:
    with binance(tmp_path) as (_, socket):
        names = ("ethbtc@trade", "ethbtc@bookTicker", "ethbtc@depth@100ms")
        assert request(socket, "SUBSCRIBE", *names) == {"result": None, "id": 1}
        messages = read_until(socket, lambda seen: all(of(seen, name) for name in names))
    assert {tuple(one) for one in messages} == {("stream", "data")}
    trade, ticker, depth = (of(messages, name)[0] for name in names)
    assert [list(one) for one in (trade, ticker, depth)] == [TRADE, TICKER, DEPTH]
    assert (trade["e"], trade["s"], depth["e"]) == ("trade", "ETHBTC", "depthUpdate")
    numbers = [trade["p"], trade["q"], *(ticker[name] for name in "bBaA")]
    numbers += [text for level in depth["b"] + depth["a"] for text in level]
    assert all(EIGHT.fullmatch(text) for text in numbers)
    assert abs(trade["T"] - time.time() * 1000) < 60_000
    assert trade["E"] >= trade["T"]


def test_the_raw_path_sends_the_same_without_the_wrapper_and_a_url_may_name_streams(tmp_path: Path) -> None:
    with (
        binance(tmp_path) as (venue, combined),
        client(f"{venue.url}/ws/btcusdt@trade") as raw,
        client(f"{venue.url}/stream?streams=btcusdt@trade/btcusdt@bookTicker") as named,
    ):
        request(combined, "SUBSCRIBE", "btcusdt@trade")
        wrapped = {one["t"]: one for one in of(read_until(combined, lambda seen: len(seen) > 150), "btcusdt@trade")}
        bare = read_until(raw, lambda seen: bool(seen) and seen[-1]["t"] > max(wrapped))
        assert request(raw, "GET_PROPERTY", "combined")["result"] is False
        assert request(raw, "SET_PROPERTY", "combined", True) == {"result": None, "id": 1}
        assert "stream" in read_until(raw, lambda seen: bool(seen) and "stream" in seen[-1])[-1]
        listed = request(named, "LIST_SUBSCRIPTIONS")["result"]
    both = [one for one in bare if one["t"] in wrapped]
    assert len(both) > 20
    assert all(one == wrapped[one["t"]] for one in both)
    assert listed == ["btcusdt@trade", "btcusdt@bookTicker"]


def test_an_unknown_stream_is_accepted_and_listed_and_never_sends(tmp_path: Path) -> None:
    with binance(tmp_path) as (_, socket):
        wrong = ("nopeusdt@trade", "BTCUSDT@trade", "btcusdt@surprise")
        assert request(socket, "SUBSCRIBE", *wrong, "btcusdt@bookTicker") == {"result": None, "id": 1}
        messages = read_until(socket, lambda seen: len(seen) > 100)
        assert {one["stream"] for one in messages} == {"btcusdt@bookTicker"}
        assert request(socket, "LIST_SUBSCRIPTIONS", number="a")["result"] == [*wrong, "btcusdt@bookTicker"]
        assert request(socket, "UNSUBSCRIBE", "btcusdt@bookTicker", *wrong) == {"result": None, "id": 1}
        assert request(socket, "LIST_SUBSCRIPTIONS")["result"] == []


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        ("{nonsense", 3, "Invalid JSON"),
        ('{"method":"SUBSCRIBED","params":[],"id":7}', 2, "unknown variant `SUBSCRIBED`, expected one of `SUBSCRIBE`"),
        ('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1.5}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":[1],"id":7}', 2, "Invalid request"),
        ('{"method":"GET_PROPERTY","params":["colour"],"id":7}', 0, "Unknown property"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":7}', 1, "expected Boolean"),
    ],
)
def test_requests_that_are_wrong_are_answered_with_a_code(sent: str, code: int, words: str, tmp_path: Path) -> None:
    with binance(tmp_path, rate=1) as (_, socket):
        socket.send(sent)
        (message,) = read_until(socket, lambda seen: len(seen) == 1)
        assert message["error"]["code"] == code
        assert words in message["error"]["msg"]
        assert message.get("id") == (7 if '"id":7' in sent else None)
        request(socket, "SUBSCRIBE", "btcusdt@trade")


def test_a_sixth_frame_within_a_second_ends_the_connection_pings_counted(tmp_path: Path) -> None:
    with binance(tmp_path, rate=1) as (venue, first), client(f"{venue.url}/stream") as second:
        for socket, pings in ((first, 0), (second, 3)):
            for _ in range(pings):
                socket.ping()
            for number in range(6 - pings):
                socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            assert closing(socket)[1:] == (1008, "Too many requests")


def test_more_than_1024_streams_end_the_connection(tmp_path: Path) -> None:
    with binance(tmp_path, rate=1) as (_, socket):
        names = [f"s{number}usdt@trade" for number in range(1025)]
        assert request(socket, "SUBSCRIBE", *names[:1024])["result"] is None
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": names[1024:], "id": 2}))
        assert closing(socket) == (0, 1008, "Too many streams")


def mute(venue: Running) -> list[tuple[int, bytes]]:
    """Return the frames up to the close that a client gets without answering, as (opcode, payload); all are short."""
    with (
        socket_module.create_connection(("127.0.0.1", venue.server.port), timeout=10) as sock,
        sock.makefile("rb") as file,
    ):
        sock.sendall(
            b"GET /stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        while file.readline() != b"\r\n":
            pass
        frames = []
        while head := file.read(2):
            frames.append((head[0] & 15, file.read(head[1])))
        return frames


def test_clients_that_answer_pings_stay_and_others_are_closed(tmp_path: Path) -> None:
    with binance(tmp_path, rate=1, clock=HurriedClock()) as (venue, socket):
        frames = mute(venue)
        assert request(socket, "LIST_SUBSCRIPTIONS")["result"] == []
    assert [opcode for opcode, _ in frames] == [9, 8]
    assert abs(int(frames[0][1]) - time.time() * 1000) < 60_000
    assert frames[1][1] == (1008).to_bytes(2, "big") + b"Pong timeout"


def test_a_session_is_announced_to_end_and_then_ends_while_its_successor_lives(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        request(socket, "SUBSCRIBE", "btcusdt@trade")
        assert venue.do("session_end", lead_s=0.3) == {"connections": 1}
        with client(f"{venue.url}/stream") as successor:
            request(successor, "SUBSCRIBE", "btcusdt@trade")
            messages = read_until(socket, lambda seen: bool(of(seen, "!serverShutdown")))
            assert list(of(messages, "!serverShutdown")[0]) == ["e", "E"]
            more, code, _ = closing(socket)
            assert (more > 0, code) == (True, 1001)
            read_until(successor, lambda seen: len(of(seen, "btcusdt@trade")) > 100)


# ---- books


class BinanceBook:
    """A local book built by the vendor's documentation, with the `+ 1` that the captures need."""

    def __init__(self, snapshot: Any) -> None:
        self.last = int(snapshot["lastUpdateId"])
        self.bids = {Decimal(price): Decimal(size) for price, size in snapshot["bids"]}
        self.asks = {Decimal(price): Decimal(size) for price, size in snapshot["asks"]}

    def apply(self, message: Any) -> bool:
        """Apply a delta; return False where it is older than the book."""
        if message["u"] <= self.last:
            return False
        assert message["U"] <= self.last + 1 <= message["u"]
        for levels, changes in ((self.bids, message["b"]), (self.asks, message["a"])):
            for price, size in changes:
                levels[Decimal(price)] = Decimal(size)
                if not Decimal(size):
                    del levels[Decimal(price)]
        self.last = message["u"]
        return True

    @property
    def touch(self) -> tuple[Decimal, ...]:
        bid, offer = max(self.bids), min(self.asks)
        return bid, self.bids[bid], offer, self.asks[offer]


def test_a_snapshot_joins_the_deltas_and_the_book_has_the_touch_of_the_ticker_of_the_same_id(tmp_path: Path) -> None:
    with binance(tmp_path, rate=800) as (venue, socket):
        request(socket, "SUBSCRIBE", "btcusdt@depth@100ms", "btcusdt@bookTicker")
        messages = read_until(socket, lambda seen: bool(of(seen, "btcusdt@depth@100ms")))
        snapshot = get(venue, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
        messages += read_until(socket, lambda seen: len(of(seen, "btcusdt@depth@100ms")) > 30)
        venue.do("rate", per_s=1e-9)
        end = get(venue, "/api/v3/depth?symbol=BTCUSDT&limit=5000")
        while of(messages, "btcusdt@depth@100ms")[-1]["u"] < end["lastUpdateId"]:
            messages += read_until(socket, bool)
    assert list(snapshot) == ["lastUpdateId", "bids", "asks"]
    deltas = of(messages, "btcusdt@depth@100ms")
    assert all(later["U"] == earlier["u"] + 1 for earlier, later in pairwise(deltas))
    tickers = {one["u"]: one for one in of(messages, "btcusdt@bookTicker")}
    assert list(tickers) == sorted(tickers)
    book = BinanceBook(snapshot)
    compared = 0
    for delta in deltas:
        if book.apply(delta) and delta["u"] in tickers:
            assert book.touch == tuple(Decimal(tickers[delta["u"]][name]) for name in "bBaA")
            compared += 1
    assert compared > 3
    last = BinanceBook(end)
    assert (book.last, book.bids, book.asks) == (last.last, last.bids, last.asks)


def test_a_snapshot_older_than_the_stream_joins_nothing_until_a_newer_one_is_asked_for(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        venue.do("old_snapshot", times=2, symbol="BTCUSDT")
        request(socket, "SUBSCRIBE", "btcusdt@depth@100ms")
        first = of(read_until(socket, lambda seen: bool(seen)), "btcusdt@depth@100ms")[0]
        ids = [get(venue, "/api/v3/depth?symbol=BTCUSDT")["lastUpdateId"] for _ in range(3)]
    assert ids[0] == ids[1] < first["U"] - 1
    assert ids[2] >= first["u"]


# ---- REST


def test_rest_lists_symbols_with_their_filters_and_the_volume_of_the_day(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, _):
        listed = get(venue, "/api/v3/exchangeInfo?showPermissionSets=false")
        one = get(venue, "/api/v3/exchangeInfo?symbol=ETHBTC")
        days = get(venue, "/api/v3/ticker/24hr")
        day = get(venue, "/api/v3/ticker/24hr?symbol=ETHBTC")
    assert [row["symbol"] for row in listed["symbols"]] == list(venue.venue.symbols)
    (row,) = one["symbols"]
    filters = {rule["filterType"]: rule for rule in row["filters"]}
    assert (row["baseAsset"], row["quoteAsset"], row["status"]) == ("ETH", "BTC", "TRADING")
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00001000"
    assert filters["LOT_SIZE"]["minQty"] == "0.00010000"
    assert {row["symbol"] for row in days} == set(venue.venue.symbols)
    assert Decimal(day["quoteVolume"]) > 0


def test_rest_trades_by_id_equal_what_the_socket_sent(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        request(socket, "SUBSCRIBE", "btcusdt@trade")
        sent = of(read_until(socket, lambda seen: len(seen) > 120), "btcusdt@trade")
        rows: list[Any] = []
        while not rows or rows[-1]["id"] < sent[-1]["t"]:
            first = rows[-1]["id"] + 1 if rows else sent[0]["t"]
            rows += get(venue, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=50")
        newest = get(venue, "/api/v3/trades?symbol=BTCUSDT&limit=10")
        span = f"startTime={sent[0]['T']}&endTime={sent[-1]['T']}"
        aggregates = get(venue, f"/api/v3/aggTrades?symbol=BTCUSDT&{span}&limit=1000")
    assert [one["t"] for one in sent] == list(range(sent[0]["t"], sent[0]["t"] + len(sent)))
    found = [(one["id"], one["price"], one["qty"], one["time"], one["isBuyerMaker"]) for one in rows]
    assert found[: len(sent)] == [(one["t"], one["p"], one["q"], one["T"], one["m"]) for one in sent]
    assert [one["id"] for one in newest] == list(range(newest[0]["id"], newest[0]["id"] + 10))
    by_trade = {one["f"]: one for one in aggregates}
    assert all(by_trade[one["t"]]["q"] == one["q"] for one in sent)
    assert all(later["a"] == earlier["a"] + 1 for earlier, later in pairwise(aggregates))


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("depth?symbol=NOPE", 400, -1121),
        ("depth?symbol=BTCUSDT&limit=9999", 400, -1130),
        ("trades", 400, -1102),
        ("aggTrades?symbol=BTCUSDT&fromId=x", 400, -1100),
        ("exchangeInfo?symbol=NOPE", 400, -1121),
    ],
)
def test_rest_errors_have_a_code(path: str, status: int, code: int, tmp_path: Path) -> None:
    with binance(tmp_path, rate=1) as (venue, _):
        answered, body = ask(f"{venue.rest_url}/api/v3/{path}")
    assert (answered, json.loads(body)["code"]) == (status, code)


def test_more_weight_than_a_minute_has_is_refused_until_the_next(tmp_path: Path) -> None:
    with binance(tmp_path, rate=1) as (venue, _):
        statuses = [ask(f"{venue.rest_url}/api/v3/depth?symbol=BTCUSDT&limit=5000")[0] for _ in range(60)]
    assert statuses[0] == 200
    assert statuses.count(429) >= 10  # 24 of them cost 6,000, and a new minute may begin in between


# ---- our decoder


def begun(venue: Running, socket: ClientConnection) -> Decoding:
    """Return a connection with all streams, whose books have begun."""
    found = Decoding(socket, Binance(), venue.rest_url)
    found.subscribe(streams(*venue.venue.symbols))
    return found.until(lambda one: sum(book.snapshot for book in one.of(Book)) == len(venue.venue.symbols))


@pytest.mark.parametrize("late", [0, 40])
def test_our_decoder_finds_exactly_the_truth(late: int, tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        found = Decoding(socket, Binance(), venue.rest_url)
        found.late = late
        venue.do("old_snapshot", times=1, symbol="ETHUSDT")
        found.subscribe(streams(*venue.venue.symbols))
        found.until(lambda one: len(one.of(Trade)) > 300 and len(one.of(Book)) > 60)
        finish(venue, found)
    figures = compare(found, Truth(tmp_path / "truth.jsonl", connection=1))
    assert figures["joined"] == len(venue.venue.symbols)
    assert len(found.of(Fetch)) == len(venue.venue.symbols) + 1
    assert min(figures.values()) > 0


def test_missing_update_ids_are_a_new_snapshot_of_that_symbol_alone(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        found = begun(venue, socket)
        before = len(found.of(Resync))
        venue.do("skip", channel="book", symbol="BTCUSDT")
        found.until(lambda one: len(one.of(Resync)) > before)
        found.more(100)
        finish(venue, found)
    compare(found, Truth(tmp_path / "truth.jsonl", connection=1))
    assert [(one.symbol, one.cause) for one in found.of(Resync)[before:]] == [("BTCUSDT", "sequence")]


def test_an_announced_end_is_reported(tmp_path: Path) -> None:
    with binance(tmp_path) as (venue, socket):
        found = Decoding(socket, Binance(), venue.rest_url)
        found.subscribe([Stream("trade", "BTCUSDT")])
        found.more()
        venue.do("session_end", lead_s=0.2)
        found.until(lambda one: bool(one.of(Ending)))
        found.to_the_end()
    assert compare(found, Truth(tmp_path / "truth.jsonl", connection=1))["trade"] > 0


@pytest.mark.parametrize("seed", [1, 2])
def test_after_every_fault_our_decoder_agrees_with_the_truth(seed: int, tmp_path: Path) -> None:
    with binance(tmp_path, rate=1500, seed=seed) as (venue, socket):
        found = begun(venue, socket)
        misbehave(venue, found, "BTCUSDT", random.Random(seed))
        finish(venue, found)
    figures = compare(found, Truth(tmp_path / "truth.jsonl", connection=1))
    assert min(figures.values()) > 0
    assert len(found.unreadable) >= 3


def test_pongs_to_pings_between_fragments_do_not_count(tmp_path: Path) -> None:
    with binance(tmp_path, rate=1500) as (venue, socket):
        found = begun(venue, socket)
        venue.do("fragment", largest=40)
        found.until(lambda _: venue.venue.clients[1].controls > 100).more()
        beat_s = venue.venue._second_s
        found.until(lambda _: venue.venue._second_s > beat_s).more()  # the venue counts the frames of clients then
        finish(venue, found)
    assert found.unreadable == []
