"""A test client of Bitfinex, written from its documentation alone: frames by chanId, the book, its checksum."""

import json
import time
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from support.simulator.client import LIMIT_S

SEQ_ALL, OB_CHECKSUM, TIMESTAMP = 65536, 131072, 32768


class Text(str):
    """A number with the text of the wire."""


def parse(frame: str | bytes) -> Any:
    """Return a message with its numbers as text."""
    return json.loads(frame, parse_float=Text, parse_int=Text)


def send(socket: ClientConnection, **request: object) -> None:
    """Send an event."""
    socket.send(json.dumps(request))


def configure(socket: ClientConnection, flags: int = SEQ_ALL | OB_CHECKSUM) -> None:
    """Set the flags."""
    send(socket, event="conf", flags=flags)


def subscribe(socket: ClientConnection, channel: str, symbol: str = "tBTCUSD", **more: str) -> None:
    """Subscribe to a channel."""
    send(socket, event="subscribe", channel=channel, symbol=symbol, **more)


def read_until(socket: ClientConnection, enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Return messages up to the first that satisfies the condition."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Any] = []
    while not enough(messages):
        messages.append(parse(socket.recv(timeout=max(0.01, deadline - time.monotonic()))))
    return messages


def drain(socket: ClientConnection) -> list[Any]:
    """Return all messages until the connection ends."""
    messages: list[Any] = []
    while True:
        try:
            messages.append(parse(socket.recv(timeout=LIMIT_S)))
        except ConnectionClosed:
            return messages


def events(messages: list[Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of that event."""
    return [one for one in messages if isinstance(one, dict) and one.get("event") == name]


def arrays(messages: list[Any]) -> list[list[Any]]:
    """Return the frames of channels."""
    return [one for one in messages if isinstance(one, list)]


def tagged(messages: list[Any], *tags: str) -> list[list[Any]]:
    """Return the frames with one of these words at index 1."""
    return [one for one in arrays(messages) if one[1] in tags]


class Book:
    """The book of one P0 channel."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, tuple[str, str]] = {}
        self.asks: dict[Decimal, tuple[str, str]] = {}
        self.deletes = 0

    def apply(self, payload: list[Any]) -> None:
        """Apply a snapshot or an update; a deleted level must exist."""
        if payload and isinstance(payload[0], list):
            self.bids.clear()
            self.asks.clear()
            for entry in payload:
                self.apply(entry)
            return
        price, count, amount = payload
        side = self.bids if Decimal(amount) > 0 else self.asks
        if int(count) == 0:
            assert amount in ("1", "-1")
            del side[Decimal(price)]
            self.deletes += 1
        else:
            side[Decimal(price)] = (price, amount)

    @property
    def checksum(self) -> int:
        """Return the signed CRC-32 of the best 25 levels, bid and ask in turn."""
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)[:25]]
        asks = [self.asks[price] for price in sorted(self.asks)[:25]]
        parts = []
        for rank in range(25):
            parts += [*bids[rank]] if rank < len(bids) else []
            parts += [*asks[rank]] if rank < len(asks) else []
        unsigned = zlib.crc32(":".join(parts).encode())
        return unsigned - 2**32 if unsigned >= 2**31 else unsigned
