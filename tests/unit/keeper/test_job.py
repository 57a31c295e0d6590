"""When a job of the keeper runs, and how a run is kept."""

from pathlib import Path

from support.keeping.archives import work

from recorder.errors import ConfigError, StoreUnavailable
from recorder.keeper.job import Daily, Every, Job, Outcome, Ran, Work, next_at
from recorder.keeper.main import health_of
from recorder.keeper.run import Runner, exclusive, last_run, run_once

NOON = 1_800_000_000 // 86_400 * 86_400 + 43_200.0
URL = "postgresql://reader@127.0.0.1:1/none"


def test_a_job_that_never_ran_runs_now_and_then_at_its_slots() -> None:
    daily = Daily(3, 30)
    assert next_at(daily, Ran(), 60, NOON) == NOON
    morning = NOON - 43_200 + 3 * 3600 + 1800
    assert next_at(daily, Ran(NOON, NOON + 5, "done"), 60, NOON + 9) == morning + 86_400
    assert next_at(Every(600), Ran(NOON + 1, NOON + 2, "done"), 60, NOON + 9) == NOON + 600


def test_a_missed_slot_is_made_up_for_once() -> None:
    assert next_at(Daily(3, 30), Ran(NOON - 3 * 86_400, NOON - 3 * 86_400, "done"), 60, NOON) < NOON


def test_a_clock_that_was_set_back_keeps_no_job_from_running() -> None:
    assert next_at(Every(60), Ran(NOON + 1e6, NOON + 1e6, "done"), 60, NOON) == NOON


def test_a_failure_is_repeated_before_the_next_slot() -> None:
    assert next_at(Daily(3, 30), Ran(NOON, NOON + 5, "failed"), 60, NOON + 6) == NOON + 65


def job(handler: object) -> Job:
    return Job("one", Every(60), handler, "", 1.0)  # type: ignore[arg-type]


def refuses(_work: Work) -> Outcome:
    raise ConfigError("a person must act")


def away(_work: Work) -> Outcome:
    raise StoreUnavailable("connection refused")


def test_the_outcome_of_a_run_is_there_for_the_next_process(tmp_path: Path) -> None:
    given = work(URL, now=NOON, home=tmp_path)
    run_once(job(lambda _work: Outcome("done", "3 made")), given)
    assert last_run(tmp_path, "one") == Ran(NOON, NOON, "done", "3 made")
    run_once(job(refuses), given)
    assert last_run(tmp_path, "one").problem == "a person must act"


def test_two_processes_never_run_one_job(tmp_path: Path) -> None:
    with exclusive(tmp_path, "one") as free:
        assert free
        assert run_once(job(lambda _work: Outcome()), work(URL, now=NOON, home=tmp_path)) is None


def test_health_waits_for_postgres_and_degrades_only_where_a_person_must_look(tmp_path: Path) -> None:
    given = work(URL, now=NOON, home=tmp_path)
    for handler, state in ((away, "waiting"), (refuses, "degraded"), (lambda _work: Outcome(), "live")):
        run_once(job(handler), given)
        assert health_of(Runner([job(handler)], given))().state == state
