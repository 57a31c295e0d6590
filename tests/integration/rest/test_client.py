"""The REST client against a server that answers badly."""

import contextlib
import email.utils
import gzip
import random
import socket
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.machine.ports import free_port
from support.misbehaving_rest import Answer, RestServer, resident_bytes, response, rest_server

import recorder.rest.client
from recorder.clock import SystemClock
from recorder.errors import RestError, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.rest.client import ANSWER_MAX, RestClient
from recorder.venues.base import RestLimits

PLENTY = RestLimits(per_s=1000, burst=1000)


class NoPause(random.Random):
    """Randomness that makes the pauses between attempts zero."""

    def random(self) -> float:
        return 1.0


def client(url: str, limits: RestLimits = PLENTY, stop: threading.Event | None = None) -> RestClient:
    return RestClient("venue", url, limits, "tapedeck-test", stop or threading.Event(), SystemClock(), NoPause())


@contextmanager
def asked(*answers: Answer) -> Iterator[tuple[RestServer, RestClient]]:
    with rest_server(*answers) as server:
        yield server, client(server.url)


def test_an_answer_is_given_as_it_is() -> None:
    with asked(response(body=b'{"a": 1}')) as (server, own):
        assert own.get("/path?x=1")[:2] == (200, b'{"a": 1}')
    assert server.requests == ["GET /path?x=1 HTTP/1.1"]
    assert "User-Agent: tapedeck-test" in server.heads[0]


def test_a_packed_answer_is_unpacked() -> None:
    body = b"[%s]" % b",".join(b"1" for _ in range(100_000))
    with asked(response("200 OK", gzip.compress(body), "Content-Encoding: gzip")) as (_, own):
        assert own.get("/").body == body


@pytest.mark.parametrize("status", ["429 Too Many Requests", "500 Oh", "502 Bad Gateway", "503 Later", "504 Late"])
def test_a_passing_fault_is_asked_again(status: str) -> None:
    with asked(response(status, b"oh"), response(status, b"oh"), response()) as (server, own):
        assert own.get("/").status == 200
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "403 No", "404 Not Found", "418 Teapot", "422 What"])
def test_a_refusal_is_not_asked_again_and_its_reason_is_in_the_error(status: str) -> None:
    answer = response(status, b'{"message":"no such thing"}')
    reason = f"HTTP {status[:3]}.*no such thing"
    with asked(answer) as (server, own), pytest.raises(RestRefused, match=reason):
        own.get("/")
    assert len(server.requests) == 1


def test_a_redirect_is_refused_and_not_followed() -> None:
    with rest_server(response()) as other, rest_server(response("302 Found", b"", f"Location: {other.url}/")) as server:
        with pytest.raises(RestRefused, match="HTTP 302"):
            client(server.url).get("/")
        assert other.requests == []


def test_after_five_attempts_the_error_has_the_last_reason() -> None:
    with asked(response("503 Later", b"")) as (server, own), pytest.raises(RestUnavailable, match="HTTP 503"):
        own.get("/")
    assert len(server.requests) == PLENTY.attempts == 5


def test_a_retry_after_in_seconds_is_waited_for() -> None:
    with asked(response("429 Slow", b"", "Retry-After: 1"), response()) as (_, own):
        started = time.monotonic()
        assert own.get("/").status == 200
        assert time.monotonic() - started >= 1.0


def test_a_retry_after_as_a_date_is_waited_for() -> None:
    # An HTTP date has no fractions of a second, so a date two seconds ahead is more than one second away.
    started = time.monotonic()
    date = email.utils.formatdate(time.time() + 2, usegmt=True)
    with asked(response("503 Later", b"", f"Retry-After: {date}"), response()) as (_, own):
        assert own.get("/").status == 200
        assert time.monotonic() - started >= 0.9


