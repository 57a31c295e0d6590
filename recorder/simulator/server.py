"""The socket loop of a simulated venue: one thread and one selector for all its connections.

The loop calls the venue (`App`) with requests and messages, and the venue queues bytes on connections. Only the loop
reads and writes sockets. Other threads reach the venue through `call`.
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

HOST = "127.0.0.1"  # a simulated venue serves this machine only
_IDLE_S = 0.05
_READ = 1 << 16
_PARTING_S = 10.0  # how long a closing connection waits for the client, by this machine's clock and not the venue's

T = TypeVar("T")


class App(Protocol):
    """The application behind a server."""

    def handshake(self, request: Request) -> Response | None:
        """Return an answer that refuses the websocket, or None to accept it."""
        ...

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None: ...
    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None: ...
    def closed(self, connection: Connection, why: str, now_ns: int) -> None: ...
    def http(self, request: Request, now_ns: int) -> Response: ...

    def advance(self, now_ns: int, now_s: float) -> float:
        """Do the work of this moment.

        Returns:
            Seconds until there is work again.
        """
        ...

    def before_writes(self) -> None: ...
    def after_writes(self, now_ns: int, now_s: float) -> None: ...


class HttpOnly:
    """The parts of an `App` that an application without websockets and without work of its own does not need."""

    def handshake(self, request: Request) -> Response | None:
        """Refuse a websocket."""
        return Response(404, b"{}")

    def opened(self, connection: Connection, request: Request, now_ns: int) -> None: ...
    def message(self, connection: Connection, payload: bytes, now_ns: int) -> None: ...
    def closed(self, connection: Connection, why: str, now_ns: int) -> None: ...

    def advance(self, now_ns: int, now_s: float) -> float:
        """Do nothing: all work is a request."""
        return 1.0

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
        self.turned_s = time.monotonic()  # when the loop last turned, on this machine's clock
        self.connections: dict[int, Connection] = {}
        self._late: list[
            tuple[float, Connection, Response]
        ] = []  # answers that are held back, with the time to send them
        self._parting: dict[Connection, float] = {}  # closed by the server and not yet by the client, and its deadline

    def listen(self) -> int:
        """Bind the port and return its number.

        Raises:
            ConfigError: the port is in use.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._wanted_port))
        except OSError as error:
            listener.close()
            raise ConfigError(f"simulator: cannot use port {self._wanted_port} on {HOST}: {error.strerror}") from error
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
        """Return the address of the websocket."""
        return f"ws://{HOST}:{self.port}"

    @property
    def rest_url(self) -> str:
        """Return the address of the REST service."""
        return f"http://{HOST}:{self.port}"

    def call(self, function: Callable[[], T], timeout_s: float = 10.0) -> T:
        """Run a function in the venue's thread and return its result; in that thread, call it directly."""
        if self._thread == threading.get_ident():
            return function()
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # raised in the caller
                future.set_exception(error)

        self._calls.put(run)
        self._wake_out.send(b"!")
        return future.result(timeout_s)

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set. Call `listen` first."""
        self._thread = threading.get_ident()
        self.turned_s = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        wait_s = 0.0
        try:
            while not stop.is_set():
                self.turned_s = time.monotonic()
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
        wait_s = min(wait_s, self._send_late(now_s))
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
        self._sweep()  # the new socket may get the file descriptor of one closed in this turn
        try:
            sock, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client left before it was accepted
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._count += 1
        connection = Connection(sock, self._count)
        connection.opened_s = self._clock.monotonic_s()
        self.connections[sock.fileno()] = connection
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _part(self, connection: Connection) -> None:
        """Close, and read on until the client closes too.

        Closing a socket with unread data resets the connection. The client would then lose data that it has not read
        yet, though the truth log says that it was sent.
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
            # It would stay readable for ever, since it is not read.
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
            self._handle(connection)
        except BadRequestError:
            self._end(connection, "protocol error of client")

    def _answer(self, connection: Connection, response: Response) -> None:
        if response.reset:
            connection.abort()
        elif response.never:
            connection.half_open = True
        elif response.delay_s > 0:
            self._late.append((self._clock.monotonic_s() + response.delay_s, connection, response))
        else:
            connection.raw(response.encode())
            connection.ending = not response.keep_alive

    def _send_late(self, now_s: float) -> float:
        """Queue the answers whose time has come; return the seconds until the next."""
        due = [one for one in self._late if one[0] <= now_s]
        self._late = [one for one in self._late if one[0] > now_s and not one[1].over]
        for _, connection, response in due:
            if not connection.over:
                connection.raw(response.encode())
                connection.ending = not response.keep_alive
        return max(0.001, min(one[0] for one in self._late) - now_s) if self._late else _IDLE_S

    def _handle(self, connection: Connection) -> None:
        now_ns = self._clock.wall_ns()
        if not connection.websocket:
            request = wire.read_request(connection.received)
            if request is None:
                return
            if not request.upgrades:
                self._answer(connection, self._app.http(request, now_ns))
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
