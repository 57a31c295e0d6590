"""REST answers for sessions: each request is answered once, as a frame, and unusable answers cause no storm."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from recorder.capture.rest_fetcher import RestFetcher, framed
from recorder.clock import SystemClock
from recorder.errors import RestUnavailable
from recorder.rest.client import Answer

LIMIT_S = 30.0


@contextmanager
def working(fetcher: RestFetcher, workers: int = 1) -> Iterator[None]:
    stop = threading.Event()
    threads = [threading.Thread(target=fetcher.work, args=(stop,)) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()


def test_an_answer_is_a_frame_that_names_its_path_and_holds_the_body_as_it_came() -> None:
    frame = framed('/depth?symbol="A"', 200, b'{"lastUpdateId": 1.50}')
    assert json.loads(frame) == {"rest": '/depth?symbol="A"', "status": 200, "body": {"lastUpdateId": 1.5}}
    assert b'{"lastUpdateId": 1.50}' in frame


def test_an_answer_that_is_not_json_is_given_as_text_so_that_the_frame_is_json() -> None:
    assert json.loads(framed("/a", 502, b"<html>\xff"))["body"] == "<html>�"
    assert len(json.loads(framed("/a", 502, b"x" * 10_000))["body"]) == 1024


def test_each_request_is_answered_once_also_when_there_is_no_answer() -> None:
    def get(path: str) -> Answer:
        if path == "/bad":
            raise RestUnavailable("no answer")
        return Answer(200, b"[]")

    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    fetcher = RestFetcher(get, SystemClock())
    with working(fetcher, workers=2):
        for path in ("/good", "/bad", "/better"):
            fetcher.fetch(path, answers.put)
        found = sorted((json.loads(answers.get(timeout=LIMIT_S)) for _ in range(3)), key=lambda one: str(one["rest"]))
    assert [(one["rest"], one["status"], one["body"]) for one in found] == [
        ("/bad", 0, None), ("/better", 200, []), ("/good", 200, []),
    ]  # fmt: skip
    assert answers.empty()


def test_a_path_requested_again_at_once_waits_longer_each_time_and_delays_no_other() -> None:
    asked: dict[str, list[float]] = {"/old": [], "/other": []}

    def get(path: str) -> Answer:
        asked[path].append(time.monotonic())
        return Answer(200, b"{}")

    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    fetcher = RestFetcher(get, SystemClock())
    with working(fetcher):
        for _ in range(4):
            fetcher.fetch("/old", answers.put)
            answers.get(timeout=LIMIT_S)
        fetcher.fetch("/old", answers.put)
        fetcher.fetch("/other", answers.put)
        assert json.loads(answers.get(timeout=LIMIT_S))["rest"] == "/other"
    waits = [later - earlier for earlier, later in zip(asked["/old"], asked["/old"][1:], strict=False)]
    assert [wait >= at_least for wait, at_least in zip(waits, (0.25, 0.5, 1.0), strict=True)] == [True] * 3
