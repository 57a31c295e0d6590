"""A poller whose clock is set, whose machine sleeps, and whose rounds are long: every slot named, none twice."""

import contextlib
import os
import random
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.schedulers.base import STATE_RUNNING
from apscheduler.triggers.base import BaseTrigger
from support.poller.journals import NS, Asked, Once, Poller, check, rows

from recorder.appliance.processes import wait_until
from recorder.clock import ManualClock, SystemClock
from recorder.errors import RestCircuitOpen, RestUnavailable
from recorder.poller.clock_steps import Step
from recorder.poller.job import Daily, Every, Job, Kept, Outcome, Round
from recorder.poller.scheduling import Alarm, nanoseconds
from recorder.poller.services import Reply

T0 = 1_700_000_040 * NS  # a full minute


def job(handler: Once | None = None, period_s: int = 60) -> Job:
    return Job("one", Every(period_s), period_s / 2, handler or Once(), "")


def minutes(poller: Poller, count: int) -> None:
    """Let some minutes pass, and wake the job at each slot as the alarm clock does."""
    for _ in range(count):
        poller.pass_time(60)
        poller.runner.fire("one")


def states(folder: Path) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for row in rows(folder, "poll_run"):
        found[row["state"], row["reason"]] += row["slots"] or 1
    return found


def test_a_clock_that_is_an_hour_ahead_for_a_while_doubles_no_slot_and_stops_no_polls(tmp_path: Path) -> None:
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1))
    minutes(poller, 10)
    poller.clock.set(3600)
    minutes(poller, 10)
    poller.clock.set(-3600)
    minutes(poller, 70)
    poller.end()
    assert poller.service.count == 89, "the slot of the mark itself was polled before the clock was set back"
    one = check(tmp_path, "one")
    assert one.ok, one
    assert one.expected == one.accounted == 90
    assert states(tmp_path) == {("done", ""): 30, ("missed", "clock"): 60, ("done", "clock"): 59}


def test_a_clock_that_is_set_back_by_an_hour_first_is_followed_by_no_missed_slot(tmp_path: Path) -> None:
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1))
    minutes(poller, 5)
    poller.clock.set(-3600)
    minutes(poller, 65)
    poller.end()
    assert check(tmp_path, "one").ok
    assert states(tmp_path) == {("done", ""): 10, ("done", "clock"): 59}


def test_a_machine_that_sleeps_for_an_hour_misses_the_slots_asleep(tmp_path: Path) -> None:
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1))
    minutes(poller, 5)
    poller.clock.set(3600)  # the monotonic clock stands while the machine sleeps
    poller.boot_s += 3600
    minutes(poller, 5)
    poller.end()
    assert check(tmp_path, "one").ok
    assert states(tmp_path) == {("done", ""): 10, ("missed", "asleep"): 60}


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_clock_that_is_set_while_the_poller_is_stopped_leaves_no_slot_out(step_s: int, tmp_path: Path) -> None:
    clock = ManualClock(T0 + 1)
    first = Poller(tmp_path, [job()], clock)
    minutes(first, 5)
    first.end()
    clock.set(step_s)
    second = Poller(tmp_path, [job()], clock)
    minutes(second, 70)
    second.end()
    one = check(tmp_path, "one")
    assert one.ok, one
    assert one.until_ns == (clock.wall_ns() - 1) // (60 * NS) * 60 * NS


def test_a_round_longer_than_its_period_makes_the_next_slots_busy(tmp_path: Path) -> None:
    service = Asked()
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1), service)
    minutes(poller, 1)
    service.meanwhile = lambda: poller.pass_time(150)
    minutes(poller, 1)
    service.meanwhile = lambda: None
    minutes(poller, 1)
    poller.end()
    assert check(tmp_path, "one").ok
    assert states(tmp_path) == {("done", ""): 2, ("missed", "busy"): 3}


def test_a_killed_poller_is_followed_by_one_that_names_its_round_and_the_slots_since(tmp_path: Path) -> None:
    clock = ManualClock(T0 + 1)

    class Killed(Once):
        def run(self, round: Round) -> Outcome:
            round.get("service", "/")
            raise SystemExit  # nothing of the round after this line is written, as after a kill

    first = Poller(tmp_path, [job()], clock)
    minutes(first, 2)
    first.runner.jobs = {"one": job(Killed())}
    with pytest.raises(SystemExit):
        minutes(first, 1)
    first.abandon()
    clock.advance(600)
    taken: list[bytes] = []

    class Taking(Once):
        def take(self, round: Round, answer: Kept) -> None:
            taken.append(answer.body)

    second = Poller(tmp_path, [job(Taking())], clock)
    assert taken == [b"3"], "once, and before anything else"
    minutes(second, 1)
    second.end()
    assert check(tmp_path, "one").ok
    killed = "stopped: the program ended in the middle of the round"
    assert states(tmp_path) == {("done", ""): 3, ("failed", killed): 1, ("missed", "stopped"): 10}
    third = Poller(tmp_path, [job(Taking())], clock)
    third.end()
    assert taken == [b"3", b"1"], "the recovery is not repeated; 1 is the answer of the round after it"


