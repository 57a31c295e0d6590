"""The simulated OKX sends the messages of the captured one."""

import contextlib
import json
import random
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import FastClock, Message, ask, client, read_until
from support.simulator.decoded import Decoding, Truth, compare, finish, misbehave, streams
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from recorder.events import CHANNELS, Alive, Book, Ending, Refused, Resync, Stream, Trade
from recorder.simulator.running import Running, running
from recorder.venues.base import Venue
from recorder.venues.okx.checksum_2026_06 import OkxUntil202606Decoder
from recorder.venues.okx.stream import Okx

PLAIN = re.compile(r"0|[1-9]\d*|(0|[1-9]\d*)\.\d*[1-9]")  # no trailing zeros, no point without decimals
NOPE = "Wrong URL or channel:books,instId:NO-PE doesn't exist. Please use the correct URL, channel and parameters "
NOPE += "referring to API document."


@contextmanager
def okx(tmp_path: Path, **options: Any) -> Iterator[tuple[Running, ClientConnection]]:
    """Yield the venue and a client."""
    with (
        running("okx", truth=tmp_path / "truth.jsonl", **{"rate": 600, "seed": 4, **options}) as venue,
        client(f"{venue.url}/ws/v5/public") as socket,
    ):
        yield venue, socket


def request(socket: ClientConnection, op: str, *args: tuple[str, str], number: str | None = None) -> None:
    asked = {"op": op, "args": [{"channel": channel, "instId": symbol} for channel, symbol in args]}
    socket.send(json.dumps(asked | ({"id": number} if number else {})))


def of(messages: list[Message], channel: str, symbol: str = "BTC-USDT") -> list[Message]:
    """Return the data messages of one channel."""
    wanted = {"channel": channel, "instId": symbol}
    return [one for one in messages if one.get("arg") == wanted and "data" in one]


def events(messages: list[Message]) -> list[Message]:
    return [one for one in messages if "event" in one]


def get(venue: Running, path: str) -> Any:
    status, body = ask(f"{venue.rest_url}/api/v5/{path}")
    assert status == 200
    answer = json.loads(body)
    assert (answer["code"], answer["msg"]) == ("0", "")
    return answer["data"]


