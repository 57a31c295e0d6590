"""REST answers that no service should send: each is one RestError. Also proxies and authorities. Real sockets."""

import os
import random
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from support.machine.certificates import own_authority
from support.misbehaving_rest import Answer, RestServer, response, rest_server

import recorder.rest.client
from recorder.clock import SystemClock
from recorder.errors import ConfigError, RestError, RestInvalidResponse, RestUnavailable
from recorder.instruments.catalog import CatalogFile, Listings, fetch_listings
from recorder.rest.client import RestClient
from recorder.venues import VENUES
from recorder.venues.base import RestLimits

ONCE = RestLimits(per_s=1000, burst=1000, attempts=1, failures_to_open=10**6)


def client(url: str, stop: threading.Event | None = None, ca_file: Path | None = None) -> RestClient:
    return RestClient("venue", url, ONCE, "test", stop or threading.Event(), SystemClock(), random.Random(1), ca_file)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


BODIES = {
    "nested arrays": b"[" * 100_000,
    "nested arrays that end": b"[" * 100_000 + b"]" * 100_000,
    "nested objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested below the limit of Python": b"[" * 900 + b"]" * 900,
    "a number of a million digits": b"[" + b"9" * 1_000_000 + b"]",
    "a huge exponent": b'{"result": 1e999999999}',
    "a number": b"7",
    "a text": b'"x"',
    "null": b"null",
    "an object of another shape": b'{"result": {"a": [1, {"b": null}]}}',
    "a list of another shape": b'[{"symbol": {}}, 7, null, [[[]]]]',
    "half a surrogate": b'["\\ud800"]',
    "bytes that are no text": b'["\xff\xfe"]',
    "NaN": b"[NaN]",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("name", sorted(VENUES))
def test_no_body_makes_anything_but_a_rest_error_of_a_listing(name: str, body: bytes) -> None:
    with rest_server(response("200 OK", body)) as server, pytest.raises(RestError):
        fetch_listings(client(server.url), VENUES[name]())


@pytest.mark.parametrize("kind", ["nested arrays", "nested objects", "nested arrays that end"])
def test_nested_json_of_any_depth_is_an_invalid_answer(kind: str) -> None:
    with rest_server(response("200 OK", BODIES[kind])) as server, pytest.raises(RestInvalidResponse, match="not JSON"):
        client(server.url).get("/")


def test_any_trouble_of_a_catalog_means_that_the_list_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venue = VENUES["coinbase"]()

    def broken(_body: bytes) -> list[object]:
        raise ArithmeticError("a fault in a listing")

    with rest_server(response("200 OK", BODIES["nested arrays"])) as server:
        own = client(server.url)
        file = CatalogFile(tmp_path, "coinbase", server.url)
        assert Listings(own, venue, file, SystemClock())() is None
        monkeypatch.setattr(own, "get", lambda _path: broken(b""))
        assert Listings(own, venue, file, SystemClock())() is None


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"{", b"7"])
def test_a_damaged_file_of_a_catalog_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "listings").mkdir()
    (tmp_path / "listings" / "kraken.json").write_bytes(content)
    assert CatalogFile(tmp_path, "kraken", "https://example.org").read() is None


HEADS = (
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 99999999999999999999 x\r\n\r\n",
    b"HTTP/1.1 abc x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\n[",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n[",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n[]",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: \xff\r\n\r\n[]",
    b"HTTP/1.1 302 Found\r\nLocation: \xff://\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 No\r\nWWW-Authenticate: \xff\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 x\r\nRetry-After: " + b"9" * 5000 + b"\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"",
)


@pytest.mark.parametrize("head", HEADS, ids=range(len(HEADS)))
def test_no_head_makes_anything_but_a_rest_error(head: bytes) -> None:
    with rest_server(head) as server, pytest.raises(RestError):
        client(server.url).get("/")


def test_no_random_bytes_make_anything_but_a_rest_error() -> None:
    rng = random.Random(3)
    starts = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 ", b""]
    answers = [rng.choice(starts) + rng.randbytes(rng.randrange(1, 200)) for _ in range(100)]
    with rest_server(*answers) as server:
        own = client(server.url)
        for _ in answers:
            with pytest.raises(RestError):
                own.get("/")


def test_a_server_that_says_continue_for_ever_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.rest.client, "ANSWER_S", 1.0)

    def on_and_on(connection: socket.socket, end: threading.Event) -> None:
        while not end.is_set():
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")

    with rest_server(on_and_on) as server, pytest.raises(RestUnavailable):
        client(server.url).once("/")


@pytest.mark.parametrize("header", ["999999999", "99999999999999999999", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_huge_retry_after_silences_rest_for_fifteen_minutes_at_most(header: str) -> None:
    with rest_server(response("429 Slow", b"", f"Retry-After: {header}")) as server:
        own = client(server.url)
        own.once("/")
        with pytest.raises(RestUnavailable, match=r"its budget allows it in (900|899) s"):
            own.once("/")


def drip(connection: socket.socket, end: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not end.wait(0.05):
        connection.sendall(b"x")


def _silent(_connection: socket.socket, end: threading.Event) -> None:
    end.wait(30)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("answer", [drip, _silent], ids=["drips", "is silent"])
def test_a_proxy_is_under_the_same_deadline_and_the_same_stop(
    scheme: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder.rest.client, "ANSWER_S", 1.0)
    with rest_server(answer) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        began_s = time.monotonic()
        with pytest.raises(RestUnavailable, match="does not answer"):
            client(f"{scheme}://venue.invalid").once("/")
        assert 0.9 < time.monotonic() - began_s < 4.0
        assert proxy.requests[0].startswith("CONNECT venue.invalid:443" if scheme == "https" else "GET http://venue")
        monkeypatch.setattr(recorder.rest.client, "ANSWER_S", 30.0)
        stop = threading.Event()
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        began_s = time.monotonic()
        with pytest.raises(RestUnavailable, match="the program stops"):
            client(f"{scheme}://venue.invalid", stop).once("/")
        assert time.monotonic() - began_s < 10.0
        timer.join()


class TlsRestServer(RestServer):
    """The same over TLS."""

    context: ssl.SSLContext

    def _serve(self, connection: socket.socket) -> None:
        try:
            super()._serve(self.context.wrap_socket(connection, server_side=True))
        except OSError:  # the client does not trust us
            connection.close()


def test_a_service_behind_an_own_authority_is_trusted_by_the_setting_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, context = own_authority(tmp_path)
    server = TlsRestServer([response(body=b"[1]")])
    server.context = context
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        url = server.url.replace("http", "https", 1)
        assert client(url, ca_file=authority).get("/").body == b"[1]"
        with pytest.raises(RestUnavailable, match="SSLCertVerificationError"):
            client(url).get("/")
        # A variable that only requests knows would make REST and WebSocket trust different authorities.
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
        with pytest.raises(RestUnavailable, match="SSLCertVerificationError"):
            client(url).get("/")
    finally:
        server.end()
        thread.join(10)
        server.close()
    with pytest.raises(ConfigError, match=r"ca_file: .*gone\.pem cannot be used"):
        client(url, ca_file=tmp_path / "gone.pem")
