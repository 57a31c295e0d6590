"""Channels on real sockets: sinks that are down, slow, refuse, have a wrong certificate, or no STARTTLS."""

import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.machine.certificates import own_authority
from support.machine.message_sinks import AT, Reply, alert, mail_server, over, wait_until, webhook_sink
from support.machine.ports import free_port

from recorder.clock import SystemClock
from recorder.process.deadline import Stopped
from recorder.settings import AlertSettings
from recorder.watchdog.delivery.channels.mail import Mail, Server
from recorder.watchdog.delivery.channels.webhook import Webhook
from recorder.watchdog.delivery.message import Message
from recorder.watchdog.delivery.outbox import Answer
from recorder.watchdog.delivery.sender import Sender

MESSAGE = Message(1, "firing", alert(), AT)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in os.environ if one.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return own_authority(tmp_path_factory.mktemp("ca"))


def post(url: str, ca_file: Path | None = None, timeout_s: float = 5.0, form: Any = None) -> Answer:
    hook = Webhook(url, form, "host", "test", ca_file, timeout_s, SystemClock())
    answer = hook.send(MESSAGE, threading.Event())
    assert "secret" not in answer.text + hook.describes
    return answer


def mail(port: int, ca_file: Path | None, **more: Any) -> Answer:
    server = Server("127.0.0.1", port, more.pop("encryption", "starttls"), more.pop("user", "me"), "pass word")
    channel = Mail(
        server, "me@example.org", more.pop("to", ["you@example.org"]), "host", ca_file, more.pop("timeout_s", 5.0),
        SystemClock(),
    )  # fmt: skip
    return channel.send(MESSAGE, threading.Event())


def test_a_webhook_gets_the_message() -> None:
    with webhook_sink() as sink:
        assert post(sink.url) == Answer("taken", "HTTP 200")
        assert sink.bodies()[0]["id"] == MESSAGE.id


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(500, {}, b"oops"), Answer("later", "HTTP 500: oops", None)),
        (Reply(503, {"Retry-After": "7"}, b""), Answer("later", "HTTP 503", 7.0)),
        (Reply(429, {"Retry-After": "30"}, b"slow down"), Answer("later", "HTTP 429: slow down", 30.0)),
        (Reply(429, {"Retry-After": "9" * 30}, b""), Answer("later", "HTTP 429", 900.0)),
        (Reply(429, {}, b'{"retry_after": 2.5}'), Answer("later", 'HTTP 429: {"retry_after": 2.5}', 2.5)),
        (
            Reply(429, {}, b'{"parameters": {"retry_after": 4}}'),
            Answer("later", 'HTTP 429: {"parameters": {"retry_after": 4}}', 4.0),
        ),
        (Reply(429, {}, b"[" * 3000), Answer("later", f"HTTP 429: {'[' * 120}", None)),
        (Reply(400, {}, b"invalid_payload"), Answer("refused", "HTTP 400: invalid_payload", None)),
        (Reply(404, {}, b"no_service"), Answer("later", "HTTP 404: no_service; is the address right?", 60.0)),
        (Reply(302, {"Location": "http://x/"}, b""), Answer("later", "HTTP 302; is the address right?", 60.0)),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
def test_an_answer_says_when_to_try_again(reply: Reply, expected: Answer) -> None:
    with webhook_sink() as sink:
        sink.replies = [reply]
        assert post(sink.url) == expected


def test_a_sink_that_is_down_has_not_taken_the_message() -> None:
    answer = post(f"http://127.0.0.1:{free_port()}/secret")
    assert answer == Answer("later", "ConnectionRefusedError")


def test_a_slow_sink_may_have_taken_it_and_the_time_is_bounded() -> None:
    with webhook_sink() as sink:
        sink.replies = [Reply(wait_s=60)]
        began_s = time.monotonic()
        answer = post(sink.url, timeout_s=1.0)
        assert time.monotonic() - began_s < 5
        assert answer.outcome == "unknown"


def test_a_stop_ends_the_wait_and_the_outcome_is_not_known() -> None:
    stop = threading.Event()
    with webhook_sink() as sink:
        sink.replies = [Reply(wait_s=60)]
        hook = Webhook(sink.url, None, "host", "test", None, 60, SystemClock())

        def stop_while_it_waits() -> None:
            sink.wait(1)
            stop.set()

        thread = threading.Thread(target=stop_while_it_waits)
        thread.start()
        began_s = time.monotonic()
        assert hook.send(MESSAGE, stop).outcome == "unknown"
        assert time.monotonic() - began_s < 10
        thread.join()
        with pytest.raises(Stopped):
            hook.send(MESSAGE, stop)
        assert len(sink.requests) == 1