def closing(socket: ClientConnection) -> tuple[int, str]:
    """Read until the venue closes; return the code and reason of the close."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=9)
    return socket.close_code or 0, socket.close_reason or ""


# ---- the socket


def test_messages_have_the_keys_and_numbers_of_the_captured_ones(tmp_path: Path) -> None:
    channels = ("trades", "bbo-tbt", "tickers", "books")
    with okx(tmp_path) as (_, socket):
        request(socket, "subscribe", *((channel, "BTC-USDT") for channel in channels))
        messages = read_until(
            socket, lambda seen: len(of(seen, "books")) > 3 and all(of(seen, one) for one in channels)
        )
    trade, top, ticker, (snapshot, update) = (
        *(of(messages, name)[-1] for name in channels[:3]),
        of(messages, "books")[:2],
    )
    assert [list(one) for one in (trade, top, ticker)] == [["arg", "data"]] * 3
    assert [list(one) for one in (snapshot, update)] == [["arg", "action", "data"]] * 2
    # The keys of captures of 2022-05-13 (tickers), 2025-02 (trades, with later additions) and 2026-08-08 (books).
    keys = {name: list(one["data"][0]) for name, one in zip(channels, (trade, top, ticker, update), strict=True)}
    assert keys == {
        "trades": ["instId", "tradeId", "px", "sz", "side", "ts", "count", "source", "seqId"],
        "bbo-tbt": ["asks", "bids", "ts", "seqId"],
        "tickers": [
            "instType", "instId", "last", "lastSz", "askPx", "askSz", "bidPx", "bidSz", "open24h", "high24h", "low24h",
            "sodUtc0", "sodUtc8", "volCcy24h", "vol24h", "ts",
        ],
        "books": ["asks", "bids", "ts", "checksum", "seqId", "prevSeqId"],
    }  # fmt: skip
    levels = [level for one in (top, snapshot, update) for side in ("asks", "bids") for level in one["data"][0][side]]
    assert len(levels) > 800
    for price, size, dead, orders in levels:
        assert PLAIN.fullmatch(price)
        assert PLAIN.fullmatch(size)
        assert (dead, size == "0") == ("0", orders == "0")
    assert all(PLAIN.fullmatch(ticker["data"][0][name]) for name in keys["tickers"][2:])
    assert abs(int(trade["data"][0]["ts"]) - time.time() * 1000) < 60_000
    assert all(isinstance(update["data"][0][name], int) for name in ("checksum", "seqId", "prevSeqId"))


def test_each_argument_is_answered_alone_and_a_wrong_one_by_a_code_that_names_it(tmp_path: Path) -> None:
    with okx(tmp_path, rate=1) as (_, socket):
        asked = [("trades", "BTC-USDT"), ("books", "NO-PE"), ("books-l2-tbt", "BTC-USDT"), ("books", "BTC-USDT")]
        request(socket, "subscribe", *asked, number="a1")
        answers = events(read_until(socket, lambda seen: len(events(seen)) == 4))
        request(socket, "unsubscribe", ("books", "BTC-USDT"))
        (ended,) = events(read_until(socket, lambda seen: bool(events(seen))))
    name = answers[0]["connId"]
    assert [list(one) for one in answers[:2]] == [
        ["id", "event", "arg", "connId"],
        ["id", "event", "msg", "code", "connId"],
    ]
    assert answers == [
        {"id": "a1", "event": "subscribe", "arg": {"channel": "trades", "instId": "BTC-USDT"}, "connId": name},
        {"id": "a1", "event": "error", "code": "60018", "msg": NOPE, "connId": name},
        {"id": "a1", "event": "error", "code": "60011", "msg": "Please log in", "connId": name},
        {"id": "a1", "event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}, "connId": name},
    ]
    assert ended == {"event": "unsubscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}, "connId": name}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{nonsense", "60012"),
        ('{"op":"subscribe","argss":[]}', "60013"),
        ('{"op":"surprise","args":[{"channel":"trades","instId":"BTC-USDT"}]}', "60019"),
    ],
)
def test_requests_that_are_wrong_are_answered_with_a_code(sent: str, code: str, tmp_path: Path) -> None:
    with okx(tmp_path, rate=1) as (_, socket):
        socket.send(sent)
        (message,) = read_until(socket, lambda seen: len(seen) == 1)
    assert (message["event"], message["code"]) == ("error", code)


def test_the_text_ping_is_answered_by_the_text_pong(tmp_path: Path) -> None:
    with okx(tmp_path, rate=1) as (_, socket):
        socket.send("ping")
        assert socket.recv(timeout=5) == "pong"


def test_a_client_that_is_sent_nothing_for_thirty_seconds_is_closed_and_pings_prevent_it(tmp_path: Path) -> None:
    with okx(tmp_path, rate=1e-9, clock=FastClock()) as (venue, socket), client(venue.url) as pinging:
        deadline = time.monotonic() + 4  # forty seconds by the venue's clock
        while time.monotonic() < deadline and socket.close_code is None:
            pinging.send("ping")
            assert pinging.recv(timeout=5) == "pong"
            with contextlib.suppress(TimeoutError, ConnectionClosed):
                socket.recv(timeout=0.2)
        assert (socket.close_code, socket.close_reason) == (4004, "No data received in 30s")


def test_the_481st_request_of_an_hour_is_refused(tmp_path: Path) -> None:
    with okx(tmp_path, rate=1e-9) as (_, socket):
        for number in range(481):
            request(socket, "unsubscribe", ("trades", "BTC-USDT"), number=str(number))
        answers = read_until(socket, lambda seen: len(seen) == 481)
    assert {one["event"] for one in answers[:480]} == {"unsubscribe"}
    assert (answers[480]["code"], answers[480]["msg"]) == ("60014", "Requests too frequent")


def test_an_upgrade_is_announced_and_then_the_connection_is_cut(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        request(socket, "subscribe", ("trades", "BTC-USDT"))
        venue.do("upgrade", lead_s=0.3)
        (notice,) = [
            one for one in read_until(socket, lambda seen: "notice" in str(seen)) if one.get("event") == "notice"
        ]
        assert (notice["code"], list(notice)) == ("64008", ["event", "code", "msg", "connId"])
        read_until(socket, lambda seen: bool(of(seen, "trades")))
        assert closing(socket) == (1006, "")


# ---- trades


def test_trade_ids_step_by_the_count_of_merged_fills_and_rest_lists_each_fill(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        request(socket, "subscribe", ("trades", "BTC-USDT"))
        trades = [row for one in of(read_until(socket, lambda seen: len(seen) > 120), "trades") for row in one["data"]]
        first = int(trades[0]["tradeId"]) - int(trades[0]["count"]) + 1
        path = "market/history-trades?instId=BTC-USDT&type=1&limit=90"
        rows = get(venue, f"{path}&after={int(trades[-1]['tradeId']) + 1}")
        while int(rows[-1]["tradeId"]) > first:
            rows += get(venue, f"{path}&after={rows[-1]['tradeId']}")
        newest = get(venue, "market/trades?instId=BTC-USDT&limit=500")
        by_time = get(venue, f"market/history-trades?instId=BTC-USDT&type=2&after={trades[-1]['ts']}&limit=5")
    assert all(int(b["tradeId"]) == int(a["tradeId"]) + int(b["count"]) for a, b in pairwise(trades))
    assert {one["count"] for one in trades} == {"1", "2", "3", "5"}
    ids = [int(one["tradeId"]) for one in rows]
    assert ids == list(range(ids[0], ids[0] - len(ids), -1))
    fills = {int(one["tradeId"]): one for one in rows}
    for trade in trades:
        last = int(trade["tradeId"])
        group = [fills[number] for number in range(last - int(trade["count"]) + 1, last + 1)]
        assert sum(Decimal(one["sz"]) for one in group) == Decimal(trade["sz"])
        assert {(one["px"], one["side"], one["ts"]) for one in group} == {(trade["px"], trade["side"], trade["ts"])}
    assert len(newest) > 150
    assert int(newest[0]["tradeId"]) >= ids[0]
    assert all(int(one["ts"]) < int(trades[-1]["ts"]) for one in by_time)


def test_takers_trade_at_the_best_price_of_the_other_side(tmp_path: Path) -> None:
    with okx(tmp_path, rate=1000) as (_, socket):
        request(socket, "subscribe", ("bbo-tbt", "BTC-USDT"), ("trades", "BTC-USDT"))
        messages = read_until(socket, lambda seen: len(of(seen, "trades")) > 80)
    touch: dict[str, str] = {}
    checked = 0
    for message in messages:
        if of([message], "bbo-tbt"):
            (data,) = message["data"]
            touch = {"buy": data["asks"][0][0], "sell": data["bids"][0][0]}
        elif of([message], "trades") and touch:
            (data,) = message["data"]
            assert data["px"] == touch[data["side"]]
            touch = {}  # a taker may trade at further levels; only the first print is at the touch
            checked += 1
    assert checked > 40


# ---- books


class OkxBook:
    """A local book built by the vendor's documentation: texts as received, the chain of ids, the signed CRC-32."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {}
        self.last = -1
        self.resets = self.idle = 0

    def apply(self, message: Message) -> None:
        """Apply a message that continues the chain."""
        (data,) = message["data"]
        if message["action"] == "snapshot":
            assert data["prevSeqId"] == -1
            self.sides = {"bids": {}, "asks": {}}
        else:
            assert data["prevSeqId"] == self.last
            self.resets += data["seqId"] < data["prevSeqId"]
            if data["seqId"] == data["prevSeqId"]:
                assert data["bids"] == data["asks"] == []
                self.idle += 1
        self.last = data["seqId"]
        for name, levels in self.sides.items():
            for price, size, _, _ in data[name]:
                if size == "0":
                    levels.pop(Decimal(price), None)  # it may have come and gone between two messages
                else:
                    levels[Decimal(price)] = (price, size)

    @property
    def checksum(self) -> int:
        bids = [self.sides["bids"][price] for price in sorted(self.sides["bids"], reverse=True)[:25]]
        asks = [self.sides["asks"][price] for price in sorted(self.sides["asks"])[:25]]
        text = ":".join(part for pair in zip(bids, asks, strict=True) for level in pair for part in level)
        number = zlib.crc32(text.encode())
        return number - 2**32 if number >= 2**31 else number


