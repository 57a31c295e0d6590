"""One WebSocket connection: opened and closed by websocket-client, read by our frame reader."""

import errno
import socket
import ssl
from collections.abc import Callable
from functools import partial

import websocket

from recorder.errors import Closed, ConnectFailed
from recorder.frames import CLOSE, PING, FrameReader, Oversized
from recorder.log import get_logger

_CONNECT_TIMEOUT_S = 10.0
_SEND_TIMEOUT_S = 5.0
_RECEIVE_BUFFER = 4 << 20  # rides out a pause of ours without the venue noticing

_log = get_logger(__name__)
_TIMEOUTS = (TimeoutError, ssl.SSLWantReadError)


def _socket_options() -> list[tuple[int, int, int]]:
    """Keepalive and a user timeout: the kernel finds a dead peer in ten seconds even where we only read."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER),
    ]
    for name, value in (("TCP_KEEPIDLE", 4), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000)):
        if hasattr(socket, name):  # macOS names them otherwise; silence is found by pings there
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class Connection:
    """An open connection. Only its own thread may use it."""

    def __init__(self, url: str, max_frame_bytes: int, user_agent: str) -> None:
        """Resolve, connect and shake hands. TLS is verified against the system's authorities, always.

        Raises:
            ConnectFailed: with `retry_after_s` where the venue named a time.
        """
        try:
            self._ws = websocket.create_connection(
                url,
                timeout=_CONNECT_TIMEOUT_S,
                header={"User-Agent": user_agent},
                sockopt=_socket_options(),
                sslopt={"context": ssl.create_default_context()} if url.startswith("wss:") else None,
                skip_utf8_validation=True,
                enable_multithread=False,
                redirect_limit=0,  # a redirect could lead away from TLS
            )
        except websocket.WebSocketBadStatusException as error:
            raise Unwelcome(error) from error
        except (OSError, websocket.WebSocketException, ValueError) as error:
            raise ConnectFailed(f"{type(error).__name__}: {error}") from error
        if self._ws.sock is None:
            raise ConnectFailed("the handshake left no socket")
        self._socket: socket.socket = self._ws.sock
        self._reader = FrameReader(max_frame_bytes)
        self._ended: Closed | None = None

    def receive(self, timeout_s: float) -> list[bytes | Oversized] | None:
        """Wait for bytes and return the complete messages in them; answer pings.

        Returns:
            None when nothing at all came in time; else the messages, perhaps none.

        Raises:
            Closed: the session has ended.
        """
        if self._ended is not None:
            raise self._ended
        self._socket.settimeout(timeout_s)
        try:
            count = self._socket.recv_into(self._reader.room())
        except _TIMEOUTS:
            return None
        except OSError as error:
            raise Closed(f"{errno.errorcode.get(error.errno or 0, type(error).__name__)}: {error}") from error
        if count == 0:
            raise Closed("the other side ended the connection without a close frame")
        messages, controls = self._reader.received(count)
        for opcode, payload in controls:
            if opcode == PING:
                self._send(partial(self._ws.pong, payload))
            elif opcode == CLOSE:  # what came with it counts first; the next call tells of the end
                self._ended = _closed_by(payload)
        return messages

    def send(self, text: str) -> None:
        """Send a text frame.

        Raises:
            Closed: it could not be sent.
        """
        self._send(partial(self._ws.send, text))

    def ping(self) -> None:
        """Send a protocol ping."""
        self._send(partial(self._ws.ping, b"tapedeck"))

    def _send(self, action: Callable[[], object]) -> None:
        self._socket.settimeout(_SEND_TIMEOUT_S)
        try:
            action()
        except (OSError, websocket.WebSocketException) as error:
            raise Closed(f"cannot send: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Say goodbye without waiting for the answer."""
        try:
            self._socket.settimeout(0.2)
            self._ws.send_close()
            self._socket.shutdown(socket.SHUT_RDWR)
        except (OSError, websocket.WebSocketException) as error:
            _log.debug("connection.close", error=str(error))  # the other side was faster
        self._socket.close()


def _closed_by(payload: bytes) -> Closed:
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
    return Closed(f"close frame {code} {payload[2:].decode(errors='replace')}".rstrip())


class Unwelcome(ConnectFailed):
    """The venue answered the handshake with an HTTP status; it may name the time to come back."""

    def __init__(self, error: websocket.WebSocketBadStatusException) -> None:
        super().__init__(f"the venue answered HTTP {error.status_code}")
        retry_after = (error.resp_headers or {}).get("retry-after", "")
        self.retry_after_s = float(retry_after) if retry_after.isdecimal() else 0.0
