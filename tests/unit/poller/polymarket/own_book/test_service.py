"""The thread of the service `stream`."""

import threading
from pathlib import Path

import pytest

from recorder.appliance.processes import wait_until
from recorder.clock import SystemClock
from recorder.poller.polymarket.own_book import news, service
from recorder.poller.polymarket.own_book.service import StreamService
from recorder.poller.services import Reply


class NoClob:
    """A service that is never asked."""

    url = "http://127.0.0.1:1"

    def ask(self, path: str, body: bytes) -> Reply:
        raise AssertionError(path)

    def close(self) -> None:
        """Have nothing to close."""


def test_a_journal_that_breaks_the_reading_is_followed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_AGAIN_S", 0.01)
    stream = StreamService(NoClob(), [tmp_path / "journal"], "venue", 30.0, 0.1, SystemClock(), threading.Event())
    (tail,) = stream._tails
    read, failures = tail.read, [RecursionError("too deep"), ZeroDivisionError()]

    def fails_twice() -> bool:
        if failures:
            raise failures.pop()
        return read()

    monkeypatch.setattr(tail, "read", fails_twice)
    try:
        stream.ask(news.PATHS[news.KINDS[0]], b"")
        assert wait_until(lambda: not failures and stream._read_ns > 0, 20.0)
    finally:
        stream.close()
