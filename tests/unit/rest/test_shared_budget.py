"""The budget of an address in its file: shared, bounded, and robust against what a file can hold."""

import errno
import fcntl
import os
import random
import struct
import threading
import zlib
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from recorder.backoff import WAIT_MAX_S
from recorder.clock import ManualClock
from recorder.rest.policy import AGED_S, Budget, Priority
from recorder.rest.shared_budget import SharedBudget, path_of
from recorder.venues.base import RestLimits

LIMITS = RestLimits(per_s=2, burst=4)
STOP = threading.Event()


def shared(
    path: Path, clock: ManualClock, limits: RestLimits = LIMITS, priority: Priority = Priority.LIVE
) -> SharedBudget:
    return SharedBudget(Budget(limits, clock, priority), path, clock, STOP)


def test_two_processes_spend_from_one_bucket(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = (shared(tmp_path / "b", clock) for _ in range(2))
    assert [budget.take("/") for budget in (one, other, one, other)] == [0.0] * 4
    assert one.take("/") == other.take("/") == 0.5
    clock.advance(0.5)
    assert [other.take("/"), one.take("/")] == [0.0, 0.5]


def test_a_restart_does_not_fill_the_bucket(tmp_path: Path) -> None:
    clock = ManualClock()
    before = shared(tmp_path / "b", clock)
    assert [before.take("/") for _ in range(4)] == [0.0] * 4
    assert shared(tmp_path / "b", clock).take("/") == 0.5


def test_a_pause_that_one_was_asked_for_holds_for_all_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = (shared(tmp_path / "b", clock) for _ in range(2))
    one.pause(30)
    assert other.take("/") == pytest.approx(30)
    other.pause(1e300)
    assert one.take("/") == WAIT_MAX_S
    clock.advance(WAIT_MAX_S)
    assert one.take("/") == other.take("/") == 0.0


def test_a_pause_made_while_the_file_is_busy_is_shared_by_the_next_request(tmp_path: Path) -> None:
    clock = ManualClock()
    one, other = (shared(tmp_path / "b", clock) for _ in range(2))
    with (tmp_path / "b").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        one.pause(30)
    assert other.take("/") == 0.0  # it could not know
    assert one.take("/") == pytest.approx(30)
    assert other.take("/") == pytest.approx(30)


def test_scheduled_requests_leave_half_of_the_bucket_to_live_books(tmp_path: Path) -> None:
    clock = ManualClock()
    poller = shared(tmp_path / "b", clock, priority=Priority.SCHEDULED)
    recorder = shared(tmp_path / "b", clock)
    assert [poller.take("/") for _ in range(3)] == [0.0, 0.0, 0.5]
    assert [recorder.take("/") for _ in range(3)] == [0.0, 0.0, 0.5]
    assert poller.take("/") == 1.5  # its own unit, above the two that are kept


def test_a_scheduled_request_that_waited_long_enough_counts_as_live(tmp_path: Path) -> None:
    clock = ManualClock()
    poller = shared(tmp_path / "b", clock, priority=Priority.SCHEDULED)
    recorder = shared(tmp_path / "b", clock)
    while not recorder.take("/"):
        pass
    clock.advance(0.5)
    assert poller.take("/", AGED_S - 0.25) == 0.25
    assert poller.take("/", AGED_S) == 0.0


@pytest.mark.parametrize("priority", Priority)
def test_a_request_larger_than_the_bucket_still_goes(tmp_path: Path, priority: Priority) -> None:
    clock = ManualClock()
    limits = RestLimits(per_s=1, burst=10, weights=((r"/dear", 30),))
    budget = shared(tmp_path / "b", clock, limits, priority)
    assert budget.take("/dear") == 0.0
    assert budget.take("/dear", AGED_S) == 30.0
    assert shared(tmp_path / "b", clock, limits, priority).take("/dear", AGED_S) == 30.0


def packed(full_at_s: float, not_before_s: float, magic: bytes = b"TDB1") -> bytes:
    data = struct.pack("<4sdd", magic, full_at_s, not_before_s)
    return data + struct.pack("<I", zlib.crc32(data))


NAN = float("nan")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 24,
        b"\xff" * 70_000,
        packed(1.0, 1.0)[:-1],
        packed(1e6, 0.0)[:-1] + b"\x00",
        packed(1e6, 1e6, b"TDB9"),
        packed(1e300, 1e300),  # of an earlier boot, which had been up for longer
        packed(float("inf"), float("inf")),
        packed(NAN, NAN),
        random.Random(7).randbytes(24),
    ],
    ids=["empty", "zeros", "long", "short", "other sum", "other form", "earlier boot", "infinite", "nan", "random"],
)
def test_a_damaged_file_or_one_of_an_earlier_boot_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    clock = ManualClock()
    one, other = (shared(tmp_path / "b", clock) for _ in range(2))
    assert [budget.take("/") for budget in (one, other, one, other, one)] == [0.0] * 4 + [0.5]


