"""What counts as progress of a program, and which programs are left alone."""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.machine.message_sinks import wait_until
from support.watchdog import evidence, report

from recorder.appliance.supervisor import Process
from recorder.watchdog.acting.signs import exemption, journal_end, signs, unfit
from recorder.watchdog.evidence import DatabaseEvidence

NORTH = "recorder-north"


def test_only_programs_that_report_by_themselves_are_looked_at() -> None:
    found = dict(signs(evidence(), lambda program: None, lambda program: False))
    assert found.keys() == {NORTH, "recorder-south", "writer", "deriver", "keeper", "poller"}
    assert not any(one.exempt for one in found.values())


def test_a_report_and_a_journal_that_moves_are_progress() -> None:
    def progress(age_s: float, end: int) -> object:
        given = evidence(reports={NORTH: report(NORTH, age_s=age_s)})
        return dict(signs(given, lambda program: end, lambda program: False))[NORTH].progress

    assert progress(40.0, 1) == progress(40.0, 1)
    assert progress(40.0, 1) != progress(39.0, 1)
    assert progress(40.0, 1) != progress(40.0, 2), "it records, although it does not report"


@pytest.mark.parametrize(
    ("program", "changes", "reason"),
    [
        (NORTH, {"processes": {NORTH: Process(NORTH, "STARTING", 7, 0, 1.0)}}, "supervisord reports STARTING"),
        (NORTH, {"processes": {NORTH: Process(NORTH, "RUNNING", 8, 0, 900.0)}}, "it has not reported since its start"),
        (NORTH, {"reports": {NORTH: None}}, "it has not reported since its start"),
        (NORTH, {"reports": {NORTH: report(NORTH, state="starting")}}, "its last report is starting"),
        ("writer", {"reports": {"writer": report("writer", state="waiting")}}, "its last report is waiting"),
        ("writer", {"database": DatabaseEvidence("hung", "", 30.0)}, "Postgres is hung"),
        ("poller", {"database": DatabaseEvidence("down", "", 30.0)}, "Postgres is down"),
        (NORTH, {"database": DatabaseEvidence("down", "", 30.0)}, ""),
        (NORTH, {"reports": {"watchdog": report("watchdog", age_s=60.0)}}, "our own report is old, too"),
        (NORTH, {"reports": {NORTH: report(NORTH, state="degraded", age_s=500.0)}}, ""),
    ],
)
def test_who_only_waits_or_starts_is_left_alone(program: str, changes: dict[str, Any], reason: str) -> None:
    found = exemption(evidence(**changes), program)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)


def test_a_silence_says_leave_it_alone() -> None:
    found = dict(signs(evidence(), lambda program: None, lambda program: program == NORTH))
    assert [name for name, one in found.items() if one.exempt] == [NORTH]


def test_the_end_of_a_journal_is_its_newest_segment(tmp_path: Path) -> None:
    assert journal_end(tmp_path / "none") is None
    (tmp_path / "loaded").mkdir()
    assert journal_end(tmp_path) is None
    (tmp_path / "00000001.tape").write_bytes(b"12345")
    (tmp_path / "00000002.tape").write_bytes(b"1")
    assert journal_end(tmp_path) == ("00000002.tape", 1)


def test_a_process_that_was_stopped_may_be_ended_and_one_that_is_gone_may_not() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        wait_until(lambda: unfit(child.pid) == "")  # on a busy machine it waits for the disk while it starts
        os.kill(child.pid, signal.SIGSTOP)
        wait_until(lambda: unfit(child.pid) == "")
    finally:
        child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert unfit(child.pid) == "it has ended"
    child.wait()
    assert unfit(child.pid).startswith("the process cannot be seen")
