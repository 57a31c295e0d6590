"""Many clients of the stream from one process: raw sockets, so that the client costs little beside the server."""

import base64
import json
import os
import selectors
import socket
import struct
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10


def frame(payload: bytes, opcode: int = _TEXT) -> bytes:
    """Return a frame as a client sends it: masked."""
    mask = os.urandom(4)
    size = len(payload)
    head = bytes([0x80 | opcode])
    head += bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
    return head + mask + bytes(byte ^ mask[k % 4] for k, byte in enumerate(payload))


class RawClient:
    """One connection, which keeps what it received.

    Attributes:
        frames: Of each text frame: when its last byte was read (unix seconds), and its text.
        closed: Code with which the server closed it; 0 where it went without one; None while it is open.
    """

    def __init__(self, port: int, *, receive_bytes: int = 0, token: str = "", origin: str = "") -> None:
        """
        Args:
            port: Of the server, on 127.0.0.1.
            receive_bytes: Size of the receive buffer of the kernel; 0 for the usual one.
            token: Sent as Authorization.
            origin: Sent as Origin.
        """
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", port))
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /api/v1/stream HTTP/1.1", f"Host: 127.0.0.1:{port}", "Upgrade: websocket", "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13",
        ]  # fmt: skip
        lines += [f"Authorization: Bearer {token}"] if token else []
        lines += [f"Origin: {origin}"] if origin else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._data = bytearray()
        while b"\r\n\r\n" not in self._data:
            self._read()
        head, _, rest = bytes(self._data).partition(b"\r\n\r\n")
        self.status = int(head.split(b" ", 2)[1])
        self._data = bytearray(rest)
        self.frames: list[tuple[float, str]] = []
        self.closed: int | None = None
        self._parse()

    def send(self, document: Any) -> None:
        """Send a message."""
        self.socket.sendall(frame(json.dumps(document).encode()))

    def subscribe(self, streams: Sequence[dict[str, str]], number: int = 1) -> None:
        """Ask for streams."""
        self.send({"op": "subscribe", "id": number, "streams": list(streams)})

    def receive(self) -> None:
        """Read what is there, or wait for more."""
        if self.closed is None:
            if not self._read():
                self.closed = 0
            self._parse()

    def wait(self, op: str, within_s: float = 20.0, **values: Any) -> dict[str, Any]:
        """Return the next message of a kind with these values, and forget those before it."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            while self.frames:
                message: dict[str, Any] = json.loads(self.frames.pop(0)[1])
                if message["op"] == op and all(message.get(key) == value for key, value in values.items()):
                    return message
            assert self.closed is None, f"closed with {self.closed}"
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            self.receive()
        raise AssertionError(f"no {op} within {within_s} s")

    def wait_closed(self, within_s: float = 20.0) -> int:
        """Return the code with which the server closes it."""
        until = time.monotonic() + within_s
        while self.closed is None and time.monotonic() < until:
            self.socket.settimeout(max(0.01, until - time.monotonic()))
            self.receive()
        assert self.closed is not None
        return self.closed

    def close(self) -> None:
        """End it."""
        self.socket.close()

    def _read(self) -> int:
        try:
            more = self.socket.recv(65_536)
        except ConnectionResetError:
            more = b""
        self._data += more
        return len(more)

    def _parse(self) -> None:
        data = self._data
        while len(data) >= 2:
            size, start = data[1] & 0x7F, 2
            if size == 126:
                if len(data) < 4:
                    return
                size, start = struct.unpack_from("!H", data, 2)[0], 4
            elif size == 127:
                if len(data) < 10:
                    return
                size, start = struct.unpack_from("!Q", data, 2)[0], 10
            if len(data) < start + size:
                return
            opcode, payload = data[0] & 0x0F, bytes(data[start : start + size])
            del data[: start + size]
            if opcode == _TEXT:
                self.frames.append((time.time(), payload.decode()))
            elif opcode == _PING:
                self.socket.sendall(frame(payload, _PONG))
            elif opcode == _CLOSE:
                self.closed = struct.unpack_from("!H", payload)[0] if len(payload) >= 2 else 1005


def receive_all(clients: Sequence[RawClient], seconds: float) -> None:
    """Read from all clients for a time."""
    with selectors.DefaultSelector() as ready:
        for client in clients:
            ready.register(client.socket, selectors.EVENT_READ, client)
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            for key, _ in ready.select(min(left, 0.5)):
                found: RawClient = key.data
                found.receive()
                if found.closed is not None:
                    ready.unregister(found.socket)


def delay_s(received_at: float, message: dict[str, Any]) -> float:
    """Return the seconds from the making of a tick to its arrival, by the clock of this machine."""
    return received_at - datetime.fromisoformat(message["ts"]).timestamp()
