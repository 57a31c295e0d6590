"""The program keeper: runs its jobs by their schedules and reports how they ended."""

import threading
import time
from collections.abc import Callable

from recorder.appliance import embedded_postgres
from recorder.keeper.job import Work
from recorder.keeper.jobs import jobs_of
from recorder.keeper.run import Runner
from recorder.process.health import HealthFile, KeeperFigures, KeepFigures
from recorder.process.reporting import Health, reporting
from recorder.process.threads import Part, run
from recorder.settings import Settings
from recorder.store.database import KEEPER

_LEAVE_S = 2.0


def work_of(settings: Settings) -> Work:
    """Return what the handlers get."""
    return Work(
        settings,
        lambda: embedded_postgres.database_url(settings, KEEPER),  # known after the first start of the server
        lambda: embedded_postgres.database_url(settings, embedded_postgres.SUPERUSER),
        threading.Event(),
        time.time,
    )


def health_of(runner: Runner) -> Callable[[], Health]:
    """Return a function that gives the health of the keeper."""

    def check() -> Health:
        jobs = {}
        for job in runner.jobs:
            last = runner.last[job.name]
            jobs[job.name] = KeepFigures(
                None if job.name in runner.running else runner.next_at(job), runner.running.get(job.name),
                last.ended or None, last.state, last.detail, last.problem, last.damaged,
                last.let_go_bytes, float(job.schedule.period_s),
            )  # fmt: skip
        problems = [f"{name}: {one.problem}" for name, one in jobs.items() if one.problem]
        if problems:
            return Health("degraded", "; ".join(problems[:3]), KeeperFigures(jobs))
        waits = next((one.last_detail for one in jobs.values() if one.last_state == "waits"), None)
        if waits is not None:
            return Health("waiting", waits, KeeperFigures(jobs))
        return Health("live", "", KeeperFigures(jobs))

    return check


def main(settings: Settings) -> int:
    """Run the jobs until the process is stopped.

    Raises:
        ConfigError: `keeper.off` names a job that does not exist.
    """
    runner = Runner(jobs_of(settings), work_of(settings))
    parts: dict[str, Part] = {job.name: runner.part(job) for job in runner.jobs}
    parts["health"] = reporting(HealthFile(settings.home, "keeper"), health_of(runner), settings.monitoring)
    return run(parts, leave_s={job.name: _LEAVE_S for job in runner.jobs})
