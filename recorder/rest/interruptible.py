"""Connections whose waits end when the program stops, and when the time for an answer is over.

The timeout of a socket starts again with every byte and does not see a stop. A stop would wait up to 10 s for a
connect, 10 s for a TLS handshake and 30 s for the next byte of an answer, which is longer than a program has to stop.
So each of these waits is cut into short ones; measured on loopback, a stop ends every one of them within 0.2 s, and a
connect within a second.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from recorder.clock import Clock
from recorder.process.deadline import SLICE_S, Deadline, Stopped

_CONNECT_SLICE_S = 1.0  # each slice is a new attempt: the first packet is repeated after a second in any case

_T = TypeVar("_T")


_current: ContextVar[Deadline] = ContextVar("deadline")  # of the request that this thread makes


@contextmanager
def deadline(stop: threading.Event, clock: Clock, seconds: float) -> Iterator[None]:
    """End the request that this thread makes in the block at a stop, or after so many seconds."""
    token = _current.set(Deadline(stop, clock, seconds))
    try:
        yield
    finally:
        _current.reset(token)


def _in_slices(own: socket.socket, work: Callable[[], _T]) -> _T:
    limit_s = own.gettimeout()
    own.settimeout(SLICE_S)
    try:
        return _current.get().wait(limit_s, work)
    finally:
        own.settimeout(limit_s)


class PlainSocket(socket.socket):
    """A TCP socket whose reads end with the request."""

    def recv_into(self, *arguments: Any) -> int:
        return _in_slices(self, lambda: super(PlainSocket, self).recv_into(*arguments))

    def recv(self, *arguments: Any) -> bytes:  # TLS inside TLS, of a proxy, reads so
        return _in_slices(self, lambda: super(PlainSocket, self).recv(*arguments))


class TlsSocket(ssl.SSLSocket):
    """A TLS socket whose handshake and reads end with the request; a context makes it as its `sslsocket_class`."""

    def recv_into(self, *arguments: Any) -> int:
        return _in_slices(self, lambda: super(TlsSocket, self).recv_into(*arguments))

    def recv(self, *arguments: Any) -> bytes:
        return _in_slices(self, lambda: super(TlsSocket, self).recv(*arguments))

    def do_handshake(self, block: bool = False) -> None:
        try:
            _in_slices(self, lambda: super(TlsSocket, self).do_handshake(block))
        except Stopped:
            self.close()  # the ssl module closes only after its own errors
            raise


class _Connection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        limit_s, self.timeout = self.timeout, _CONNECT_SLICE_S
        assert isinstance(limit_s, int | float)  # the client sets a timeout for every request
        try:
            connected = _current.get().wait(limit_s, self._connect_once)
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "connect timed out") from error
        finally:
            self.timeout = limit_s
        own = PlainSocket(fileno=connected.detach())
        own.settimeout(limit_s)
        return own

    def _connect_once(self) -> socket.socket:
        try:
            return super()._new_conn()
        except NewConnectionError:  # a kind of ConnectTimeoutError: repeated at once, it would keep a core busy
            raise
        except ConnectTimeoutError as error:
            raise TimeoutError from error


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TlsPool}
"""Pool classes by scheme, in the form that urllib3 expects."""