def test_a_certificate_that_nothing_vouches_for_is_refused_before_anything_is_sent(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    with webhook_sink(authority[1]) as sink:
        answer = post(sink.url)
        assert answer.outcome == "later"
        assert answer.text.startswith("the certificate is not accepted: ")
        assert sink.requests == []
        assert post(sink.url, authority[0]) == Answer("taken", "HTTP 200")
        answer = post(sink.url.replace("127.0.0.1", "localhost"), authority[0])
        assert answer.text.startswith("the certificate is not accepted: Hostname mismatch")


@pytest.mark.parametrize("implicit", [False, True])
def test_e_mail_goes_out_over_tls_with_a_login(authority: tuple[Path, ssl.SSLContext], implicit: bool) -> None:
    with mail_server(authority[1], implicit=implicit) as server:
        answer = mail(server.port, authority[0], encryption="implicit" if implicit else "starttls")
        assert answer == Answer("taken", "250")
        assert len(server.mails) == 1
        assert b"Auto-Submitted: auto-generated" in server.mails[0]
        assert all(line.split()[0].upper() in (b"EHLO", b"STARTTLS") for line in server.plain)


def test_nothing_is_sent_to_a_mail_server_without_a_good_certificate(authority: tuple[Path, ssl.SSLContext]) -> None:
    with mail_server(authority[1]) as server:
        answer = mail(server.port, None)
        assert answer.outcome == "later"
        assert answer.text.startswith("the certificate is not accepted: ")
        assert server.mails == []


def test_nothing_is_sent_to_a_mail_server_without_starttls(authority: tuple[Path, ssl.SSLContext]) -> None:
    with mail_server(authority[1], offers_tls=False) as server:
        answer = mail(server.port, authority[0])
        assert (answer.outcome, server.mails) == ("later", [])
        assert not any(b"AUTH" in line for line in server.plain)


@pytest.mark.parametrize(
    ("command", "reply", "outcome"),
    [
        ("AUTH", b"535 wrong", "later"),
        ("MAIL", b"451 later", "later"),
        ("RCPT", b"550 no such user", "refused"),
        ("DATA", b"554 no", "refused"),
        (".", b"452 full", "later"),
        (".", b"550 spam", "refused"),
    ],
)
def test_a_refusal_of_a_mail_server_is_understood(
    authority: tuple[Path, ssl.SSLContext], command: str, reply: bytes, outcome: str
) -> None:
    with mail_server(authority[1]) as server:
        server.answers = {command: reply}
        answer = mail(server.port, authority[0])
        assert answer.outcome == outcome
        assert reply.decode() in answer.text


def test_a_slow_mail_server_may_have_taken_it_and_the_time_is_bounded(
    authority: tuple[Path, ssl.SSLContext],
) -> None:
    with mail_server(authority[1]) as server:
        server.slow_s = 60
        began_s = time.monotonic()
        assert mail(server.port, authority[0], timeout_s=1.5).outcome == "unknown"
        assert time.monotonic() - began_s < 8


def test_the_sender_waits_as_long_as_the_service_asks_and_keeps_the_order(tmp_path: Path) -> None:
    first = alert()
    book = [first]
    settings = AlertSettings(cooldown_s=10)
    stop = threading.Event()
    with webhook_sink() as sink:
        sink.replies = [Reply(429, {"Retry-After": "3"}), Reply(500)]
        hook = Webhook(sink.url, None, "host", "test", None, 5.0, SystemClock())
        sender = Sender(tmp_path, settings, lambda: book, [hook])
        thread = threading.Thread(target=sender.part, args=(stop,))
        thread.start()
        try:
            sink.wait(1)
            began_s = time.monotonic()
            book[0] = over(first, AT + 60)
            sink.wait(2)
            assert time.monotonic() - began_s >= 2.5
            wait_until(lambda: sender.traffic["webhook"].taken == 2)
        finally:
            stop.set()
            thread.join()
        kinds = [one["kind"] for one in sink.bodies()]
        assert kinds == ["firing", "firing", "firing", "resolved"]
        assert len({one["id"] for one in sink.bodies()}) == 2
        assert not any(one["repeated"] for one in sink.bodies())
    assert sender.traffic["webhook"].waiting == 0
