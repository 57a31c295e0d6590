"""A poller whose clock is set by an hour, ahead and back, while it runs: libfaketime moves the clock of its process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.database_server import ROOT
from support.misbehaving_rest import response, rest_server
from support.poller.journals import check, rows
from support.poller.program import COLUMNS

from recorder.appliance.processes import wait_until
from recorder.pgcopy.polled import POLLED

LIBRARIES = (
    "/usr/lib/*/faketime/libfaketime.so.1",
    "/usr/lib/faketime/libfaketime.so.1",
    "/usr/local/lib/faketime/libfaketime.so.1",
)
WAIT_S = 60.0
HOUR_S = 3600
pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]


def library() -> str:
    """Return libfaketime, or skip the test."""
    found = [path for pattern in LIBRARIES for path in Path("/").glob(pattern[1:])]
    if not found:
        pytest.skip("libfaketime is not installed (apt-get install faketime), so no clock can be set for one process")
    return str(found[0])


class Numbers:
    """Answers 1, 2, 3, ..."""

    def __init__(self) -> None:
        self.sent: list[int] = []
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, end: threading.Event) -> None:
        with self._lock:
            number = len(self.sent) + 1
            self.sent.append(number)
        connection.sendall(response(body=json.dumps({"n": number}).encode()))


class Clocked:
    """A poller with a job of a second, whose clock is that of a file."""

    def __init__(self, home: Path, url: str) -> None:
        self.folder = home / "journal"
        self._clock = home / "clock"
        self.set(0)
        job = home / "job.json"
        job.write_text(json.dumps({"period_s": 1, "grace_s": 0.9, "requests": 1, "url": url}))
        config = home / "poll.toml"
        config.write_text(f'[journal]\ndir = "{self.folder}"\n[log]\nlevel = "INFO"\n')
        environment = {
            **os.environ, "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": str(config),
            "DATABASE_URL": "postgresql://127.0.0.1:1/none", "PYTHONPATH": str(ROOT / "tests"),
            "LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(self._clock), "FAKETIME_NO_CACHE": "1",
            # A clock that is set moves the wall clock alone.
            "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }  # fmt: skip
        self.log = home / "poller.log"
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "support.poller.program", str(job)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def set(self, seconds: int) -> None:
        """Set the clock of the process ahead of the real one, or behind."""
        fresh = self._clock.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._clock)

    def runs(self) -> list[dict[str, Any]]:
        return rows(self.folder, "poll_run") if (self.folder / "poller" / "journal.id").exists() else []

    def states(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for row in self.runs():
            found["done" if row["state"] == "late" else row["state"], row["reason"]] += row["slots"] or 1
        return found

    def wait(self, condition: Callable[[], bool]) -> None:
        assert wait_until(condition, WAIT_S), (self.states(), self.log.read_text()[-3000:])

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) == 0, self.log.read_text()[-3000:]


@contextmanager
def clocked(home: Path, numbers: Numbers) -> Iterator[Clocked]:
    with rest_server(numbers) as server:
        one = Clocked(home, server.url)
        try:
            yield one
        finally:
            one.process.kill()
            one.process.wait()


def later(one: Clocked, state: tuple[str, str], more: int) -> Callable[[], bool]:
    """Return whether there are more rounds of a state than now."""
    before = one.states()[state]
    return lambda: one.states()[state] >= before + more


@pytest.mark.parametrize("first_s", [HOUR_S, -HOUR_S], ids=["ahead and back", "back and ahead"])
def test_a_clock_that_is_set_by_an_hour_costs_only_named_slots_and_doubles_no_row(
    first_s: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(POLLED, "polled_test", COLUMNS)
    numbers = Numbers()
    with clocked(tmp_path, numbers) as one:
        one.wait(lambda: one.states()["done", ""] >= 3)
        for seconds in (first_s, 0):
            ahead = seconds > 0 or (seconds == 0 and first_s < 0)
            if ahead and first_s > 0:
                wanted = later(one, ("missed", "clock"), HOUR_S - 10)
                one.set(seconds)
                one.wait(wanted)
                one.wait(later(one, ("done", ""), 3))
            elif ahead:  # back at the real time: the slots up to the mark are accounted for
                wanted = later(one, ("done", ""), 3)
                one.set(seconds)
                one.wait(wanted)
            else:
                wanted = later(one, ("done", "clock"), 3)
                one.set(seconds)
                one.wait(wanted)
        one.stop()
        states = one.states()
        slots = check(one.folder, "numbers")
        assert slots.ok, (slots, states)
        assert slots.expected == slots.accounted
        missed = {reason for state, reason in states if state == "missed"}
        assert "clock" in missed or first_s < 0
        stored = [row["n"] for row in rows(one.folder, "polled_test")]
        assert sorted(stored) == numbers.sent, "each answer is stored once"
        assert "clock.step" in one.log.read_text()
