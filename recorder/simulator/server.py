"""The socket loop of a fake venue: one thread, one selector, every connection under full control.

The venue itself (`App`) is told of requests and messages, and queues bytes on connections; only this loop
touches sockets. Other threads reach the venue through `call`.
"""

import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol, TypeVar

from recorder.clock import Clock, SystemClock
from recorder.errors import ConfigError
from recorder.simulator import wire
from recorder.simulator.connection import Connection
from recorder.simulator.wire import BadRequestError, Request, Response

HOST = "127.0.0.1"  # a fake venue is for this machine only
_IDLE_S = 0.05
_READ = 1 << 16
_PARTING_S = 10.0  # what an orderly end waits for the client, in seconds of this machine whatever the venue's clock is

T = TypeVar("T")


class App(Protocol):
    """What is served."""

    def handshake(self, request: Request) -> Response | None:
        """An answer that refuses the websocket, or None to accept it."""
        ...

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None: ...
    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None: ...
    def closed(self, connection: Connection, why: str, now_ns: int) -> None: ...
    def http(self, request: Request, now_ns: int) -> Response: ...

    def advance(self, now_ns: int, now_s: float) -> float:
        """Do what is due.

        Returns:
            Seconds until there is something to do again.
        """
        ...

    def before_writes(self) -> None: ...
    def after_writes(self, now_ns: int, now_s: float) -> None: ...


