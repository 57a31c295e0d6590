"""The server side of HTTP/1.1 and RFC 6455 as functions of bytes, without sockets.

It is not a library's because a simulated venue must be able to send what a correct library refuses to send.
"""

import base64
import hashlib
import struct
from http import HTTPStatus
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import msgspec

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_HEAD_LIMIT = 64 * 1024
_BODY_LIMIT = 1024 * 1024


class Request(msgspec.Struct):
    """One HTTP request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case
    body: bytes = b""
    pairs: list[tuple[str, str]] = []  # the query in its order, with every value of a repeated key

    def values(self, name: str) -> list[str]:
        """Return every value of a key of the query."""
        return [value for key, value in self.pairs if key == name]

    @property
    def keeps_alive(self) -> bool:
        """Return whether the client may send another request on this connection."""
        return self.headers.get("connection", "").lower() != "close"

    @property
    def upgrades(self) -> bool:
        """Return whether the client asks for a websocket."""
        return self.headers.get("upgrade", "").lower() == "websocket"


class Response(msgspec.Struct):
    """One HTTP response, and how the server delivers it."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    keep_alive: bool = False  # else the server closes the connection after it
    delay_s: float = 0.0
    never: bool = False  # send nothing, and leave the connection open
    reset: bool = False  # send nothing, and reset the connection

    def encode(self) -> bytes:
        """Return the bytes of the response."""
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        connection = "keep-alive" if self.keep_alive else "close"
        headers = {"Content-Type": "application/json", "Content-Length": str(len(self.body)), "Connection": connection}
        lines += [f"{name}: {value}" for name, value in (headers | self.headers).items()]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class BadRequestError(ValueError):
    """The client broke HTTP or the websocket protocol."""


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """Return one unmasked frame."""
    first = opcode | (0x80 if fin else 0)
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def fragmented(payload: bytes, cuts: list[int], ping: bytes | None = None) -> bytes:
    """Return one text message as frames cut at the given offsets, with a ping after the first if one is given."""
    edges = [0, *cuts, len(payload)]
    parts = []
    for index, (start, end) in enumerate(pairwise(edges)):
        last = index == len(edges) - 2
        parts.append(frame(payload[start:end], TEXT if index == 0 else CONTINUATION, fin=last))
        if ping is not None and index == 0 and not last:
            parts.append(frame(ping, PING))
    return b"".join(parts)


def read_request(buffer: bytearray) -> Request | None:
    """Remove one request from the front of the buffer and return it; None while it is incomplete.

    Raises:
        BadRequestError: the bytes are not HTTP, or the request is too large.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > _HEAD_LIMIT:
            raise BadRequestError("request head too large")
        return None
    first, *rest = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    try:
        method, target, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in rest)}
        size = int(headers.get("content-length", "0"))
    except ValueError as error:
        raise BadRequestError(f"not an HTTP request: {first[:80]!r}") from error
    if not 0 <= size <= _BODY_LIMIT:
        raise BadRequestError("request body too large")
    if len(buffer) < end + 4 + size:
        return None
    body = bytes(buffer[end + 4 : end + 4 + size])
    del buffer[: end + 4 + size]
    url = urlsplit(target)
    pairs = parse_qsl(url.query)
    return Request(method, url.path, dict(pairs), headers, body, pairs)


def accept(request: Request) -> bytes:
    """Return the 101 response to a websocket handshake; it accepts no extension.

    Raises:
        BadRequestError: the key is missing.
    """
    key = request.headers.get("sec-websocket-key")
    if not key:
        raise BadRequestError("handshake without Sec-WebSocket-Key")
    # The protocol prescribes SHA-1; it protects nothing here.
    digest = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + digest + b"\r\n\r\n"
    )


def read_frames(buffer: bytearray, parts: list[bytes]) -> list[tuple[int, bytes]]:
    """Remove all complete client frames from the front of the buffer and return them as (opcode, payload).

    Args:
        buffer: The bytes received so far.
        parts: Keeps the fragments of an unfinished message between calls.

    Raises:
        BadRequestError: a frame is not masked, or too large.
    """
    messages: list[tuple[int, bytes]] = []
    position = 0
    while len(buffer) - position >= 2:
        first, second = buffer[position], buffer[position + 1]
        if not second & 0x80:
            raise BadRequestError("client frame is not masked")
        size, head = second & 0x7F, 2
        if size >= 126:
            head = 4 if size == 126 else 10
            if len(buffer) - position < head:
                break
            size = int.from_bytes(buffer[position + 2 : position + head], "big")
        if size > _BODY_LIMIT:
            raise BadRequestError("client frame too large")
        end = position + head + 4 + size
        if len(buffer) < end:
            break
        mask = bytes(buffer[position + head : position + head + 4])
        payload = _unmask(bytes(buffer[position + head + 4 : end]), mask)
        position = end
        opcode = first & 0x0F
        if opcode >= CLOSE:
            messages.append((opcode, payload))
            continue
        parts.append(payload)
        if first & 0x80:
            messages.append((TEXT, b"".join(parts)))
            parts.clear()
    del buffer[:position]
    return messages


def _unmask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
