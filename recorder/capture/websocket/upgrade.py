"""The opening handshake of a WebSocket as text: our request, and what the other side answers. Pure.

Source: RFC 6455 section 4. An answer is what any program on the other side may send, so each way of being wrong has
its reason, which names what came.
"""

import base64
import hashlib
import string
from typing import NamedTuple, Self
from urllib.parse import quote, urlsplit

from recorder.backoff import retry_after_s
from recorder.errors import ConnectFailed

HEAD_MAX = 16 << 10
"""Bytes of the longest answer that is read."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PREFIX = b"HTTP/1."
_SHOWN = 60  # bytes of a wrong answer that the reason repeats


class HandshakeRejected(ConnectFailed):
    """The venue answered the handshake with an HTTP status; it may name the time to come back.

    Attributes:
        retry_after_s: Seconds that the venue asks us to wait; 0 where it names none.
    """

    def __init__(self, status: int, retry_after_s: float) -> None:
        super().__init__(f"the venue answered HTTP {status}")
        self.retry_after_s = retry_after_s


class Endpoint(NamedTuple):
    """The address of a WebSocket."""

    secure: bool
    host: str
    port: int
    resource: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: it is not the address of a WebSocket.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{url} is not an address of the form ws://host/path or wss://host/path")
        secure = parts.scheme == "wss"
        resource = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
        return cls(secure, host, parts.port or (443 if secure else 80), quote(resource, safe=string.punctuation))

    @property
    def authority(self) -> str:
        """The host as headers name it, with a port that is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def request(endpoint: Endpoint, key: bytes, user_agent: str) -> bytes:
    """Return the request to open a WebSocket.

    Args:
        endpoint: Where.
        key: 16 random bytes.
        user_agent: The User-Agent header.
    """
    origin = f"{'https' if endpoint.secure else 'http'}://{endpoint.authority}"
    lines = (
        f"GET {endpoint.resource} HTTP/1.1",
        f"Host: {endpoint.authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Origin: {origin}",
        f"Sec-WebSocket-Key: {base64.b64encode(key).decode()}",
        "Sec-WebSocket-Version: 13",
        f"User-Agent: {' '.join(user_agent.split())}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def complete(head: bytes | bytearray) -> bool:
    """Return whether these are all bytes of an answer before its body.

    Raises:
        ConnectFailed: it is no HTTP, or longer than HEAD_MAX.
    """
    begun = len(head) >= len(_PREFIX) or head.endswith(b"\n")
    if begun and not head.startswith(_PREFIX):
        raise ConnectFailed(f"the other side speaks no HTTP: {_shown(head)}")
    if len(head) > HEAD_MAX:
        raise ConnectFailed(f"the answer to the handshake is longer than {HEAD_MAX >> 10} KiB")
    return head.endswith((b"\r\n\r\n", b"\n\n"))


def status_of(head: bytes | bytearray) -> int:
    """Return the HTTP status of an answer.

    Raises:
        ConnectFailed: it has none.
    """
    line = bytes(head).split(b"\n", 1)[0]
    words = line.split(None, 2)
    if len(words) < 2 or not words[1].isdigit() or len(words[1]) != 3:
        raise ConnectFailed(f"the answer to the handshake has no HTTP status: {_shown(line)}")
    return int(words[1])


def check(head: bytes | bytearray, key: bytes, wall_ns: int) -> None:
    """Accept an answer that opens the WebSocket.

    Args:
        head: The answer up to its blank line.
        key: As in the request.
        wall_ns: The time now.

    Raises:
        HandshakeRejected: the status is not 101.
        ConnectFailed: the answer does not follow the protocol.
    """
    status = status_of(head)
    headers = _headers(head)
    if status != 101:
        raise HandshakeRejected(status, retry_after_s(headers.get("retry-after"), wall_ns) or 0.0)
    accept = base64.b64encode(hashlib.sha1(base64.b64encode(key) + _GUID, usedforsecurity=False).digest()).decode()
    if "websocket" not in _tokens(headers, "upgrade") or "upgrade" not in _tokens(headers, "connection"):
        raise ConnectFailed("the other side answered HTTP 101, but not the upgrade to a WebSocket")
    if headers.get("sec-websocket-accept") != accept:
        raise ConnectFailed("the other side answered HTTP 101, but not to our key")


def _headers(head: bytes | bytearray) -> dict[str, str]:
    """Return the headers by lower-case name, the last of each; lines that are none are left out."""
    lines = (line.partition(":") for line in head.decode("latin-1").split("\n")[1:])
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def _tokens(headers: dict[str, str], name: str) -> list[str]:
    return [token.strip().lower() for token in headers.get(name, "").split(",")]


def _shown(data: bytes | bytearray) -> str:
    return ascii(bytes(data[:_SHOWN]).decode("latin-1"))
