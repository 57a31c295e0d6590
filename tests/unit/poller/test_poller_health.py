"""What a person should look at: failing, late and hanging jobs, each with its reason."""

import pytest

from recorder.cli.status import job_lines
from recorder.poller.health import figures_of, problem_of
from recorder.poller.job import Daily, Every, Job, Kept, Outcome, Round
from recorder.poller.journal import RunRow
from recorder.poller.runner import JobRecord
from recorder.process.health import JobFigures

NS = 1_000_000_000
NOW = 1_700_000_000 * NS


class Idle:
    """A handler without work."""

    def run(self, round: Round) -> Outcome:
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        pass


MINUTE = Job("books", Every(60), 30.0, Idle(), "")
FAILED = RunRow(1, "books", NOW, 1, "failed", "clob answers HTTP 503")


def ago(seconds: float) -> int:
    return NOW - int(seconds * NS)


@pytest.mark.parametrize(
    ("record", "mark_s", "problem"),
    [
        (JobRecord(last=FAILED, failures=2, failing_since_ns=ago(300)), 30, ""),
        (JobRecord(last=FAILED, failures=9, failing_since_ns=ago(20)), 30, ""),
        (
            JobRecord(last=FAILED, failures=3, failing_since_ns=ago(90)),
            30,
            "failed 3 times in a row: clob answers HTTP 503",
        ),
        (JobRecord(running_since_ns=ago(100)), 100, ""),
        (JobRecord(running_since_ns=ago(130)), 130, "a round has run for 130 s"),
        (JobRecord(), 170, ""),
        (JobRecord(), 200, "no slot was looked at for 200 s"),
        (JobRecord(busy_ns=ago(10), busy_slots=3), 30, "3 slots missed 10 s ago: an earlier round or all workers"),
        (JobRecord(busy_ns=ago(10), busy_slots=1), 30, "a slot missed 10 s ago"),
        (JobRecord(busy_ns=ago(500), busy_slots=3), 30, ""),
    ],
)
def test_a_job_is_a_problem_only_for_as_long_as_it_is_one(record: JobRecord, mark_s: float, problem: str) -> None:
    found = problem_of(MINUTE, record, ago(mark_s), NOW, ago(900))
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


def test_slots_that_wait_for_the_first_rounds_of_all_jobs_are_no_problem() -> None:
    record = JobRecord(busy_ns=ago(10), busy_slots=2)
    assert problem_of(MINUTE, record, ago(30), NOW, ago(50)) == ""
    assert problem_of(MINUTE, record, ago(30), NOW, ago(100)).startswith("2 slots missed 10 s ago")


def test_a_daily_job_may_rest_for_a_day() -> None:
    assert problem_of(Job("fold", Daily(3, 30), 3600.0, Idle(), ""), JobRecord(), ago(90_000), NOW, ago(900)) == ""


def test_the_figures_of_a_job_are_those_of_its_last_round() -> None:
    record = JobRecord(rounds=3, failed=1, last=FAILED, ended_ns=ago(5), failures=1)
    figures = figures_of(MINUTE, record, NOW + 10 * NS, ago(30), NOW, ago(900))
    assert (figures.next_at, figures.last_state, figures.last_reason) == (1_700_000_010, "failed", FAILED.reason)
    assert (figures.rounds, figures.failed, figures.last_end, figures.running_since) == (3, 1, 1_699_999_995, None)


def test_status_counts_the_jobs_and_names_those_that_failed() -> None:
    now = NOW / 1e9
    jobs = {
        "discovery": JobFigures(last_state="done", last_end=now - 30),
        "books": JobFigures(last_state="failed", last_reason="clob answers HTTP 503", last_end=now - 3),
        "whales": JobFigures(running_since=now - 1),
        "fold": JobFigures(),
    }
    text = " ".join(job_lines(jobs, now, 200))
    assert text == (
        "polls: 4 jobs, 1 done, 1 failed, 1 running, 1 waiting for the first slot; latest books 3 s ago; "
        "books failed (clob answers HTTP 503)"
    )
    assert job_lines({}, now, 80) == []
