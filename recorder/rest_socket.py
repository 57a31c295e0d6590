"""Connections whose waits end: at a stop, and at a deadline for the answer as a whole.

A socket's own timeout knows neither: it begins anew with every byte, and blocks through a stop. So a wait here is
made of short ones, with a look at both between them.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from recorder.clock import Clock

_SLICE_S = 0.2

_T = TypeVar("_T")


class Stopped(Exception):
    """The process ends; the wait was given up."""


class Patience:
    """How long the threads of a client still wait; each thread has its own deadline."""

    def __init__(self, stop: threading.Event, clock: Clock) -> None:
        self._stop = stop
        self._clock = clock
        self._local = threading.local()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """What this thread does inside ends within so many seconds."""
        self._local.deadline_s = self._clock.monotonic_s() + seconds
        try:
            yield
        finally:
            self._local.deadline_s = None

    def check(self) -> None:
        """
        Raises:
            Stopped: stop is set.
            TimeoutError: the deadline has passed.
        """
        if self._stop.is_set():
            raise Stopped
        deadline_s: float | None = getattr(self._local, "deadline_s", None)
        if deadline_s is not None and self._clock.monotonic_s() > deadline_s:
            raise TimeoutError("the whole answer took too long")

    def wait(self, own: socket.socket, work: Callable[[], _T]) -> _T:
        """Do `work` on a socket, in slices of its own timeout."""
        timeout_s = own.gettimeout()
        started_s = self._clock.monotonic_s()
        own.settimeout(_SLICE_S)
        try:
            while True:
                self.check()
                try:
                    return work()
                except TimeoutError:
                    if timeout_s is not None and self._clock.monotonic_s() - started_s >= timeout_s:
                        raise
        finally:
            own.settimeout(timeout_s)

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A connection to the first address of a host that takes one; looking the name up cannot be cut short."""
        last: OSError = OSError(f"{host} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            own = _PatientSocket(family, kind, protocol)
            own.patience = self
            try:
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                own.setblocking(False)
                own.connect_ex(address)
                self._until_connected(own, timeout_s)
                own.settimeout(timeout_s)
                return own
            except OSError as error:
                own.close()
                last = error
            except BaseException:
                own.close()
                raise
        raise last

    def _until_connected(self, own: socket.socket, timeout_s: float) -> None:
        started_s = self._clock.monotonic_s()
        while not select.select([], [own], [], _SLICE_S)[1]:
            self.check()
            if self._clock.monotonic_s() - started_s >= timeout_s:
                raise TimeoutError("connect timed out")
        code = own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, "connect failed")


class _PatientSocket(socket.socket):
    patience: Patience

    def recv_into(self, *arguments: Any) -> int:
        return self.patience.wait(self, lambda: super(_PatientSocket, self).recv_into(*arguments))


class _PatientTls(ssl.SSLSocket):
    patience: ClassVar[Patience]  # of a subclass made for one client: the ssl module makes the objects

    def recv_into(self, *arguments: Any) -> int:
        return self.patience.wait(self, lambda: super(_PatientTls, self).recv_into(*arguments))

    def do_handshake(self, block: bool = False) -> None:
        self.patience.wait(self, lambda: super(_PatientTls, self).do_handshake(block))


def tls_context(patience: Patience, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """A context whose connections wait with this patience."""
    context = make()
    context.sslsocket_class = type("PatientTls", (_PatientTls,), {"patience": patience})
    return context


def pools(patience: Patience) -> dict[str, type[HTTPConnectionPool]]:
    """Pool classes by scheme, as urllib3 wants them, whose connections wait with this patience."""

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _open(self, patience)

    class Tls(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _open(self, patience)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _open(connection: HTTPConnection, patience: Patience) -> socket.socket:
    """What `HTTPConnection._new_conn` does, with its errors."""
    timeout_s = connection.timeout
    assert isinstance(timeout_s, int | float)  # the client gives one with every request
    try:
        return patience.connect(connection.host, connection.port, timeout_s)
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "connect timed out") from error
    except OSError as error:
        raise NewConnectionError(connection, str(error)) from error
