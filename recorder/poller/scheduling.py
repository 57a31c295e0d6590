"""APScheduler as the alarm clock of the poller: it wakes a job at each slot, in a pool of a bounded number of threads.

What a wake-up means is decided by the ledger. So it does not matter that APScheduler joins missed times into one, drops
those of a job that still runs, and reckons with a clock that may be set.
"""

import contextlib
import random
import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger

from recorder.backoff import Backoff
from recorder.clock import Clock
from recorder.errors import JournalError
from recorder.poller.clock_steps import Step
from recorder.poller.job import Job
from recorder.poller.journal import RunRow
from recorder.poller.runner import Runner
from recorder.poller.slots import Schedule

_CHECK_S = 0.5
_DRAIN_S = 8.0
_RETRY_CAP_S = 300.0
BY_HAND = "by hand"
"""Reason of a round that a person asked for."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SlotTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fires at the slots of a schedule. However many have passed, the next time is the first one after now."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first slot after now."""
        return instant(self._schedule.after(nanoseconds(now)))


def nanoseconds(at: datetime) -> int:
    """Return an instant as nanoseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000


def instant(at_ns: int) -> datetime:
    """Return nanoseconds since 1970 as an instant, to the microsecond."""
    return _EPOCH + timedelta(microseconds=at_ns // 1000)


class Alarm:
    """Wakes the jobs of a runner.

    Args:
        runner: Runs them.
        workers: Rounds that may run at once.
        clock: The clock of slots.
        rng: Varies the pauses after a failure.
    """

    def __init__(self, runner: Runner, workers: int, clock: Clock, rng: random.Random) -> None:
        self._runner = runner
        self._clock = clock
        self._backoffs = {
            name: Backoff(job.retry_s, _RETRY_CAP_S, rng)
            for name, job in runner.jobs.items()
            if job.retry_s is not None
        }
        pool = ThreadPoolExecutor(workers, pool_kwargs={"thread_name_prefix": "poll"})
        # One thread more for what is not on the schedule: retries, and rounds that a person asks for.
        apart = ThreadPoolExecutor(1, pool_kwargs={"thread_name_prefix": "poll-apart"})
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": pool, "apart": apart},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            daemon=False,
        )
        self._started = threading.Event()
        runner.on_step = self.clock_set

    def next_ns(self, name: str) -> int | None:
        """Return when a job is woken next; None while nothing is planned."""
        job = self._scheduler.get_job(name) if self._started.is_set() else None
        return None if job is None or job.next_run_time is None else nanoseconds(job.next_run_time)

    def part(self, stop: threading.Event) -> None:
        """Wake the jobs until stopped, then wait for the rounds that run.

        Raises:
            JournalError: the journal cannot be written.
        """
        for job in self._runner.jobs.values():
            self._scheduler.add_job(
                self._wake, SlotTrigger(Schedule.of(job.trigger)), args=[job], id=job.name, name=job.name
            )
        self._scheduler.start()
        self._started.set()
        try:
            for job in self._runner.jobs.values():
                self._scheduler.add_job(self._begin, args=[job], id=f"{job.name}.start", name=f"{job.name}.start")
            while not stop.wait(_CHECK_S) and self._runner.failure is None:
                self._runner.check_clock()
        finally:
            self._runner.stopping_ns = self._clock.wall_ns()
            self._end_waking()
            self._runner.drain(_DRAIN_S)
        if self._runner.failure is not None:
            raise JournalError(str(self._runner.failure))

    def _end_waking(self) -> None:
        """End the scheduler between two of its looks at the jobs.

        `shutdown` alone marks it as ended in the middle of one; removing a job that has run then fails in its thread.
        """
        self._scheduler.pause()  # no other look begins
        self._scheduler.get_jobs()  # returns when the one that goes on is over: both hold the lock of the jobs
        self._scheduler.shutdown(wait=False)

    def clock_set(self, step: Step) -> None:
        """Look at the times of all jobs again: a clock that was set back has moved them away by hours."""
        if not self._started.is_set():
            return
        if step.seconds < 0:
            now_ns = self._clock.wall_ns()
            for planned in self._scheduler.get_jobs():
                job = self._runner.jobs.get(planned.id)
                next_ns = now_ns if job is None else Schedule.of(job.trigger).after(now_ns)
                with contextlib.suppress(JobLookupError):  # a round apart from the schedule has begun meanwhile
                    self._scheduler.modify_job(planned.id, next_run_time=instant(next_ns))
        self._scheduler.wakeup()

    def by_hand(self, name: str, then: Callable[[RunRow | None], None]) -> None:
        """Run a round of a job soon, apart from its schedule, and call a function with what became of it."""
        self._apart(f"{name}.{secrets.token_hex(4)}", 0.0, self._extra, self._runner.jobs[name], BY_HAND, then)

    def _begin(self, job: Job) -> None:
        """Run the slot that is still in time, and else what a job does at each start."""
        before = self._runner.records[job.name].rounds
        self._wake(job)
        if job.at_start and self._runner.records[job.name].rounds == before:
            self._extra(job, "start")

    def _wake(self, job: Job) -> None:
        self._runner.fire(job.name)
        self._again(job)

    def _extra(self, job: Job, reason: str, then: Callable[[RunRow | None], None] | None = None) -> None:
        run = self._runner.extra(job.name, reason)
        if then is not None:
            then(run)
        self._again(job)

    def _again(self, job: Job) -> None:
        """Plan another round soon where the last one failed."""
        backoff = self._backoffs.get(job.name)
        if backoff is None:
            return
        if not self._runner.records[job.name].failures:
            backoff.reset()
            return
        self._apart(f"{job.name}.again", max(1.0, backoff.next_s()), self._extra, job, "again")

    def _apart(self, name: str, delay_s: float, work: Callable[..., None], *arguments: object) -> None:
        if self._runner.stopping:
            return
        at = instant(self._clock.wall_ns() + int(delay_s * 1e9))
        self._scheduler.add_job(
            work, DateTrigger(at), args=arguments, id=name, name=name, executor="apart", replace_existing=True
        )
