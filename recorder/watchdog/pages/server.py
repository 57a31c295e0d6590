"""The HTTP answers of the watchdog, on loopback only: /health, /critical, /metrics.

Every answer is made of the last round, so that nothing that hangs can delay it. A request has a bounded size and a
deadline, and at most a few are served at a time.
"""

import io
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import msgspec

from recorder.errors import ConfigError
from recorder.process.log import get_logger
from recorder.process.threads import Part
from recorder.settings import WatchdogSettings
from recorder.watchdog import verdicts
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.round import Snapshot

REQUEST_BYTES = 8192
REQUEST_S = 3.0  # for all of a request, and for all of an answer
MOST_AT_ONCE = 16
_PATHS = ("/health", "/critical", "/metrics")
_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_JSON = "application/json; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"
_NOT_READY = b'{"error": "the first round is not over"}\n'
_UNKNOWN = b'{"error": "there are /health, /critical and /metrics"}\n'

_log = get_logger(__name__)


class Pages:
    """Makes the answers."""

    def __init__(
        self, settings: WatchdogSettings, latest: Callable[[], Snapshot | None], marks: Callable[[], Marks] = Marks
    ) -> None:
        self._settings = settings
        self._latest = latest
        self._marks = marks
        self._counts = dict.fromkeys((*_PATHS, "other"), 0)
        self._lock = threading.Lock()

    def answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Return status, type and body of the answer to a path."""
        make = {"/health": self._health, "/critical": self._critical, "/metrics": self._metrics}.get(path)
        with self._lock:
            self._counts[path if make is not None else "other"] += 1
        if make is None:
            return HTTPStatus.NOT_FOUND, _JSON, _UNKNOWN
        snapshot = self._latest()
        if snapshot is None:
            return HTTPStatus.SERVICE_UNAVAILABLE, _JSON, _NOT_READY
        return make(snapshot)

    def counts(self) -> dict[str, int]:
        """Return the number of answers by path."""
        with self._lock:
            return dict(self._counts)

    def _health(self, snapshot: Snapshot) -> tuple[HTTPStatus, str, bytes]:
        page = verdicts.health(snapshot.evidence, snapshot.held, self._settings, time.monotonic(), self._marks())
        return _status(page.recording), _JSON, _encoded(page)

    def _critical(self, snapshot: Snapshot) -> tuple[HTTPStatus, str, bytes]:
        page = verdicts.critical(snapshot.evidence, self._settings, time.monotonic())
        return _status(not page.critical), _JSON, _encoded(page)

    def _metrics(self, snapshot: Snapshot) -> tuple[HTTPStatus, str, bytes]:
        return HTTPStatus.OK, _METRICS, snapshot.metrics


def _status(good: bool) -> HTTPStatus:
    return HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE


def _encoded(page: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(page), indent=1) + b"\n"


class Server(ThreadingHTTPServer):
    """Listens on loopback.

    Raises:
        ConfigError: the port is in use.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, port: int, pages: Pages) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise ConfigError(
                f"port {port} of the watchdog cannot be used ({error.strerror}); set watchdog.port or port_base"
            ) from None

    def server_bind(self) -> None:
        """Bind without a look-up of the name of this machine, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def part(self) -> Part:
        """Return a part that serves until it is stopped."""

        def body(stop: threading.Event) -> None:
            thread = threading.Thread(target=self.serve_forever, args=(0.2,), name="http.accept")
            thread.start()
            while not stop.wait(1.0) and thread.is_alive():
                pass
            self.shutdown()
            thread.join()
            self.server_close()

        return body

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve in a thread; what comes beyond a few at once is closed."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._free.release()
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Log a connection that failed: usually the client went away."""
        _log.debug("http.failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection with one request."""

    server_version = "tapedeck"
    sys_version = ""
    timeout = REQUEST_S

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BytesIO(_head(self.connection))

    def do_GET(self) -> None:
        """Answer with the body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer without it."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        host = (self.headers.get("Host") or "localhost").rpartition(":")
        name = host[0] if host[1] and host[2].isdigit() else host[1].join((host[0], host[2]))
        if name.lower() not in _HOSTS:  # a page in a browser of this machine may make its name lead here
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
            return
        status, kind, body = cast(Server, self.server).pages.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing for each request: it is counted."""


def _head(connection: socket.socket) -> bytes:
    """Return a request up to its empty line; nothing where that is not within its time and size."""
    until_s = time.monotonic() + REQUEST_S
    head = b""
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        left_s = until_s - time.monotonic()
        if left_s <= 0 or len(head) >= REQUEST_BYTES:
            return b""
        connection.settimeout(left_s)
        try:
            more = connection.recv(REQUEST_BYTES - len(head))
        except OSError:
            return b""
        if not more:
            return b""
        head += more
    connection.settimeout(REQUEST_S)
    return head
