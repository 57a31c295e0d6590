"""Every fault on request is visible on the wire, and the truth log has what was really sent."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import (
    FastClock,
    KrakenBook,
    client,
    coinbase_subscribe,
    kraken_subscribe,
    parse,
    read_until,
)
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection

from recorder.appliance.processes import wait_until
from recorder.errors import ConfigError
from recorder.simulator.actions import Argument
from recorder.simulator.malformed import KINDS, malformed_frame
from recorder.simulator.running import Running, running
from recorder.truth import Closed, Line, MalformedItem, Reset, Sent, TradeItem, read_truth


def ids_of(messages: list[dict[str, Any]]) -> list[int]:
    """Return the trade ids of either venue in the order of the wire."""
    found = [one["trade_id"] for one in messages if one.get("type") in ("match", "last_match")]
    for one in messages:
        if one.get("channel") == "trade":
            found += [row["trade_id"] for row in one["data"]]
    return found


def subscribe_trades(venue: Running, socket: Any) -> None:
    if venue.venue.name == "kraken":
        kraken_subscribe(socket, "trade")
    else:
        coinbase_subscribe(socket, "matches")


def wait_for(truth: Callable[[], bool]) -> None:
    """Wait until a condition of another thread holds."""
    assert wait_until(truth, 5.0, pause_s=0.01), "it never came true"


def drain(socket: ClientConnection, silence_s: float = 5.0) -> list[str | bytes]:
    """Return all messages until the connection ends, or none arrives for that long."""
    frames: list[str | bytes] = []
    while True:
        try:
            frames.append(socket.recv(timeout=silence_s))
        except (ConnectionClosed, TimeoutError):
            return frames


def sent_numbers(lines: list[Line]) -> list[int]:
    return [number for line in lines if isinstance(line, Sent) for a, b in line.n for number in range(a, b + 1)]


BOTH = pytest.mark.parametrize("name", ["coinbase", "kraken"])


@BOTH
def test_the_truth_equals_what_a_client_received(name: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running(name, truth=path, rate=2000, seed=2) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        messages = read_until(socket, lambda seen: len(ids_of(seen)) > 60)
        venue.do("close", how="frame")
        messages += [parse(frame) for frame in drain(socket)]
    lines = list(read_truth(path))
    trades = {line.n: line.id for line in lines if isinstance(line, TradeItem)}
    assert [trades[number] for number in sent_numbers(lines)] == ids_of(messages)


@pytest.mark.parametrize("how", ["rst", "fin", "torn"])
def test_an_abrupt_close_ends_the_connection_without_a_close_frame(how: str) -> None:
    with running("kraken", rate=50) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        read_until(socket, lambda seen: bool(ids_of(seen)))
        assert venue.do("close", how=how) == {"connections": 1}
        drain(socket)
        with pytest.raises(ConnectionClosedError) as ended:
            socket.recv(timeout=5)
    assert ended.value.rcvd is None


def test_a_close_frame_loses_nothing_that_was_sent_though_the_client_still_sends(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("kraken", truth=path, rate=2000, seed=2) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        messages = read_until(socket, lambda seen: bool(ids_of(seen)))
        before = venue.venue.sent_messages
        wait_for(lambda: venue.venue.sent_messages > before + 100)  # more than the client reads ahead
        venue.do("oversized", megabytes=0.5)
        wait_for(lambda: venue.server.call(lambda: not venue.venue.clients[1].pending))

        def end() -> None:
            """In the thread of the venue, which reads no more of this connection before it closes."""
            kraken_subscribe(socket, "ticker")
            venue.do("close", how="frame")

        venue.server.call(end)
        frames = drain(socket)
        messages += [parse(frame) for frame in frames if len(frame) < 500_000]
    lines = list(read_truth(path))
    trades = {line.n: line.id for line in lines if isinstance(line, TradeItem)}
    assert [trades[number] for number in sent_numbers(lines) if number in trades] == ids_of(messages)
    assert max(len(frame) for frame in frames) >= 500_000


def test_a_half_open_connection_is_silent_even_to_pings_but_stays_open(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("coinbase", truth=path, rate=200) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        read_until(socket, lambda seen: len(ids_of(seen)) > 3)
        venue.do("half_open")
        pong = socket.ping()
        drain(socket, 0.7)
        assert not pong.is_set()
        assert len(venue.venue.clients) == 1
    assert [line.why for line in read_truth(path) if isinstance(line, Closed)] == ["stop"]


def test_a_freeze_of_one_symbol_leaves_the_others_heartbeats_and_pongs() -> None:
    with running("coinbase", rate=60, clock=FastClock()) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "matches", "heartbeat", symbols=("BTC-USD", "ETH-USD"))
        read_until(socket, lambda seen: len(ids_of(seen)) > 5)
        venue.do("freeze", symbol="BTC-USD")
        pong = socket.ping()
        later = read_until(socket, lambda seen: sum(one["type"] == "heartbeat" for one in seen) >= 4)
        assert pong.wait(5)
        settled = later[len(later) // 2 :]
        assert {one["product_id"] for one in settled if one["type"] == "match"} == {"ETH-USD"}
        assert {one["product_id"] for one in settled if one["type"] == "heartbeat"} == {"BTC-USD", "ETH-USD"}
        assert venue.do("heal") == {"rules": 1}
        read_until(socket, lambda seen: any(one.get("product_id") == "BTC-USD" and "side" in one for one in seen))


@BOTH
def test_skipped_repeated_and_reordered_trades_are_so_on_the_wire(name: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running(name, truth=path, rate=800, seed=9) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        symbol = next(iter(venue.venue.symbols))

        def steps_after(action: str, **arguments: Argument) -> list[int]:
            ids = ids_of(read_until(socket, lambda seen: len(ids_of(seen)) > 3))
            venue.do(action, symbol=symbol, **arguments)
            deadline = time.monotonic() + 5
            while True:
                assert time.monotonic() < deadline
                ids += ids_of([parse(socket.recv(timeout=5))])
                steps = [b - a for a, b in pairwise(ids)]
                odd = [step for step in steps if step != 1]
                if odd and len(steps) > 12 and steps[-3:] == [1, 1, 1]:
                    return odd

        assert steps_after("skip", times=3) == [4]
        assert steps_after("repeat", times=1) == [0]
        assert steps_after("reorder", times=1) == [2, -1, 2]
    trades = [line for line in read_truth(path) if isinstance(line, TradeItem)]
    assert sum(line.held == "skip" for line in trades) == 3
    assert sum(line.again for line in trades) == (1 if name == "kraken" else 2)  # and last_match at Coinbase


@BOTH
def test_reset_trade_ids_restart_and_the_truth_log_has_the_reset(name: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running(name, truth=path, rate=300) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        read_until(socket, lambda seen: bool(ids_of(seen)))
        symbol = next(iter(venue.venue.symbols))
        venue.do("reset_ids", symbol=symbol, first=1)
        ids = ids_of(read_until(socket, lambda seen: 2 in ids_of(seen)))
    assert ids[ids.index(1) :] == list(range(1, ids[-1] + 1))
    assert [line.id for line in read_truth(path) if isinstance(line, Reset)] == [1]


@BOTH
def test_past_trades_are_published_again_after_a_reconnect(name: str) -> None:
    with running(name, rate=800) as venue:
        with client(venue.url) as socket:
            subscribe_trades(venue, socket)
            before = ids_of(read_until(socket, lambda seen: len(ids_of(seen)) > 20))
        venue.do("republish", count=400)  # more than happen while a busy machine connects
        with client(venue.url) as socket:
            subscribe_trades(venue, socket)
            after = ids_of(read_until(socket, lambda seen: max(ids_of(seen)[1:], default=0) > before[-1]))
    fresh = after[1:] if name == "coinbase" else after  # it begins with last_match
    assert fresh == list(range(fresh[0], fresh[0] + len(fresh)))
    assert len(set(fresh) & set(before)) > 5


def test_a_wrong_checksum_comes_once_or_until_healed() -> None:
    with running("kraken", rate=500) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", depth=10)
        book = KrakenBook(10)

        def verdicts(count: int) -> list[bool]:
            books: list[bool] = []
            while len(books) < count:
                message = parse(socket.recv(timeout=5))
                if message.get("channel") == "book":
                    books.append(book.apply(message))
            return books

        assert all(verdicts(10))
        venue.do("checksum", times=1)
        assert verdicts(60).count(False) == 1
        venue.do("checksum")
        assert verdicts(60)[-10:] == [False] * 10
        venue.do("heal", what="checksum")
        assert verdicts(60)[-10:] == [True] * 10


def test_a_skipped_book_update_breaks_the_next_checksums_of_the_touch() -> None:
    with running("kraken", rate=800, seed=3) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", depth=10)
        read_until(socket, lambda seen: len(seen) > 5)
        book = KrakenBook(10)
        venue.do("skip", channel="book", symbol="BTC/USD", times=5)
        kraken_subscribe(socket, "trade", symbols=("BTC/USD",))
        messages = read_until(socket, lambda seen: len(seen) > 150)
        assert not all(book.apply(one) for one in messages if one.get("channel") == "book")


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_frames_are_sent_as_they_are_and_the_connection_lives(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("kraken", truth=path, rate=1) as venue, client(venue.url) as socket:
        wait_for(lambda: len(venue.venue.clients) == 1)
        venue.do("malformed", kind=kind)
        received = []
        while malformed_frame(kind) not in received:
            received.append(bytes(socket.recv(timeout=5, decode=False)))
        pong = socket.ping()
        assert pong.wait(5)
    assert [line.kind for line in read_truth(path) if isinstance(line, MalformedItem)] == [kind]


def test_a_malformed_frame_instead_of_a_trade_leaves_an_id_missing(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("kraken", truth=path, rate=300) as venue, client(venue.url) as socket:
        subscribe_trades(venue, socket)
        read_until(socket, lambda seen: bool(ids_of(seen)))
        venue.do("malformed", kind="truncated", instead=True, symbol="BTC/USD")
        frames = [bytes(socket.recv(timeout=5, decode=False)) for _ in range(20)]
    assert sum(frame.endswith(b'"price":7757') for frame in frames) == 1
    lines = list(read_truth(path))
    replaced = {line.n for line in lines if isinstance(line, TradeItem) and line.held == "replace"}
    assert replaced
    assert not replaced & set(sent_numbers(lines))


def test_an_oversized_frame_of_the_asked_size_arrives() -> None:
    with running("coinbase", rate=1) as venue, client(venue.url) as socket:
        wait_for(lambda: len(venue.venue.clients) == 1)
        venue.do("oversized", megabytes=3)
        assert len(socket.recv(timeout=5)) > 3_000_000


@BOTH
def test_a_subscription_is_refused_on_request_and_accepted_afterwards(name: str) -> None:
    with running(name, rate=100) as venue, client(venue.url) as socket:
        venue.do("refuse", channel="trade", times=1, reason="not today")
        subscribe_trades(venue, socket)
        messages = read_until(socket, lambda seen: "not today" in json.dumps(seen))
        assert not ids_of(messages)
        subscribe_trades(venue, socket)
        read_until(socket, lambda seen: bool(ids_of(seen)))


def test_slow_sending_holds_the_messages_back() -> None:
    with running("kraken", rate=200) as venue, client(venue.url) as socket:
        kraken_subscribe(socket, "book", depth=100)
        read_until(socket, lambda seen: len(seen) > 10)
        venue.do("slow", chunk=50, every_s=0.02)
        started = time.monotonic()
        seen = 0
        while time.monotonic() - started < 0.6:
            seen += len(socket.recv(timeout=5))
        assert seen < 10_000
        venue.do("slow", chunk=0)
        book = read_until(socket, lambda seen: len(seen) > 30)
    assert all("channel" in one for one in book)


def test_fragmented_messages_with_pings_between_arrive_complete() -> None:
    with running("kraken", rate=300) as venue, client(venue.url) as socket:
        wait_for(lambda: len(venue.venue.clients) == 1)
        venue.do("fragment", largest=7, pings=True)
        kraken_subscribe(socket, "book", depth=25)
        book = KrakenBook(25)
        for message in read_until(socket, lambda seen: len(seen) > 60):
            assert message.get("channel") != "book" or book.apply(message)


def test_a_burst_comes_beyond_the_rate() -> None:
    with running("coinbase", rate=1) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "level2_batch", symbols=tuple(venue.venue.symbols))
        read_until(socket, lambda seen: len(seen) == 7)
        venue.do("burst", events=2000)
        started = time.monotonic()
        read_until(socket, lambda seen: len(seen) > 1500)
        assert time.monotonic() - started < 5


def test_handshakes_are_answered_with_503_as_often_as_asked() -> None:
    with running("kraken", rate=1) as venue:
        venue.do("refuse_handshake", status=503, times=2, retry_after="7")
        for _ in range(2):
            with pytest.raises(InvalidStatus) as refused, client(venue.url):
                pass
            assert refused.value.response.status_code == 503
            assert refused.value.response.headers["Retry-After"] == "7"
        with client(venue.url) as socket:
            assert parse(socket.recv(timeout=5))["channel"] == "status"


WRONG: list[tuple[object, str]] = [
    ({"do": "explode"}, "no action 'explode'"),
    ({"do": "close", "how": "gently"}, "how is one of rst, fin, torn, frame"),
    ({"do": "burst", "events": "many"}, "burst: invalid literal"),
    ({"do": "burst", "speed": 2}, "unexpected keyword argument"),
    ({"do": "freeze", "channel": "ticker"}, "no channel 'ticker'; the channels are: trade, quote, book"),
    (["do"], "Expected `object`"),
]


def test_the_control_endpoint_lists_actions_does_them_and_explains_a_wrong_one() -> None:
    def post(body: object) -> Any:
        request = urllib.request.Request(f"{venue.rest_url}/_control", json.dumps(body).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    with running("kraken", rate=50) as venue, client(venue.url) as socket:
        with urllib.request.urlopen(f"{venue.rest_url}/_control", timeout=5) as answer:
            listed = json.load(answer)
        assert {"close", "half_open", "freeze", "skip", "malformed", "burst", "heal"} <= listed.keys()
        assert post({"do": "status"})["venue"] == "kraken"
        for body, words in WRONG:
            with pytest.raises(urllib.error.HTTPError, match="400") as wrong:
                post(body)
            assert words in wrong.value.read().decode()
        armed = post({"do": "refuse", "channel": "book", "times": 2})["armed"]
        assert [(rule["do"], rule["channel"], rule["left"]) for rule in armed] == [("refuse", "book", 2)]
        assert post({"do": "close", "how": "rst"}) == {"connections": 1}
        drain(socket)
        with pytest.raises(ConnectionClosedError):
            socket.recv(timeout=5)
        with pytest.raises(ConfigError, match="no symbol 'NOPE'"):
            venue.do("skip", symbol="NOPE")