def test_books_are_windows_of_400_levels_chained_by_ids_and_their_checksum_is_zero(tmp_path: Path) -> None:
    with okx(tmp_path, depth=600) as (venue, socket), client(venue.url) as late:  # never below 450 levels
        request(socket, "subscribe", ("books", "BTC-USDT"))
        messages = read_until(socket, lambda seen: len(of(seen, "books")) > 15)
        request(late, "subscribe", ("books", "BTC-USDT"))
        other = of(read_until(late, lambda seen: len(of(seen, "books")) > 15), "books")
        messages += read_until(
            socket, lambda seen: bool(seen) and seen[-1]["data"][0]["seqId"] >= other[-1]["data"][0]["seqId"]
        )
    book = OkxBook()
    deepest: list[int] = []
    moments: dict[int, tuple[dict[Any, Any], dict[Any, Any]]] = {}
    for message in of(messages, "books"):
        book.apply(message)
        deepest.append(max(len(book.sides[name]) for name in ("bids", "asks")))
        assert max(book.sides["bids"]) < min(book.sides["asks"])
        assert message["data"][0]["checksum"] == 0
        moments[book.last] = (dict(book.sides["bids"]), dict(book.sides["asks"]))
    assert set(deepest) == {400}  # a level that leaves the window is deleted
    again = OkxBook()
    for message in other:  # a later client gets the same sequences and holds the same book
        again.apply(message)
        assert moments[again.last] == (again.sides["bids"], again.sides["asks"])


