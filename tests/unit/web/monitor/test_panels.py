"""A panel that fails or hangs costs the page nothing but that panel."""

import threading
import time
from collections.abc import Iterator

import pytest

from recorder.errors import StoreUnavailable
from recorder.web.monitor.panels import Panel, Panels


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_panel_that_fails_keeps_its_value_with_its_time_and_the_others_go_on() -> None:
    answers: Iterator[int | Exception] = iter([1, StoreUnavailable("Postgres is away"), 3])

    def read() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    panels = Panels({"one": Panel("one", 0.0, read), "other": Panel("other", 0.0, lambda: "well")})
    first = panels.shown(wait_s=10)["one"]
    assert (first.value, first.problem) == (1, "")
    failed = panels.shown(wait_s=10)
    assert (failed["one"].value, failed["one"].at) == (1, first.at)
    assert failed["one"].problem == "Postgres is away"
    assert (failed["other"].value, failed["other"].problem) == ("well", "")
    again = panels.shown(wait_s=10)["one"]
    assert (again.value, again.problem) == (3, "")
    panels.close()


def test_a_panel_that_hangs_delays_no_page_and_is_asked_once(stop: threading.Event) -> None:
    calls = []

    def hang() -> int:
        calls.append(1)
        stop.wait(30)
        return 1

    panels = Panels({"slow": Panel("slow", 0.0, hang), "quick": Panel("quick", 0.0, lambda: 2)})
    began_s = time.monotonic()
    for _ in range(3):
        found = panels.shown(wait_s=0.05)
    assert time.monotonic() - began_s < 5
    assert (found["slow"].value, found["slow"].problem) == (None, "not read yet")
    assert panels.shown("quick", wait_s=10)["quick"].value == 2
    assert len(calls) == 1
    panels.close()
