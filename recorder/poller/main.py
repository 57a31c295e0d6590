"""The program `poller`: runs the jobs at their slots, and accounts for every slot."""

import random
import threading
import time

from recorder.clock import Clock, SystemClock
from recorder.errors import ConfigError
from recorder.poller.by_hand.requests import Requests
from recorder.poller.clock_steps import ClockSteps
from recorder.poller.health import health_of
from recorder.poller.job import Job
from recorder.poller.jobs import jobs_of, services_of
from recorder.poller.journal import PollJournal
from recorder.poller.recovery import recover
from recorder.poller.runner import Runner
from recorder.poller.scheduling import Alarm
from recorder.poller.services import Services
from recorder.process.health import HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import reporting
from recorder.process.threads import Part, ThreadGroup
from recorder.settings import Settings

_GRACE_S = 9.5
_COUNT_S = 60.0

_log = get_logger(__name__)


def main(settings: Settings) -> int:
    """Run the jobs of the settings until the process is stopped.

    Raises:
        ConfigError: there is nothing to poll, a setting is wrong, or another poller has the journal.
    """
    if not any(venue.enabled for venue in settings.venues.values()) and not settings.yahoo.symbols:
        raise ConfigError(f"{settings.file} enables no venue, so there is nothing to poll")
    clock = SystemClock()
    threads = ThreadGroup()
    jobs = jobs_of(settings, clock)
    services = Services(services_of(settings, threads.stop))
    return run(settings, jobs, services, clock, threads)


def run(settings: Settings, jobs: list[Job], services: Services, clock: Clock, threads: ThreadGroup) -> int:
    """Run these jobs until the process is stopped.

    Raises:
        ConfigError: another poller has the journal, or it cannot be written.
        JournalError: the disk fails.
    """
    journal = PollJournal.open(settings.journal.dir, settings.journal, clock)
    runner = Runner(jobs, journal, services, clock, ClockSteps(clock), threads.stop)
    threads.listen()
    begin(journal, runner, clock)
    alarm = Alarm(runner, settings.poller.workers, clock, random.Random())
    file = HealthFile(settings.home, "poller")
    threads.add("health", reporting(file, lambda: health_of(runner, alarm, clock), settings.monitoring))
    threads.add("requests", Requests(settings.home).part(runner.jobs, alarm.by_hand))
    threads.add("sync", sync_loop(journal, settings.journal.fsync_ms / 1000))
    threads.add("scheduler", alarm.part)
    status = threads.wait(_GRACE_S)
    if runner.failure is None:
        runner.account()
        for job in jobs:
            if job.at_stop is not None:
                job.at_stop()
        journal.close("the poller was stopped")
    services.close()
    return status


def begin(journal: PollJournal, runner: Runner, clock: Clock) -> None:
    """Write what is promised from now on, and finish what the last process left open."""
    with journal.lock:
        promises, missed = journal.ledger.begin(runner.jobs.values(), clock.wall_ns())
        journal.account(promises, missed)
    taken = recover(journal, runner.jobs)
    _log.info(
        "poller.start", journal=str(journal.journal.folder), jobs=",".join(runner.jobs), schedules=len(promises),
        recovered_rounds=len(journal.recovered_rounds), recovered_answers=taken,
        cut_bytes=journal.journal.recovered.cut_bytes,
    )  # fmt: skip


def sync_loop(journal: PollJournal, sync_s: float) -> Part:
    """Return a part that syncs the journal to the disk, and writes what a full disk made wait."""

    def body(stop: threading.Event) -> None:
        counted_s = time.monotonic()
        while not stop.wait(sync_s):
            if time.monotonic() - counted_s >= _COUNT_S:
                counted_s = time.monotonic()
                journal.count_session()
            journal.flush()
            journal.sync()

    return body