def test_while_the_disk_is_full_slots_fail_and_are_written_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1))
    minutes(poller, 2)
    real = os.statvfs(tmp_path)
    with monkeypatch.context() as disk:
        disk.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=-1, f_frsize=real.f_frsize))
        minutes(poller, 3)
        assert poller.journal.full
    minutes(poller, 2)
    assert not poller.journal.full
    poller.end()
    assert check(tmp_path, "one").ok
    assert states(tmp_path) == {("done", ""): 4, ("failed", "no space on the disk for its rows"): 3}


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (RestCircuitOpen("next trial in 20 s"), ("skipped", "breaker")),
        (
            RestUnavailable("service does not answer (ConnectTimeout)"),
            ("failed", "service does not answer (ConnectTimeout)"),
        ),
        (KeyError("bids"), ("failed", "KeyError: 'bids'")),
    ],
)
def test_a_round_that_fails_is_named_with_its_reason(error: Exception, state: tuple[str, str], tmp_path: Path) -> None:
    class Failing(Once):
        def run(self, round: Round) -> Outcome:
            raise error

    poller = Poller(tmp_path, [job(Failing())], ManualClock(T0 + 1))
    minutes(poller, 2)
    poller.end()
    assert states(tmp_path) == {state: 2}
    traces = [row["traceback"] for row in rows(tmp_path, "poll_run")]
    assert all((trace is not None) == isinstance(error, KeyError) for trace in traces)


def test_the_requests_that_failed_or_were_repeated_are_named_with_their_attempts(tmp_path: Path) -> None:
    service = Asked()
    answers = {"/late": Reply(200, b"1", "0000000a", 3), "/fine": Reply(200, b"1", "0000000b")}

    class Several(Once):
        def run(self, round: Round) -> Outcome:
            for path in (*answers, "/away", "/open"):
                with contextlib.suppress(RestUnavailable):
                    round.get("service", path)
            return Outcome()

    def ask(path: str, body: bytes) -> Reply:
        if path in answers:
            return answers[path]
        error = RestUnavailable(f"{path} answers HTTP 503")
        error.request_id, error.attempts = ("0000000c", 4) if path == "/away" else ("0000000d", 0)
        raise error

    service.ask = ask  # type: ignore[method-assign]
    poller = Poller(tmp_path, [job(Several())], ManualClock(T0 + 1), service)
    minutes(poller, 1)
    poller.end()
    (row,) = [one for one in rows(tmp_path, "poll_run") if one["state"] == "done"]
    assert (row["attempts"], row["answers"]) == (3 + 1 + 4, 2)
    for name in (b"0000000a: 3 attempts, /late answers HTTP 200", b"0000000c: 4 attempts, /away answers HTTP 503"):
        assert name in row["failures"]
    assert b"0000000b" not in row["failures"]
    assert b"0000000d" not in row["failures"], "nothing was sent"
    for name in (b"0000000a", b"0000000b", b"0000000c"):
        assert name in row["request_ids"]


def test_a_job_is_woken_within_its_period_after_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = SystemClock()
    poller = Poller(tmp_path, [job(period_s=1), Job("daily", Daily(3, 30), 60.0, Once(), "")], ManualClock())
    poller.runner._clock = clock
    alarm = Alarm(poller.runner, 2, clock, random.Random(1))
    thread = threading.Thread(target=alarm.part, args=(poller.stop,))
    thread.start()
    try:
        scheduler = alarm._scheduler
        assert wait_until(lambda: alarm.next_ns("daily") is not None, 30.0)
        far = scheduler.get_job("daily").next_run_time
        scheduler.modify_job("one", next_run_time=far)  # as a clock that was set back by hours leaves it
        alarm.clock_set(Step(-3600.0, None))
        assert nanoseconds(scheduler.get_job("one").next_run_time) <= clock.wall_ns() + NS
    finally:
        poller.stop.set()
        thread.join(15)
    assert not thread.is_alive()
    poller.end()


class _Once(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires once, and then holds the scheduler's look at its jobs until somebody ends the scheduler."""

    def __init__(self, at: datetime) -> None:
        self.at = at
        self.held = threading.Event()
        self.scheduler: BackgroundScheduler | None = None

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        if previous_fire_time is None:
            return self.at
        self.held.set()
        wait_until(lambda: self.scheduler is not None and self.scheduler.state != STATE_RUNNING, 15.0)
        return None


def test_a_stop_in_the_middle_of_a_look_at_the_jobs_fails_in_no_thread(tmp_path: Path) -> None:
    poller = Poller(tmp_path, [job()], ManualClock(T0 + 1))
    alarm = Alarm(poller.runner, 2, SystemClock(), random.Random(1))
    thread = threading.Thread(target=alarm.part, args=(poller.stop,))
    thread.start()
    trigger = _Once(datetime.now(UTC))
    try:
        assert wait_until(lambda: alarm.next_ns("one") is not None, 30.0)
        trigger.scheduler = alarm._scheduler
        alarm._scheduler.add_job(lambda: None, trigger)
        assert trigger.held.wait(15.0)
    finally:
        poller.stop.set()
        thread.join(30)
    assert not thread.is_alive()  # and pytest fails where a thread of the scheduler has failed
    poller.end()