def test_the_longest_wait_that_a_file_can_cause_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(packed(0.9 * WAIT_MAX_S, 0.9 * WAIT_MAX_S))
    clock = ManualClock()
    budget = shared(tmp_path / "b", clock)
    clock.advance(budget.take("/"))
    assert budget.take("/") == 0.0
    assert clock.monotonic_s() <= WAIT_MAX_S


def test_a_file_that_cannot_be_used_leaves_each_process_its_own_budget_and_one_log_line(tmp_path: Path) -> None:
    (tmp_path / "rest").write_text("not a folder")
    clock = ManualClock()
    budget = shared(tmp_path / "rest" / "b", clock)
    with capture_logs() as lines:
        assert [budget.take("/") for _ in range(5)] == [0.0] * 4 + [0.5]
        budget.pause(30)
        assert budget.take("/") == 30
    assert [line["event"] for line in lines] == ["rest.budget_not_shared"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_another_kind_of_file_in_its_place_blocks_nothing_and_is_not_followed(tmp_path: Path, kind: str) -> None:
    path, target = tmp_path / "b", tmp_path / "target"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(target)
    budget = shared(path, ManualClock())
    assert [budget.take("/") for _ in range(5)] == [0.0] * 4 + [0.5]
    assert not target.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
def test_a_file_of_another_user_leaves_each_process_its_own_budget(tmp_path: Path) -> None:
    (tmp_path / "b").touch(mode=0o000)
    budget = shared(tmp_path / "b", ManualClock())
    assert [budget.take("/") for _ in range(5)] == [0.0] * 4 + [0.5]


def test_a_full_disk_leaves_each_process_its_own_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    budget = shared(tmp_path / "b", ManualClock())
    monkeypatch.setattr(os, "pwrite", full)
    with capture_logs() as lines:
        assert [budget.take("/") for _ in range(5)] == [0.0] * 4 + [0.5]
    assert [line["event"] for line in lines] == ["rest.budget_not_shared"]
    assert "No space left" in lines[0]["error"]


def test_a_process_suspended_with_the_lock_is_waited_for_five_seconds_and_no_longer(tmp_path: Path) -> None:
    clock = ManualClock()
    budget = shared(tmp_path / "b", clock)
    with (tmp_path / "b").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        while wait_s := budget.take("/"):
            clock.advance(wait_s)
    assert 4 < clock.monotonic_s() < 6


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.kraken.com", "api.kraken.com"),
        ("https://API.kraken.com/", "api.kraken.com"),
        ("http://user:secret@127.0.0.1:7001/public/v1", "127.0.0.1_7001_public_v1"),
        ("http://[::1]:80", "_1_80"),
        ("https://x/../../etc", "x_.._.._etc"),
    ],
)
def test_the_file_is_named_for_the_address_alone(tmp_path: Path, url: str, name: str) -> None:
    assert path_of(tmp_path, url) == tmp_path / "rest" / f"{name}.budget"
    assert len(path_of(tmp_path, f"https://x/{'y' * 999}").name) < 255
