"""What services announce of their interfaces: once in the log, and counted."""

import json

import pytest
from structlog.testing import capture_logs

from recorder.errors import RestUnavailable
from recorder.poller.services import Reply, Services, notices


class Announcing:
    """A service whose answers a test gives."""

    url = "http://test"

    def __init__(self) -> None:
        self.reply: Reply | Exception = Reply(200, b"{}")

    def ask(self, path: str, body: bytes) -> Reply:
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def close(self) -> None:
        pass


SUNSET = {"sunset": "Fri, 01 May 2026 00:00:00 GMT", "deprecation": "true", "content-type": "application/json"}


def test_headers_and_the_schema_are_notices() -> None:
    body = json.dumps({"$schema": "https://gamma-api.polymarket.com/schemas/Page.json", "markets": []}).encode()
    assert notices(Reply(200, body, headers=SUNSET)) == [
        "deprecation: true",
        "sunset: Fri, 01 May 2026 00:00:00 GMT",
        "$schema: https://gamma-api.polymarket.com/schemas/Page.json",
    ]
    last = b'{"markets":["' + b"x" * 10_000 + b'"],"$schema":"/schemas/Page.json"}'
    assert notices(Reply(200, last)) == ["$schema: /schemas/Page.json"]
    assert notices(Reply(200, b"[]", headers={"content-type": "text/html"})) == []


def test_a_notice_is_logged_once_for_a_service_and_counted() -> None:
    one, other = Announcing(), Announcing()
    services = Services({"one": one, "other": other})
    one.reply = other.reply = Reply(200, b"{}", headers=SUNSET)
    with capture_logs() as logs:
        for _ in range(3):
            services.ask("one", "/")
        services.ask("other", "/")
    counts = {"deprecation: true": 3, "sunset: Fri, 01 May 2026 00:00:00 GMT": 3}
    assert services.noticed() == {"one": counts, "other": dict.fromkeys(counts, 1)}
    assert [(line["service"], line["notice"]) for line in logs] == [
        (name, text) for name in ("one", "other") for text in counts
    ]


def test_a_service_cannot_fill_the_memory_nor_the_log_with_notices() -> None:
    one = Announcing()
    services = Services({"one": one})
    for number in range(1000):
        one.reply = Reply(200, b"{}", headers={"warning": f"{number} " + "x" * 5000 + "\x1b]0;owned"})
        services.ask("one", "/")
    found = services.noticed()["one"]
    assert len(found) == 20
    assert all(len(text) <= 200 and text.isprintable() for text in found)


def test_an_answer_without_a_request_says_nothing_about_a_service() -> None:
    one = Announcing()
    services = Services({"one": one})
    one.reply = RestUnavailable("/books answers HTTP 503")
    with pytest.raises(RestUnavailable):
        services.ask("one", "/books")
    one.reply = Reply(200, b"[]", attempts=0)
    services.ask("one", "/own-books")
    assert services.problems == {"one": "/books answers HTTP 503"}
    one.reply = Reply(200, b"[]")
    services.ask("one", "/books")
    assert services.problems == {}
