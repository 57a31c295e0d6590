"""One budget for several real processes that request from one real server."""

import contextlib
import fcntl
import multiprocessing
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from support.misbehaving_rest import RestServer, response, rest_server

from recorder.clock import SystemClock
from recorder.errors import RestUnavailable
from recorder.rest.client import RestClient
from recorder.rest.policy import Priority
from recorder.rest.shared_budget import path_of
from recorder.venues.base import RestLimits

LIMITS = RestLimits(per_s=20, burst=10)
SPAWN = multiprocessing.get_context("spawn")


def client(
    url: str, folder: Path, priority: Priority = Priority.LIVE, stop: threading.Event | None = None
) -> RestClient:
    own_stop, rng = stop or threading.Event(), random.Random(1)
    return RestClient("venue", url, LIMITS, "test", own_stop, SystemClock(), rng, None, folder, priority)


def request_often(url: str, folder: Path, priority: Priority, parent: Connection) -> None:
    """Request with two threads as often as the budget allows, from one word of the parent to the next."""
    stop = threading.Event()
    own = client(url, folder, priority, stop)

    def work() -> None:
        while not stop.is_set():
            try:
                own.once(f"/{priority.value}")
            except RestUnavailable:
                assert stop.is_set()  # there is no other reason here

    threads = [threading.Thread(target=work) for _ in range(2)]
    parent.send("ready")
    parent.recv()
    for thread in threads:
        thread.start()
    parent.recv()
    stop.set()
    for thread in threads:
        thread.join(30)


class Crowd:
    """Processes that request from a server until the block ends."""

    def __init__(self, url: str, folder: Path, *priorities: Priority) -> None:
        self.processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        for priority in priorities:
            own, of_child = SPAWN.Pipe()
            self._pipes.append(own)
            self.processes.append(SPAWN.Process(target=request_often, args=(url, folder, priority, of_child)))
        self.began_s = 0.0

    def __enter__(self) -> "Crowd":
        for process in self.processes:
            process.start()
        for pipe in self._pipes:
            assert pipe.poll(60)
            pipe.recv()
        self.began_s = time.monotonic()
        self._say_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._say_all()
        for process, pipe in zip(self.processes, self._pipes, strict=True):
            process.join(30)
            assert process.exitcode in (0, -signal.SIGKILL)
            pipe.close()

    def _say_all(self) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(BrokenPipeError):  # that process was killed
                pipe.send("go on")


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end_s = time.monotonic() + seconds
    pause = threading.Event()
    while not true():
        assert time.monotonic() < end_s
        pause.wait(0.01)


def most_ever(server: RestServer, began_s: float) -> float:
    """Return the largest excess of requests over what the budget allows since the start; at most 0."""
    times = sorted(server.times_s)
    return max(n - (LIMITS.burst + (at_s - began_s) * LIMITS.per_s) for n, at_s in enumerate(times, start=1))


def test_processes_together_never_send_more_than_the_budget_even_when_one_is_killed(tmp_path: Path) -> None:
    with rest_server(response()) as server, Crowd(server.url, tmp_path, *[Priority.LIVE] * 3) as crowd:
        wait_until(lambda: len(server.times_s) >= 30)
        crowd.processes[0].kill()
        crowd.processes[0].join(30)
        killed_at = len(server.times_s)
        wait_until(lambda: len(server.times_s) >= killed_at + 20)
    assert most_ever(server, crowd.began_s) <= 1e-6


def test_live_books_find_their_part_of_the_bucket_while_polls_take_all_they_may(tmp_path: Path) -> None:
    with rest_server(response()) as server, Crowd(server.url, tmp_path, *[Priority.SCHEDULED] * 2) as crowd:
        wait_until(lambda: len(server.times_s) >= 20)
        recorder = client(server.url, tmp_path)
        started_s = time.monotonic()
        for _ in range(5):
            recorder.once("/live")
        took_s = time.monotonic() - started_s
        scheduled = server.requests.count("GET /scheduled HTTP/1.1")
        wait_until(lambda: server.requests.count("GET /scheduled HTTP/1.1") > scheduled)  # and they go on afterwards
    assert took_s < 1.0  # as one of five that compete for 20 a second, it would take more
    assert most_ever(server, crowd.began_s) <= 1e-6


def test_a_retry_after_pauses_the_other_processes(tmp_path: Path) -> None:
    with rest_server(response("429 Slow", b"", "Retry-After: 300"), response()) as server:
        script = (
            "import sys; sys.path.insert(0, 'tests')\n"
            "from pathlib import Path\n"
            "from integration.rest.test_shared_budget import client\n"
            f"print(client({server.url!r}, Path({str(tmp_path)!r})).once('/').status)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.splitlines()[-1] == "429"
        with pytest.raises(RestUnavailable, match=r"budget allows it in (300|2\d\d) s"):
            client(server.url, tmp_path).once("/")
        assert len(server.requests) == 1


def test_a_process_killed_with_the_lock_in_its_hand_holds_up_nothing(tmp_path: Path) -> None:
    with rest_server(response()) as server:
        path = path_of(tmp_path, server.url)
        path.parent.mkdir()
        path.touch()
        script = (
            f"import fcntl, time; f = open({str(path)!r}); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
        )
        holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        answers: list[int] = []
        waiting = threading.Thread(target=lambda: answers.append(client(server.url, tmp_path).once("/").status))
        waiting.start()
        waiting.join(0.3)
        assert not server.requests  # it waits for the lock
        holder.kill()
        holder.wait(10)
        holder.stdout.close()
        waiting.join(4)
        assert answers == [200]


def test_a_stop_ends_the_wait_for_a_lock_that_another_process_holds(tmp_path: Path) -> None:
    stop = threading.Event()
    url = "http://127.0.0.1:9"
    path_of(tmp_path, url).parent.mkdir()
    with path_of(tmp_path, url).open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        threading.Timer(0.2, stop.set).start()
        started_s = time.monotonic()
        with pytest.raises(RestUnavailable, match="the program stops"):
            client(url, tmp_path, stop=stop).once("/")
        assert time.monotonic() - started_s < 2.0
