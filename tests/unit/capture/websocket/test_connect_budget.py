"""The connects of a venue, shared by links and processes."""

import fcntl
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recorder.backoff import WAIT_MAX_S
from recorder.capture.websocket.connect_budget import WINDOW_S, ConnectBudget, path_of
from recorder.clock import ManualClock, SystemClock


def granted(budget: ConnectBudget, clock: ManualClock, seconds: float, apart_s: float = 0.0) -> list[float]:
    """Return the times of the connects of a link that connects as often as it may."""
    times: list[float] = []
    end_s = clock.monotonic_s() + seconds
    while clock.monotonic_s() < end_s:
        wait_s = budget.take(apart_s)
        if wait_s:
            clock.advance(wait_s)
        else:
            times.append(clock.monotonic_s())
            clock.advance(0.01)
    return times


def most_in_a_minute(times: list[float]) -> int:
    return max(sum(1 for other in times if at_s <= other < at_s + WINDOW_S - 1e-6) for at_s in times)


def test_no_minute_has_more_connects_than_allowed(tmp_path: Path) -> None:
    clock = ManualClock()
    times = granted(ConnectBudget(tmp_path / "b", 12, clock), clock, 600)
    assert most_in_a_minute(times) == 12
    assert len(times) == 120  # and nothing is wasted


def test_connects_are_apart(tmp_path: Path) -> None:
    clock = ManualClock()
    times = granted(ConnectBudget(tmp_path / "b", 60, clock), clock, 30, apart_s=3.0)
    assert len(times) == 10
    assert min(b - a for a, b in itertools.pairwise(times)) >= 3.0 - 1e-9


def test_two_budgets_of_one_file_share_what_is_allowed(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = (ConnectBudget(path_of(tmp_path, "kraken"), 5, clock) for _ in range(2))
    assert [budget.take(0.0) for budget in (one, other, one, other, one)] == [0.0] * 5
    assert one.take(0.0) == other.take(0.0) == WINDOW_S
    clock.advance(WINDOW_S)
    assert other.take(0.0) == 0.0


def test_a_new_process_knows_the_connects_of_the_one_before(tmp_path: Path) -> None:
    clock = ManualClock()
    assert ConnectBudget(tmp_path / "b", 1, clock).take(0.0) == 0.0
    clock.advance(10)
    assert ConnectBudget(tmp_path / "b", 1, clock).take(0.0) == pytest.approx(50)


def test_a_pause_holds_for_all_and_is_capped(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = (ConnectBudget(tmp_path / "b", 5, clock) for _ in range(2))
    one.pause(1e300)
    assert one.take(0.0) == WAIT_MAX_S
    assert other.take(0.0) == WAIT_MAX_S
    clock.advance(WAIT_MAX_S)
    assert other.take(0.0) == 0.0


def test_what_an_earlier_start_of_the_machine_left_is_ignored(tmp_path: Path) -> None:
    before, clock = ManualClock(), ManualClock()
    before.advance(10**6)
    budget = ConnectBudget(tmp_path / "b", 1, before)
    budget.pause(100)
    before.advance(100)
    assert budget.take(0.0) == 0.0
    assert ConnectBudget(tmp_path / "b", 1, clock).take(0.0) == 0.0


@pytest.mark.parametrize("content", [b"\xff" * 8000, b"\x00" * 7, os.urandom(4099), b"nan inf", b"\x7f\xf8" * 40])
def test_a_damaged_file_costs_nothing_but_itself(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    clock = ManualClock()
    assert most_in_a_minute(granted(ConnectBudget(tmp_path / "b", 7, clock), clock, 120)) == 7


def test_without_a_usable_file_the_links_of_a_process_still_share(tmp_path: Path) -> None:
    (tmp_path / "connects").write_text("not a folder")
    clock = ManualClock()
    times = granted(ConnectBudget(tmp_path / "connects" / "b", 12, clock), clock, 600, apart_s=2.0)
    assert most_in_a_minute(times) == 12


def test_a_process_that_stopped_with_the_lock_does_not_stop_the_others(tmp_path: Path) -> None:
    clock = ManualClock()
    budget = ConnectBudget(tmp_path / "b", 2, clock)
    assert budget.take(0.0) == 0.0
    with (tmp_path / "b").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        waited_s = 0.0
        while wait_s := budget.take(0.0):
            clock.advance(wait_s)
            waited_s += wait_s
    assert 4 < waited_s < 6
    assert budget.take(0.0) == pytest.approx(WINDOW_S - waited_s)


def test_the_kernel_gives_the_lock_of_a_killed_process_back(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.touch()
    script = (
        f"import fcntl, time; f = open({str(path)!r}); fcntl.flock(f, 2); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    budget = ConnectBudget(path, 2, SystemClock())
    assert budget.take(0.0) > 0
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdout.close()
    assert budget.take(0.0) == 0.0


def _connect_often(path: Path, count: object) -> None:
    budget = ConnectBudget(path, 40, SystemClock())
    until_s = time.monotonic() + 1.0
    pause = threading.Event()
    while time.monotonic() < until_s:
        wait_s = budget.take(0.0)
        if not wait_s:
            with count.get_lock():  # type: ignore[attr-defined]
                count.value += 1  # type: ignore[attr-defined]
        pause.wait(min(wait_s, 0.01))


def test_real_processes_together_make_no_more_connects_than_allowed(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    count = spawn.Value("i", 0)
    processes = [spawn.Process(target=_connect_often, args=(tmp_path / "b", count)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert count.value == 40