def test_checksums_that_return_are_right_or_wrong_as_asked(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        request(socket, "subscribe", ("books", "BTC-USDT"))
        venue.do("checksum_returns")
        right = of(read_until(socket, lambda seen: len(of(seen, "books")) > 20), "books")
        venue.do("heal")
        venue.do("checksum_returns", right=False)
        wrong = of(read_until(socket, lambda seen: len(of(seen, "books")) > 5), "books")
        venue.do("heal")
        none = of(read_until(socket, lambda seen: len(of(seen, "books")) > 5), "books")
    book = OkxBook()
    verdicts = []
    for message in right + wrong:
        book.apply(message)
        verdicts.append(book.checksum == message["data"][0]["checksum"])
    assert (verdicts[2:21], verdicts[-4:]) == ([True] * 19, [False] * 4)
    assert none[-1]["data"][0]["checksum"] == 0


def test_a_quiet_book_is_confirmed_with_equal_ids_and_maintenance_restarts_the_count(tmp_path: Path) -> None:
    with okx(tmp_path, rate=500) as (venue, socket):
        venue.do("keepalive", every_s=0.3)
        request(socket, "subscribe", ("books", "BTC-USDT"))
        messages = read_until(socket, lambda seen: len(of(seen, "books")) > 3)
        venue.do("rate", per_s=1e-9)
        messages += read_until(
            socket, lambda seen: bool(seen) and seen[-1]["data"][0]["bids"] == seen[-1]["data"][0]["asks"]
        )
        venue.do("maintenance", symbol="BTC-USDT")
        messages += read_until(socket, lambda seen: len(of(seen, "books")) > 1)
        venue.do("rate", per_s=500)
        messages += read_until(socket, lambda seen: len(of(seen, "books")) > 5)
    book = OkxBook()
    for message in of(messages, "books"):
        book.apply(message)
    assert book.idle >= 3
    assert book.resets == 1
    assert book.last < 1_000_000


# ---- REST


def test_rest_lists_instruments_by_kind_with_empty_fields_that_do_not_apply(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        spot, swap = (get(venue, f"public/instruments?instType={kind}") for kind in ("SPOT", "SWAP"))
        one = get(venue, "public/instruments?instType=SPOT&instId=ETH-BTC")
        days = get(venue, "market/tickers?instType=SPOT")
        request(socket, "subscribe", ("books", "ETH-BTC"))
        read_until(socket, lambda seen: bool(of(seen, "books", "ETH-BTC")))
        (book,) = get(venue, "market/books?instId=ETH-BTC&sz=400")
    assert [row["instId"] for row in spot + swap] == list(venue.venue.symbols)
    assert [(row["baseCcy"], row["quoteCcy"], row["tickSz"], row["minSz"]) for row in one] == [
        ("ETH", "BTC", "0.00001", "0.000001")
    ]
    assert [(row["baseCcy"], row["uly"], row["settleCcy"], row["ctValCcy"]) for row in swap] == [
        ("", "BTC-USDT", "USDT", "BTC")
    ]
    assert all(isinstance(value, str) for row in spot + swap for value in row.values())
    assert {row["instId"] for row in days} == {row["instId"] for row in spot}
    assert all(Decimal(row["volCcy24h"]) > 0 for row in days)
    assert min(len(book["bids"]), len(book["asks"])) > 300


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("public/instruments?instType=NOPE", "51000"),
        ("public/instruments?instType=SPOT&instId=NO-PE", "51001"),
        ("market/trades?instId=NO-PE", "51001"),
        ("market/history-trades?instId=BTC-USDT&after=x", "51000"),
    ],
)
def test_rest_errors_have_a_code_and_the_status_200(path: str, code: str, tmp_path: Path) -> None:
    with okx(tmp_path, rate=1) as (venue, _):
        status, body = ask(f"{venue.rest_url}/api/v5/{path}")
    answer = json.loads(body)
    assert (status, answer["code"], answer["data"]) == (200, code, [])


# ---- our decoder


class OkxUntil202606(Okx):
    """OKX as it was while books carried checksums."""

    def decoder(self) -> OkxUntil202606Decoder:
        return OkxUntil202606Decoder()


