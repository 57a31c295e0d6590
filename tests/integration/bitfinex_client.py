"""A client of Bitfinex for tests, from its documentation alone: frames by chanId, the book, its checksum."""

import json
import time
import zlib
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from simulator_client import LIMIT_S
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

SEQ_ALL, OB_CHECKSUM, TIMESTAMP = 65536, 131072, 32768


class Text(str):
    """A number as it stands on the wire."""


def parse(frame: str | bytes) -> Any:
    """A message with its numbers as text."""
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
    """Messages up to the one that makes it enough."""
    deadline = time.monotonic() + LIMIT_S
    messages: list[Any] = []
    while not enough(messages):
        messages.append(parse(socket.recv(timeout=max(0.01, deadline - time.monotonic()))))
    return messages


def drain(socket: ClientConnection) -> list[Any]:
    """Whatever still comes until the connection ends."""
    messages: list[Any] = []
    while True:
        try:
            messages.append(parse(socket.recv(timeout=LIMIT_S)))
        except ConnectionClosed:
            return messages


def events(messages: list[Any], name: str) -> list[dict[str, Any]]:
    """Objects of that event."""
    return [one for one in messages if isinstance(one, dict) and one.get("event") == name]


def arrays(messages: list[Any]) -> list[list[Any]]:
    """Frames of channels."""
    return [one for one in messages if isinstance(one, list)]


def tagged(messages: list[Any], *tags: str) -> list[list[Any]]:
    """Frames with one of these words at index 1."""
    return [one for one in arrays(messages) if one[1] in tags]


class Book:
    """The book of one P0 channel."""

    def __init__(self) -> None:
        self.bids: dict[Decimal, tuple[str, str]] = {}
        self.asks: dict[Decimal, tuple[str, str]] = {}
        self.deletes = 0

    def apply(self, payload: list[Any]) -> None:
        """Apply a snapshot or an update; a delete must name a level that is there."""
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
        """CRC-32 of the 25 best of each side in turn, signed."""
        bids = [self.bids[price] for price in sorted(self.bids, reverse=True)[:25]]
        asks = [self.asks[price] for price in sorted(self.asks)[:25]]
        parts = []
        for rank in range(25):
            parts += [*bids[rank]] if rank < len(bids) else []
            parts += [*asks[rank]] if rank < len(asks) else []
        unsigned = zlib.crc32(":".join(parts).encode())
        return unsigned - 2**32 if unsigned >= 2**31 else unsigned
