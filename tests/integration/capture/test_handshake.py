"""The handshake with servers that never finish it, or answer something else. Real sockets on loopback."""

import contextlib
import itertools
import os
import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.link_rig import TRADES, Peer, Server, linked, until
from support.machine.certificates import own_authority
from support.misbehaving_rest import Answer, rest_server
from websockets.sync.server import serve

from recorder.backoff import WAIT_MAX_S
from recorder.capture.link import Link
from recorder.capture.websocket import connection as opening
from recorder.capture.websocket.connection import Connection
from recorder.capture.websocket.upgrade import HEAD_MAX, HandshakeRejected
from recorder.clock import SystemClock
from recorder.errors import ConnectFailed

DEADLINE_S = 1.0
MARGIN_S = 8.0  # of a busy machine


def connect(url: str, stop: threading.Event | None = None, ca_file: Path | None = None) -> Connection:
    return Connection(
        url.replace("http", "ws", 1), 1 << 20, "tapedeck-test", ca_file, SystemClock(), stop or threading.Event()
    )


def drip(first: bytes, piece: bytes, every_s: float = 0.05) -> Callable[[socket.socket, threading.Event], None]:
    """Return an answer that goes on until the test ends, a piece at a time."""

    def answer(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(first)
        while not end.wait(every_s):
            connection.sendall(piece)

    return answer


def flood(first: bytes, line: Callable[[int], bytes]) -> Callable[[socket.socket, threading.Event], None]:
    """Return an answer that goes on for as long as it is read, as fast as it is read."""

    def answer(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(first)
        for number in itertools.count():
            if end.is_set():
                return
            connection.sendall(line(number))

    return answer


def silent(_connection: socket.socket, end: threading.Event) -> None:
    end.wait(30)


HEAD = b"HTTP/1.1 101 Switching Protocols\r\n"
ENDLESS: dict[str, tuple[Answer, str]] = {
    "a byte now and then": (drip(HEAD + b"X-Filler: ", b"x"), "not complete after 1 s"),
    "nothing": (silent, "not complete after 1 s"),
    "half a head": (drip(HEAD, b""), "not complete after 1 s"),
    "headers without an end": (flood(HEAD, lambda n: b"X-%d: %s\r\n" % (n, b"y" * 1000)), "longer than 16 KiB"),
    "a line without an end": (flood(b"HTTP/1.1 ", lambda _n: b"a" * 65536), "longer than 16 KiB"),
    "one huge header": (HEAD + b"X: " + b"z" * (HEAD_MAX + 1) + b"\r\n\r\n", "longer than 16 KiB"),
}
WRONG: dict[str, tuple[Answer, str]] = {
    "closed at once": (b"", "closed the connection before it answered"),
    "the greeting of another service": (b"SSH-2.0-OpenSSH_9.2\r\n", "speaks no HTTP: 'SSH-2.0'"),
    "bytes": (b"\xff\xfe\x00\x01 abc\r\n\r\n", r"speaks no HTTP: '\\xff"),
    "an empty line": (b"\r\n\r\n", "speaks no HTTP"),
    "no status": (b"HTTP/1.1\r\n\r\n", "has no HTTP status"),
    "a status that is no number": (b"HTTP/1.1 abc x\r\n\r\n", "has no HTTP status"),
    "a status of many digits": (b"HTTP/1.1 " + b"9" * 5000 + b"\r\n\r\n", "has no HTTP status"),
    "no upgrade": (HEAD + b"\r\n", "not the upgrade"),
    "another key": (
        HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: aaaa\r\n\r\n",
        "not to our key",
    ),
    "headers that are none": (b"HTTP/1.1 101 x\r\nno colon here\r\n\r\n", "not the upgrade"),
    "cookies that are none": (
        HEAD + b"Set-Cookie: a=b; domain=\xc3\xa9\r\nSet-Cookie: ;;;=\r\n\r\n",
        "not the upgrade",
    ),
    "a body of 100 GB": (b"HTTP/1.1 503 x\r\nContent-Length: 99999999999\r\n\r\n", "HTTP 503"),
    "a length that is none": (b"HTTP/1.1 503 x\r\nContent-Length: abc\r\n\r\n", "HTTP 503"),
    "a redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", "HTTP 302"),
    "an ordinary page": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP 200"),
    "another alphabet": ("HTTP/1.1 403 Verboten für dich\r\n\r\n".encode("latin-1"), "HTTP 403"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_answer_without_an_end_ends_at_the_deadline_or_at_the_size(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, reason = ENDLESS[kind]
    by_time = reason.startswith("not complete")
    monkeypatch.setattr(opening, "HANDSHAKE_S", DEADLINE_S if by_time else 60.0)
    with rest_server(answer) as server:
        began_s = time.monotonic()
        with pytest.raises(ConnectFailed, match=reason):
            connect(server.url)
        assert not by_time or time.monotonic() - began_s < DEADLINE_S + MARGIN_S


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_answer_is_one_reason(kind: str) -> None:
    answer, reason = WRONG[kind]
    with rest_server(answer) as server, pytest.raises(ConnectFailed, match=reason):
        connect(server.url)


def test_no_bytes_at_all_raise_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", 0.2)
    rng = random.Random(5)
    heads = [HEAD, b"HTTP/1.1 429 x\r\nRetry-After: ", b"HTTP/1.1 ", b""]
    answers = [rng.choice(heads) + rng.randbytes(rng.randrange(200)) + b"\r\n\r\n" for _ in range(150)]
    with rest_server(*answers) as server:
        for _ in answers:
            with pytest.raises(ConnectFailed):
                connect(server.url)


@pytest.mark.parametrize("kind", ["a byte now and then", "nothing"])
def test_a_stop_ends_a_handshake_at_once(kind: str) -> None:
    stop = threading.Event()
    with rest_server(ENDLESS[kind][0]) as server:
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        began_s = time.monotonic()
        with pytest.raises(ConnectFailed, match="the program stops"):
            connect(server.url, stop)
        assert time.monotonic() - began_s < MARGIN_S
        timer.join()


def test_a_tls_handshake_that_stalls_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", DEADLINE_S)
    with rest_server(silent) as server, pytest.raises(ConnectFailed, match="TimeoutError"):
        connect(server.url.replace("http", "https", 1))


def test_what_follows_the_answer_in_one_packet_is_not_lost() -> None:
    def at_once(peer: Peer) -> None:
        peer.send(b"[1]")
        peer.send(b"[2]")
        peer.serve()

    with Server(at_once).running() as url:
        own = connect(url)
        assert received(own, 2) == [b"[1]", b"[2]"]
        own.close()


def received(own: Connection, count: int) -> list[object]:
    """Return the first messages of a connection."""
    messages: list[object] = []
    deadline_s = time.monotonic() + 10
    while len(messages) < count and time.monotonic() < deadline_s:
        messages += own.receive(0.1) or ()
    return messages


def test_a_resolver_that_hangs_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", DEADLINE_S)
    hang = threading.Event()

    def resolve(*_arguments: object, **_more: object) -> list[object]:
        hang.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    began_s = time.monotonic()
    with pytest.raises(ConnectFailed, match="not complete after 1 s"):
        connect("ws://venue.invalid")
    assert time.monotonic() - began_s < DEADLINE_S + MARGIN_S
    hang.set()


def test_an_address_that_drops_packets_leaves_time_for_the_next_and_none_is_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", 3.0)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # on Linux a full queue drops every new connection
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        url = stack.enter_context(Server(Peer.serve).running())
        good = ("127.0.0.1", int(url.rpartition(":")[2]))
        answers = [[full.getsockname(), good], [full.getsockname()], [good]]

        def resolve(*_arguments: object, **_more: object) -> list[object]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in answers.pop(0)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        connect("ws://venue.invalid").close()
        with pytest.raises(ConnectFailed, match="TimeoutError"):
            connect("ws://venue.invalid")
        connect("ws://venue.invalid").close()  # it was resolved again
    assert answers == []


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        ("99999999", WAIT_MAX_S, WAIT_MAX_S),
        ("99999999999999999999", WAIT_MAX_S, WAIT_MAX_S),
        ("1618228675371", 0, 0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", WAIT_MAX_S, WAIT_MAX_S),
        ("1.5", 1.5, 1.5),
        ("nonsense", 0, 0),
        ("-30", 0, 0),
        ("", 0, 0),
    ],
)
def test_a_retry_after_of_any_kind_is_bounded(header: str, least_s: float, most_s: float) -> None:
    answer = f"HTTP/1.1 429 Too Many Requests\r\nRetry-After: {header}\r\nContent-Length: 0\r\n\r\n"
    with rest_server(answer.encode()) as server, pytest.raises(HandshakeRejected, match="HTTP 429") as caught:
        connect(server.url)
    assert least_s <= caught.value.retry_after_s <= most_s


def test_a_link_waits_for_a_huge_retry_after_and_stops_at_once(tmp_path: Path) -> None:
    answer = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 99999999999999999999\r\n\r\n"
    with rest_server(answer) as server, linked(tmp_path / "j", server.url.replace("http", "ws"), TRADES) as running:
        until(lambda: reason(running.link) == "the venue answered HTTP 429")
        assert not running.ended
        running.stop()
    assert running.failure is None
    assert len(server.requests) == 1


def test_the_reason_of_a_handshake_without_an_end_is_in_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", 0.3)
    with (
        rest_server(drip(HEAD, b"x")) as server,
        linked(tmp_path / "j", server.url.replace("http", "ws"), TRADES) as running,
    ):
        until(lambda: re.search("not complete after 0.3 s", reason(running.link)))


def reason(link: Link) -> str:
    failure = link.figures().last_error
    return "" if failure is None else failure.reason


def test_a_venue_behind_an_own_authority_is_trusted_by_the_setting_alone(tmp_path: Path) -> None:
    authority, context = own_authority(tmp_path)
    with serve(lambda connection: connection.send("[1]"), "127.0.0.1", 0, ssl=context) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"wss://127.0.0.1:{server.socket.getsockname()[1]}"
            own = connect(url, ca_file=authority)
            assert received(own, 1) == [b"[1]"]
            own.close()
            with pytest.raises(ConnectFailed, match="certificate verify failed"):
                connect(url)
            with pytest.raises(ConnectFailed, match="name a PEM file"):
                connect(url, ca_file=tmp_path / "gone.pem")
            with pytest.raises(ConnectFailed, match="certificate verify failed") as caught:
                connect(url.replace("127.0.0.1", "localhost"), ca_file=authority)  # not the name it vouches for
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        finally:
            server.shutdown()
            thread.join(10)


def test_a_proxy_of_the_environment_is_used_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "HANDSHAKE_S", DEADLINE_S)
    venue = Server(Peer.serve)
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    with venue.running() as url:
        port = int(url.rpartition(":")[2])

        def tunnel(connection: socket.socket, end: threading.Event) -> None:
            with socket.create_connection(("127.0.0.1", port)) as onward:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                onward.sendall(connection.recv(4096))
                connection.sendall(onward.recv(4096))
                end.wait(10)

        with rest_server(tunnel, b"HTTP/1.1 407 Login\r\n\r\n", drip(b"HTTP/1.1 200 OK\r\nX: ", b"x")) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url.replace("http://", "http://me:secret@"))
            connect("ws://venue.invalid/feed").close()
            with pytest.raises(ConnectFailed, match="the proxy answered HTTP 407"):
                connect("ws://venue.invalid/feed")
            with pytest.raises(ConnectFailed, match="not complete after 1 s"):
                connect("ws://venue.invalid/feed")
        assert proxy.requests[0] == "CONNECT venue.invalid:80 HTTP/1.1"
        assert "Proxy-Authorization: Basic bWU6c2VjcmV0" in proxy.heads[0]