def begun(venue: Running, socket: ClientConnection, adapter: Venue | None = None) -> Decoding:
    """Return a connection with all streams, whose books have begun."""
    found = Decoding(socket, adapter or Okx(), venue.rest_url)
    found.subscribe(streams(*venue.venue.symbols))
    return found.until(lambda one: sum(book.snapshot for book in one.of(Book)) == len(venue.venue.symbols))


def agrees(found: Decoding, tmp_path: Path) -> dict[str, int]:
    """Return the result of `compare`. The venue must have ended, so that its log is complete."""
    return compare(found, Truth(tmp_path / "truth.jsonl", connection=1))


def test_our_decoder_finds_exactly_the_truth(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        found = begun(venue, socket)
        found.until(lambda one: len(one.of(Trade)) > 300 and len(one.of(Book)) > 60)
        finish(venue, found)
    figures = agrees(found, tmp_path)
    assert min(figures[channel] for channel in CHANNELS) > 0
    assert found.of(Resync) == []
    assert {one.count for one in found.of(Trade)} == {1, 2, 3, 5}


def test_our_decoder_also_reads_tickers_as_quotes(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        found = Decoding(socket, Okx(), venue.rest_url)
        request(socket, "subscribe", ("tickers", "BTC-USDT"))
        found.more(15)
        finish(venue, found)
    assert agrees(found, tmp_path)["quote"] > 10


def test_a_break_in_the_chain_is_a_new_book_of_that_symbol_alone(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        found = begun(venue, socket)
        venue.do("skip", channel="book", symbol="BTC-USDT")
        found.until(lambda one: sum(book.snapshot for book in one.of(Book)) > len(venue.venue.symbols))
        found.more(100)
        finish(venue, found)
    agrees(found, tmp_path)
    assert {(one.symbol, one.cause) for one in found.of(Resync)} == {("BTC-USDT", "sequence")}


def test_maintenance_keepalives_and_the_notice_break_nothing(tmp_path: Path) -> None:
    with okx(tmp_path, rate=400) as (venue, socket):
        venue.do("keepalive", every_s=0.25)
        found = begun(venue, socket)
        venue.do("maintenance")
        found.until(lambda one: sum(book.sequence < 100_000 for book in one.of(Book)) > 10)
        venue.do("rate", per_s=1e-9)
        found.until(lambda one: len({one.stream for one in one.of(Alive) if one.stream}) == len(venue.venue.symbols))
        venue.do("rate", per_s=400)
        venue.do("upgrade", lead_s=0.3)
        found.until(lambda one: bool(one.of(Ending)))
        found.to_the_end()
    agrees(found, tmp_path)
    assert found.of(Resync) == []


def test_checksums_that_return_change_nothing_in_books_that_their_sequence_proves(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        found = begun(venue, socket)
        venue.do("checksum_returns", right=False)
        found.more(200)
        finish(venue, found)
    agrees(found, tmp_path)
    assert found.of(Resync) == []


def test_checksums_were_verified_while_the_venue_gave_them(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        found = begun(venue, socket, OkxUntil202606())
        venue.do("checksum_returns")
        found.until(lambda one: sum(audit.checksums_passed for audit in one.session.audits.values()) > 40)
        assert sum(audit.checksums_failed for audit in found.session.audits.values()) == 0
        assert found.of(Resync) == []
        venue.do("heal")
        venue.do("checksum_returns", right=False)
        found.until(lambda one: sum(audit.checksums_failed for audit in one.session.audits.values()) > 3)
        assert {one.cause for one in found.of(Resync)} == {"checksum"}
        venue.do("heal")
        found.more(50)
        finish(venue, found)
    agrees(found, tmp_path)


def test_a_refusal_names_its_stream(tmp_path: Path) -> None:
    with okx(tmp_path) as (venue, socket):
        venue.do("refuse", channel="book", symbol="ETH-USDT")
        found = Decoding(socket, Okx(), venue.rest_url)
        found.subscribe(streams(*venue.venue.symbols))
        found.until(lambda one: bool(one.of(Refused)))
        finish(venue, found)
    agrees(found, tmp_path)
    assert [one.stream for one in found.of(Refused)] == [Stream("book", "ETH-USDT")]


@pytest.mark.parametrize("seed", [1, 2])
def test_after_every_fault_our_decoder_agrees_with_the_truth(seed: int, tmp_path: Path) -> None:
    with okx(tmp_path, rate=1500, seed=seed) as (venue, socket):
        found = begun(venue, socket)
        misbehave(venue, found, "BTC-USDT", random.Random(seed))
        finish(venue, found)
    figures = agrees(found, tmp_path)
    assert min(figures[channel] for channel in CHANNELS) > 0
    assert len(found.unreadable) >= 3
