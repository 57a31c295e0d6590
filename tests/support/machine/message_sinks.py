"""Alerts, and the services that take messages about them: a webhook and an SMTP server on loopback, with faults."""

import base64
import contextlib
import http.server
import itertools
import json
import random
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from recorder.watchdog.alerts import Alert, Severity
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.outbox import Answer, Outbox, State
from recorder.watchdog.delivery.topics import Policy

NO_MARKS = Marks()
AT = 1_700_000_000.0


def alert(
    alert_id: int = 7,
    rule: str = "venue_no_data",
    subject: str = "kraken",
    severity: Severity = "page",
    summary: str = "kraken: no data for 600 s",
    fired_at: float = AT,
) -> Alert:
    """Return an alert that fires."""
    return Alert(alert_id, rule, subject, severity, "firing", summary, 600.0, fired_at - 5, fired_at, None, 1)


def over(one: Alert, at: float) -> Alert:
    """Return the same alert after it was resolved."""
    return Alert(
        one.alert_id, one.rule, one.subject, one.severity, "resolved", one.summary, one.value, one.started_at,
        one.fired_at, at, one.revision + 1,
    )  # fmt: skip


def outbox(
    state: State | None = None,
    *,
    channels: tuple[str, ...] = ("webhook",),
    cooldown_s: float = 900,
    reminder_s: float = 0,
    least: str = "info",
) -> Outbox:
    """Return a queue."""
    policy = Policy(cooldown_s, reminder_s)
    return Outbox(State(known={}) if state is None else state, policy, least, channels, random.Random(1))


def drained(queue: Outbox, channel: str = "webhook") -> list[Message]:
    """Let a channel take all that it may send now."""
    taken = []
    while (entry := queue.next(channel)) is not None:
        queue.begin(entry, channel)
        queue.end(entry, channel, Answer("taken", ""))
        taken.append(entry.message)
    return taken


class Reply(NamedTuple):
    """What a webhook answers."""

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b"ok"
    wait_s: float = 0.0  # before the answer, unless the sink is closed before


class WebhookSink:
    """A service that takes POSTs on loopback."""

    def __init__(self, context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []  # path, headers, body
        self.arrived_s: list[float] = []  # monotonic, of each request
        self.replies: list[Reply] = []  # the next ones; then 200
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self._server = _HttpServer(("127.0.0.1", port), _HttpHandler)
        self._server.sink = self
        self.port = int(self._server.server_address[1])
        scheme = "http"
        if context is not None:
            scheme = "https"
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self.port}/hook/secret"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def bodies(self) -> list[dict[str, Any]]:
        """Return the JSON of every request."""
        return [json.loads(body) for _, _, body in self.requests]

    def wait(self, count: int, within_s: float = 60.0) -> None:
        """Wait until so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= count, within_s), self.requests

    def close(self) -> None:
        """Listen no more."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    sink: WebhookSink

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A client that goes away is part of the tests."""


class _HttpHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        sink = cast(_HttpServer, self.server).sink
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with sink.changed:
            reply = sink.replies.pop(0) if sink.replies else Reply()
            sink.arrived_s.append(time.monotonic())
            sink.requests.append((self.path, dict(self.headers), body))
            sink.changed.notify_all()
        sink.closing.wait(reply.wait_s)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""


@contextlib.contextmanager
def webhook_sink(context: ssl.SSLContext | None = None, port: int = 0) -> Iterator[WebhookSink]:
    """Run a webhook.

    Args:
        context: For TLS.
        port: A fixed one, such as that of a sink that was closed.
    """
    sink = WebhookSink(context, port)
    try:
        yield sink
    finally:
        sink.close()


class MailServer:
    """An SMTP server on loopback that offers STARTTLS and a login, and obeys the protocol as RFC 5321 has it."""

    def __init__(self, context: ssl.SSLContext, *, offers_tls: bool = True, implicit: bool = False) -> None:
        self.context = context
        self.offers_tls = offers_tls
        self.implicit = implicit
        self.login = ("me", "pass word")
        self.mails: list[bytes] = []
        self.plain: list[bytes] = []  # commands that came without TLS
        self.answers: dict[str, bytes] = {}  # instead of the usual one, by command
        self.slow_s = 0.0  # before the answer to the text of a mail
        self.closing = threading.Event()
        self._server = _TcpServer(("127.0.0.1", 0), _SmtpHandler)
        self._server.mail = self
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    mail: MailServer

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """A client that refuses our certificate is part of the tests."""


class _SmtpHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self._server = cast(_TcpServer, self.server).mail
        self._secure = self._known = False
        self._connection: socket.socket = self.request
        try:
            if self._server.implicit:
                self._encrypt()
            self._converse()
        finally:
            self._connection.close()

    def _encrypt(self) -> None:
        self._connection = self._server.context.wrap_socket(self._connection, server_side=True)
        self._secure = True

    def _converse(self) -> None:
        server = self._server
        lines = self._connection.makefile("rb")
        self._say(b"220 test")
        while line := lines.readline():
            words = line.decode("latin-1").strip()
            command = words.split(" ")[0].upper()
            if not self._secure:
                server.plain.append(line)
            if command in server.answers:
                self._say(server.answers[command])
            elif command == "EHLO":
                self._say(b"250-test")
                if server.offers_tls and not self._secure:
                    self._say(b"250-STARTTLS")
                if self._secure:
                    self._say(b"250-AUTH PLAIN")
                self._say(b"250 SIZE 100000")
            elif command == "STARTTLS":
                self._say(b"220 go")
                lines.close()
                self._encrypt()
                lines = self._connection.makefile("rb")
            elif command == "AUTH":
                user, password = base64.b64decode(words.split(" ")[2]).decode().split("\0")[1:]
                self._known = (user, password) == server.login
                self._say(b"235 ok" if self._known else b"535 no")
            elif command == "DATA":
                self._say(b"354 go")
                server.mails.append(b"".join(itertools.takewhile(lambda one: one != b".\r\n", lines)))
                server.closing.wait(server.slow_s)
                self._say(server.answers.get(".", b"250 taken"))
            elif command == "QUIT":
                self._say(b"221 bye")
                break
            else:
                self._say(b"250 ok" if self._known or not self._secure else b"530 log in first")
        lines.close()

    def _say(self, answer: bytes) -> None:
        self._connection.sendall(answer + b"\r\n")


@contextlib.contextmanager
def mail_server(context: ssl.SSLContext, *, offers_tls: bool = True, implicit: bool = False) -> Iterator[MailServer]:
    """Run an SMTP server.

    Args:
        context: For TLS.
        offers_tls: Whether it offers STARTTLS.
        implicit: Whether TLS begins at once.
    """
    server = MailServer(context, offers_tls=offers_tls, implicit=implicit)
    try:
        yield server
    finally:
        server.close()


def wait_until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    until_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < until_s, "it did not come true"
        pause.wait(0.05)
