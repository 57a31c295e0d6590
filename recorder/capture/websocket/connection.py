"""One WebSocket connection: opened by our handshake, written by websocket-client, read by our frame reader."""

import errno
import select
import socket
import ssl
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import websocket

from recorder.capture.websocket.frames import CLOSE, PING, PONG, FrameReader, Oversized
from recorder.capture.websocket.handshake import open_socket
from recorder.clock import Clock
from recorder.errors import Closed, ConfigError, ConnectFailed
from recorder.process.deadline import Deadline, Stopped
from recorder.process.log import get_logger

HANDSHAKE_S = 10.0
"""The longest time from the look-up of the name to the end of the HTTP answer, however steadily bytes arrive."""
_SEND_TIMEOUT_S = 5.0
_RECEIVE_BUFFER = 4 << 20  # holds what arrives while this process pauses

_log = get_logger(__name__)
_TIMEOUTS = (TimeoutError, ssl.SSLWantReadError)


def _socket_options() -> list[tuple[int, int, int]]:
    """Return the options for keepalive and user timeout: the kernel detects a dead peer within ten seconds."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER),
    ]
    for name, value in (("TCP_KEEPIDLE", 4), ("TCP_KEEPINTVL", 2), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 10_000)):
        if hasattr(socket, name):  # macOS has other names; there pings detect silence
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


class Connection:
    """An open connection. Only its own thread may use it.

    Attributes:
        pongs: How many protocol pongs have come.
    """

    def __init__(
        self,
        url: str,
        max_frame_bytes: int,
        user_agent: str,
        ca_file: Path | None,
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        """Resolve, connect and shake hands. TLS is always verified.

        Args:
            url: Of the endpoint.
            max_frame_bytes: The longest message.
            user_agent: The User-Agent header.
            ca_file: PEM file of the authorities to trust; None: those of the system.
            clock: For the deadline.
            stop: Ends the attempt.

        Raises:
            ConnectFailed: as HandshakeRejected where the venue answered with an HTTP status.
        """
        limit = Deadline(stop, clock, HANDSHAKE_S)
        try:
            self._socket = open_socket(url, user_agent, ca_file, _socket_options(), clock, limit)
        except Stopped:
            raise ConnectFailed("the program stops") from None
        except (OSError, ValueError) as error:
            raise ConnectFailed(f"{type(error).__name__}: {error}") from error
        except ConfigError as error:  # the file was there when the program started
            raise ConnectFailed(str(error)) from error
        self._ws = websocket.WebSocket(enable_multithread=False, skip_utf8_validation=True)
        self._ws.sock, self._ws.connected = self._socket, True
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._reader = FrameReader(max_frame_bytes)
        self._ended: Closed | None = None
        self.pongs = 0

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
            elif opcode == PONG:
                self.pongs += 1
            elif opcode == CLOSE:  # the messages before it count; the next call raises
                self._ended = _closed_by(payload)
        return messages

    def readable(self) -> bool:
        """Return whether more has arrived than was read."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(0))

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
        """Send a close frame without waiting for the answer, and close the socket."""
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