def test_a_retry_after_of_an_hour_is_not_waited_for_and_nothing_more_is_sent() -> None:
    with asked(response("429 Slow", b"", "Retry-After: 3600")) as (server, own):
        with pytest.raises(RestUnavailable, match="with a Retry-After of 900 s"):
            own.get("/")
        with pytest.raises(RestUnavailable, match="budget"):
            own.once("/")
    assert len(server.requests) == 1


def test_a_ban_holds_all_requests_back_for_as_long_as_it_says() -> None:
    with asked(response("418 Banned", b"", "Retry-After: 120")) as (server, own):
        assert own.once("/").status == 418
        with pytest.raises(RestUnavailable, match="budget allows it in 1"):
            own.once("/")
    assert len(server.requests) == 1


def test_a_body_cut_short_is_asked_for_again() -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[1,2"
    with asked(cut, response(body=b"[]")) as (server, own):
        assert own.get("/").body == b"[]"
    assert len(server.requests) == 2


def test_a_packed_body_cut_short_without_a_length_is_asked_for_again() -> None:
    packed = gzip.compress(random.Random(1).randbytes(5000))
    cut = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + packed[:2000]
    with asked(cut, response(body=b"[]")) as (_, own):
        assert own.get("/").body == b"[]"


def test_chunks_are_put_together_and_a_cut_chunk_is_asked_for_again() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with asked(head + b"2\r\n[1\r\n5\r\n,2", head + b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n") as (_, own):
        assert own.get("/").body == b"[1]"


def test_a_closed_connection_and_nonsense_are_asked_again() -> None:
    with asked(b"", b"garbage\r\n\r\n", response()) as (server, own):
        assert own.get("/").status == 200
    assert len(server.requests) == 3


def test_an_answer_that_says_it_is_too_large_is_refused() -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {ANSWER_MAX + 1}\r\n\r\n".encode()
    with (
        asked(head + b" " * (ANSWER_MAX + 1)) as (server, own),
        pytest.raises(RestInvalidResponse, match="more than 10 MB"),
    ):
        own.get("/")
    assert len(server.requests) == 1


def test_an_endless_answer_is_refused_while_it_is_read() -> None:
    sent = 0

    def endless(connection: socket.socket, end: threading.Event) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not end.is_set():
            sent += connection.send(b" " * 65536)

    with asked(endless) as (_, own), pytest.raises(RestInvalidResponse, match="more than 10 MB"):
        own.get("/")
    assert sent < 2 * ANSWER_MAX


def test_a_bomb_of_a_quarter_gigabyte_costs_no_memory() -> None:
    packer_input = b"\0" * (1 << 20)
    bomb = bytearray()
    packer = zlib.compressobj(9, wbits=31)
    for _ in range(256):
        bomb += packer.compress(packer_input)
    bomb += packer.flush()
    with asked(response("200 OK", bytes(bomb), "Content-Encoding: gzip")) as (_, own):
        before = resident_bytes()
        with pytest.raises(RestInvalidResponse, match="more than 10 MB"):
            own.get("/")
        assert resident_bytes() - before < 64 << 20


@pytest.mark.parametrize(
    ("body", "header"),
    [
        (b"<html>maintenance</html>", "X: y"),
        (b"", "X: y"),
        (b'{"a":', "X: y"),
        (b"not packed at all", "Content-Encoding: gzip"),
        (b"[]", "Content-Encoding: br"),
    ],
)
def test_an_answer_that_is_not_json_is_one_error_and_not_asked_again(body: bytes, header: str) -> None:
    with asked(response("200 OK", body, header)) as (server, own), pytest.raises(RestInvalidResponse):
        own.get("/")
    assert len(server.requests) == 1


def test_a_refused_connection_is_tried_five_times_and_opens_the_circuit() -> None:
    own = client(f"http://127.0.0.1:{free_port()}")
    with capture_logs() as lines, pytest.raises(RestUnavailable, match="ConnectionRefusedError"):
        own.get("/")
    failed = [line for line in lines if line["event"] == "rest.failed"]
    assert len(failed) == 5
    assert min(line["ms"] for line in failed) < 2000  # the refusal counts at once, not after the limit of a connect
    with capture_logs() as lines, pytest.raises(RestUnavailable, match="next trial in 30 s"):
        own.once("/")
    assert lines == []  # nothing was sent


def test_an_unknown_host_is_one_clear_error() -> None:
    with pytest.raises(RestUnavailable, match="does not answer"):
        client("http://no-such-host.invalid").once("/")


def test_once_gives_any_answer_and_asks_no_second_time() -> None:
    with asked(response("500 Oh", b"<html>")) as (server, own):
        assert own.once("/")[:2] == (500, b"<html>")
    assert len(server.requests) == 1


def test_a_slow_answer_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte arrives within the read timeout, so only the deadline of the answer ends the request."""
    monkeypatch.setattr(recorder.rest.client, "ANSWER_S", 1.0)

    def drip(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not end.wait(0.05):
            connection.sendall(b" ")

    with asked(drip) as (_, own):
        started = time.monotonic()
        with pytest.raises(RestUnavailable, match="does not answer"):
            own.once("/")
        assert 0.9 < time.monotonic() - started < 3.0


def test_a_server_that_says_nothing_ends_at_the_read_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.rest.client, "READ_S", 0.5)
    with asked(lambda _connection, end: _hold(end)) as (_, own):
        started = time.monotonic()
        with pytest.raises(RestUnavailable, match="does not answer"):
            own.once("/")
        assert 0.4 < time.monotonic() - started < 3.0


@contextmanager
def full_listener() -> Iterator[str]:
    """Yield the address of a server that accepts no connection: on Linux its full queue drops every new one."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems refuse where the queue is full")
def test_stop_ends_a_connect_and_a_connect_ends_at_its_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    with full_listener() as url:
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        started = time.monotonic()
        with pytest.raises(RestUnavailable, match="the program stops"):
            client(url, stop=stop).once("/")
        assert time.monotonic() - started < 3.0
        timer.join()
        monkeypatch.setattr(recorder.rest.client, "CONNECT_S", 1.0)
        started = time.monotonic()
        with pytest.raises(RestUnavailable, match="does not answer"):
            client(url).once("/")
        assert 0.9 < time.monotonic() - started < 5.0


@pytest.mark.parametrize("where", ["handshake", "head", "body", "pause", "budget"])
def test_stop_ends_every_wait(where: str) -> None:
    def half(connection: socket.socket, end: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[")
        _hold(end)

    answers: dict[str, Answer] = {
        "handshake": response(),  # never sent: no request arrives
        "head": lambda _connection, end: _hold(end),
        "body": half,
        "pause": response("503 Later", b"", "Retry-After: 50"),
        "budget": response(),
    }
    stop = threading.Event()
    with rest_server(answers[where]) as server:
        limits = RestLimits(per_s=0.02, burst=1) if where == "budget" else PLENTY
        url = server.url.replace("http:", "https:") if where == "handshake" else server.url
        own = client(url, limits, stop)
        if where == "budget":
            own.once("/")
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        started = time.monotonic()
        with pytest.raises(RestUnavailable):
            own.get("/")
        assert time.monotonic() - started < 8.0
        timer.join()


def test_a_budget_spreads_requests_over_time() -> None:
    with rest_server(response()) as server:
        own = client(server.url, RestLimits(per_s=10, burst=2))
        started = time.monotonic()
        for _ in range(7):
            own.get("/")
        assert time.monotonic() - started >= 0.5


def test_threads_share_a_budget() -> None:
    with rest_server(response()) as server:
        own = client(server.url, RestLimits(per_s=10, burst=2))
        started = time.monotonic()
        threads = [threading.Thread(target=own.get, args=("/",)) for _ in range(7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert time.monotonic() - started >= 0.5
        assert len(server.requests) == 7


def test_a_post_sends_its_body_again_after_a_passing_fault() -> None:
    body = b'[{"token_id":"1"}]'
    with asked(response("503 Later", b""), b"", response(body=b"[]")) as (server, own):
        assert own.post("/books", body).body == b"[]"
    assert server.requests == ["POST /books HTTP/1.1"] * 3
    assert server.bodies == [body] * 3
    assert all("Content-Type: application/json" in head for head in server.heads)


def test_a_post_of_half_a_megabyte_arrives_complete() -> None:
    body = b"[%s]" % b",".join(b'{"token_id":"%d"}' % (10**76 + n) for n in range(5000))
    with asked(response(body=b"[]")) as (server, own):
        own.post("/books", body)
    assert server.bodies == [body]


@pytest.mark.parametrize("status", ["404 Not Found", "422 What"])
def test_an_expected_status_is_an_answer_with_any_body_and_no_warning(status: str) -> None:
    with asked(response(status, b"<html>")) as (server, own), capture_logs() as lines:
        answer = own.get("/books?token=1", expected=(404, 422))
        assert own.post("/books", b"[]", expected=(404, 422)).status == answer.status
    assert (answer.status, answer.body) == (int(status[:3]), b"<html>")
    assert len(server.requests) == 2
    assert [line["log_level"] for line in lines] == ["debug", "debug"]


def test_a_status_that_is_not_expected_is_still_refused() -> None:
    with asked(response("400 Bad", b"{}")) as (_, own), pytest.raises(RestRefused, match="HTTP 400"):
        own.get("/", expected=(404, 422))


def test_an_answer_says_which_request_it_is_how_often_it_was_sent_and_when_it_came() -> None:
    with asked(response("500 Oh", b"oh"), response(body=b"[1]")) as (_, own), capture_logs() as lines:
        before_ns = time.time_ns()
        answer = own.get("/one")
        after_ns = time.time_ns()
        other = own.get("/two")
    assert answer.attempts == 2
    assert answer.request_id == lines[0]["request"] == lines[1]["request"] != other.request_id
    assert before_ns <= answer.received_ns <= after_ns


@pytest.mark.parametrize(
    ("answer", "error", "attempts"),
    [
        (response("503 Later", b""), RestUnavailable, 5),
        (response("403 No", b""), RestRefused, 1),
        (response(body=b"<html>"), RestInvalidResponse, 1),
    ],
)
def test_an_error_says_which_request_failed_and_how_often_it_was_sent(
    answer: Answer, error: type[RestError], attempts: int
) -> None:
    with asked(answer) as (_, own), capture_logs() as lines:
        with pytest.raises(error) as caught:
            own.get("/")
        assert (caught.value.request_id, caught.value.attempts) == (lines[0]["request"], attempts)


def test_a_request_that_the_open_circuit_refuses_was_never_sent() -> None:
    with asked(response("503 Later", b"")) as (server, own):
        with pytest.raises(RestUnavailable):
            own.get("/")
        with pytest.raises(RestUnavailable, match="next trial") as caught:
            own.post("/", b"[]")
    assert caught.value.attempts == 0
    assert len(server.requests) == 5


def test_each_attempt_is_a_log_line_with_the_id_of_its_request() -> None:
    with asked(response("500 Oh", b"oh"), response(body=b"[1]")) as (_, own), capture_logs() as lines:
        own.get("/one")
        own.get("/two")
    first, second, third = lines
    assert first["request"] == second["request"] != third["request"]
    assert (first["attempt"], first["status"], first["log_level"]) == (1, 500, "warning")
    assert (second["attempt"], second["status"], second["bytes"], second["log_level"]) == (2, 200, 3, "debug")
    assert all(line["ms"] >= 0 for line in lines)


def test_no_cookie_and_no_credentials_are_ever_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with asked(response("200 OK", b"{}", "Set-Cookie: track=1; Path=/")) as (server, own):
        own.get("/")
        own.get("/")
    assert not any("cookie" in head.lower() or "authorization" in head.lower() for head in server.heads)


def _hold(end: threading.Event) -> None:
    end.wait(20)