class Server:
    """Serves one `App` on a loopback port."""

    def __init__(self, app: App, port: int = 0, clock: Clock | None = None) -> None:
        self._app = app
        self._wanted_port = port
        self._clock = clock or SystemClock()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: int | None = None
        self._count = 0
        self.port = 0
        self.connections: dict[int, Connection] = {}
        self._parting: dict[Connection, float] = {}  # ended by us and not yet by the client: until when

    def listen(self) -> int:
        """Take the port, and say which.

        Raises:
            ConfigError: the port is taken.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._wanted_port))
        except OSError as error:
            listener.close()
            raise ConfigError(f"simulator: port {self._wanted_port} on {HOST}: {error.strerror}") from error
        listener.listen(128)
        listener.setblocking(False)
        self._listener = listener
        self.port = listener.getsockname()[1]
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        return int(self.port)

    @property
    def url(self) -> str:
        """Where the websocket is."""
        return f"ws://{HOST}:{self.port}"

    @property
    def rest_url(self) -> str:
        """Where REST is."""
        return f"http://{HOST}:{self.port}"

    def call(self, function: Callable[[], T], timeout_s: float = 10.0) -> T:
        """Run a function in the venue's thread and give its result; from that thread itself, directly."""
        if self._thread == threading.get_ident():
            return function()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # handed to the caller, whose error it is
                future.set_exception(error)

        self._calls.put(run)
        self._wake_out.send(b"!")
        return future.result(timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Serve until told to stop; `listen` comes first."""
        self._thread = threading.get_ident()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        wait_s = 0.0
        try:
            while not stop.is_set():
                self._turn(wait_s)
                wait_s = self._advance()
        finally:
            for connection in list(self.connections.values()):
                connection.finish()
                self._forget(connection, "stop")
            for connection in self._parting:
                connection.sock.close()
            self._app.after_writes(self._clock.wall_ns(), self._clock.monotonic_s())
            self._selector.close()
            self._listener.close()
            self._wake_in.close()
            self._wake_out.close()

    def _turn(self, wait_s: float) -> None:
        for key, mask in self._selector.select(min(wait_s, _IDLE_S)):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._wake_in:
                self._wake_in.recv(_READ)
            elif mask & selectors.EVENT_READ:
                self._read(key.data)
        while not self._calls.empty():
            self._calls.get()()
        self._sweep()

    def _advance(self) -> float:
        now_s = self._clock.monotonic_s()
        wait_s = self._app.advance(self._clock.wall_ns(), now_s)
        self._app.before_writes()
        for connection in list(self.connections.values()):
            if connection.over:
                continue
            if connection.pending:
                self._write(connection, now_s)
                if connection.pending and connection.pace is not None:
                    wait_s = min(wait_s, max(0.001, connection.pace.next_s - now_s))
            if connection.ending and not connection.pending and not connection.over:
                self._part(connection)
        for connection in [one for one, until_s in self._parting.items() if time.monotonic() > until_s]:
            self._leave(connection)
        self._app.after_writes(self._clock.wall_ns(), now_s)
        self._sweep()
        return wait_s

    def _sweep(self) -> None:
        for connection in list(self.connections.values()):
            if connection.over:
                self._forget(connection, "server")

    def _accept(self) -> None:
        self._sweep()  # the new socket may get the number of one closed in this turn
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client left before we looked
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._count += 1
        connection = Connection(sock, self._count)
        connection.opened_s = self._clock.monotonic_s()
        self.connections[sock.fileno()] = connection
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _part(self, connection: Connection) -> None:
        """End in order: were a word of the client left unread, the system would reset the connection, and with that
        take away what the client has not read yet, though the truth says that it was sent.
        """
        connection.part()
        self._forget(connection, "server")
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        self._parting[connection] = time.monotonic() + _PARTING_S

    def _leave(self, connection: Connection) -> None:
        del self._parting[connection]
        self._selector.unregister(connection.sock)
        connection.sock.close()

    def _read(self, connection: Connection) -> None:
        if connection in self._parting:
            try:
                if not connection.sock.recv(_READ):
                    self._leave(connection)
            except OSError:
                self._leave(connection)
            return
        if connection.over:
            return
        if connection.half_open:
            # Nobody reads it, so it would stay readable for ever: look at writability of nothing instead.
            self._selector.unregister(connection.sock)
            return
        try:
            data = connection.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection, "reset by client")
            return
        if not data:
            self._end(connection, "closed by client")
            return
        connection.received += data
        try:
            self._understand(connection)
        except BadRequestError:
            self._end(connection, "protocol error of client")

    def _understand(self, connection: Connection) -> None:
        now_ns = self._clock.wall_ns()
        if not connection.websocket:
            request = wire.read_request(connection.received)
            if request is None:
                return
            if not request.upgrades:
                connection.raw(self._app.http(request, now_ns).encode())
                connection.ending = True
                return
            refusal = self._app.handshake(request)
            if refusal is not None:
                connection.raw(refusal.encode())
                connection.ending = True
                return
            connection.raw(wire.accept(request))
            connection.websocket = True
            self._app.opened(connection, request, now_ns)
        for opcode, payload in wire.read_frames(connection.received, connection.parts):
            if opcode == wire.TEXT:
                self._app.message(connection, payload, now_ns)
            elif opcode == wire.PING:
                connection.controls += 1
                connection.raw(wire.frame(payload, wire.PONG))
            elif opcode == wire.PONG:
                connection.controls += 1
                connection.pong = payload
            elif opcode == wire.CLOSE:
                connection.raw(wire.frame(payload, wire.CLOSE))
                connection.ending = True

    def _write(self, connection: Connection, now_s: float) -> None:
        try:
            blocked = connection.flush(now_s)
        except OSError:
            self._end(connection, "reset by client")
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
        key = self._selector.get_map().get(connection.sock)
        if key is not None and key.events != events:
            self._selector.modify(connection.sock, events, connection)

    def _end(self, connection: Connection, why: str) -> None:
        if not connection.over:
            connection.finish()
        self._forget(connection, why)

    def _forget(self, connection: Connection, why: str) -> None:
        for number, known in list(self.connections.items()):
            if known is connection:
                del self.connections[number]
                if number in self._selector.get_map():
                    self._selector.unregister(number)
        if connection.websocket:
            self._app.closed(connection, why, self._clock.wall_ns())
            connection.websocket = False
