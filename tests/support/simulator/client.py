"""Test clients of the simulated venues, with the public `websockets` library and books written from documentation."""

import json
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from websockets.sync.client import ClientConnection, connect

from recorder.clock import SystemClock

Message = dict[str, Any]

LIMIT_S = 30.0


class FastClock(SystemClock):
    """A clock whose durations run ten times as fast, so that a venue acts ten times per second instead of once."""

    def monotonic_s(self) -> float:
        return time.monotonic() * 10


class HurriedClock(SystemClock):
    """A clock whose durations run a hundred times as fast, so that a minute without a pong takes 0.6 s."""

    def monotonic_s(self) -> float:
        return time.monotonic() * 100


@contextmanager
def client(url: str) -> Iterator[ClientConnection]:
    """Return a client that accepts frames of any size and sends no pings of its own."""
    with connect(url, max_size=None, ping_interval=None, close_timeout=1, compression=None) as socket:
        yield socket


def ask(url: str) -> tuple[int, bytes]:
    """Return status and body of a REST request."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def get(url: str) -> Any:
    """Return the JSON of a REST answer; a status other than 2xx raises `HTTPError`."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


def parse(text: str | bytes) -> Message:
    """Return a message with its numbers as the text of the wire."""
    message: Message = json.loads(text, parse_float=str)
    return message


def read_until(socket: ClientConnection, enough: Callable[[list[Message]], bool]) -> list[Message]:
    """Return messages up to the first that satisfies the condition."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Message] = []
    while not enough(messages):
        messages.append(parse(socket.recv(timeout=max(0.01, deadline - time.monotonic()))))
    return messages


def coinbase_subscribe(socket: ClientConnection, *channels: str, symbols: tuple[str, ...] = ("BTC-USD",)) -> None:
    """Subscribe at Coinbase."""
    socket.send(json.dumps({"type": "subscribe", "product_ids": symbols, "channels": channels}))


def kraken_subscribe(
    socket: ClientConnection, channel: str, *, symbols: tuple[str, ...] = ("BTC/USD",), **params: object
) -> None:
    """Subscribe at Kraken."""
    body = {"method": "subscribe", "params": {"channel": channel, "symbol": symbols, **params}, "req_id": 7}
    socket.send(json.dumps(body))


class KrakenBook:
    """The book of Kraken and its checksum by its documentation, from the text of the wire."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"bids": {}, "asks": {}}

    def apply(self, message: Message) -> bool:
        """Apply a message and return whether its checksum is right."""
        (data,) = message["data"]
        if message["type"] == "snapshot":
            self.sides = {"bids": {}, "asks": {}}
        for name, levels in self.sides.items():
            for level in data[name]:
                if Decimal(level["qty"]) == 0:
                    levels.pop(Decimal(level["price"]), None)
                else:
                    levels[Decimal(level["price"])] = (level["price"], level["qty"])
            for price in sorted(levels, reverse=name == "bids")[self.depth :]:
                del levels[price]
        text = ""
        for name in ("asks", "bids"):
            for price in sorted(self.sides[name], reverse=name == "bids")[:10]:
                text += "".join(part.replace(".", "").lstrip("0") for part in self.sides[name][price])
        return zlib.crc32(text.encode()) == int(data["checksum"])


class CoinbaseBook:
    """The book of Coinbase: absolute sizes, where zero deletes."""

    def __init__(self) -> None:
        self.buy: dict[Decimal, Decimal] = {}
        self.sell: dict[Decimal, Decimal] = {}

    def apply(self, message: Message) -> None:
        """Apply a snapshot or an l2update."""
        if message["type"] == "snapshot":
            self.buy = {Decimal(price): Decimal(size) for price, size in message["bids"]}
            self.sell = {Decimal(price): Decimal(size) for price, size in message["asks"]}
            return
        for side, price, size in message["changes"]:
            levels = self.buy if side == "buy" else self.sell
            levels[Decimal(price)] = Decimal(size)
            if not Decimal(size):
                del levels[Decimal(price)]

    @property
    def touch(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        """Return the best bid and its size, the best ask and its size."""
        bid, ask = max(self.buy), min(self.sell)
        return bid, self.buy[bid], ask, self.sell[ask]
