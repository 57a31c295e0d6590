"""One round of a job in this process: while no poller runs, or only to show what a round would store."""

import threading
from collections.abc import Callable, Sequence

from recorder.clock import SystemClock
from recorder.errors import JournalError
from recorder.pgcopy.polled import POLLED, RowError, encode_row
from recorder.poller.clock_steps import ClockSteps
from recorder.poller.job import Job, Kept, Outcome
from recorder.poller.journal import PollJournal, RunRow
from recorder.poller.ledger import OpenRound, new_id
from recorder.poller.main import begin
from recorder.poller.round import Collected
from recorder.poller.runner import Runner
from recorder.poller.scheduling import BY_HAND
from recorder.poller.services import Services
from recorder.poller.slots import Schedule
from recorder.settings import Settings


class DryRound(Collected):
    """A round that asks services, and neither keeps their answers nor stores rows.

    Attributes:
        plain: Rows by table.
    """

    def __init__(self, job: Job, services: Services, stop: threading.Event) -> None:
        self._clock = SystemClock()
        now_ns = self._clock.wall_ns()
        slot_ns = Schedule.of(job.trigger).at_or_before(now_ns)
        super().__init__(OpenRound(new_id(), job.name, slot_ns, 0, "dry run", now_ns), stop)
        self.plain: dict[str, list[tuple[object, ...]]] = {}
        self._services = services

    def get(self, service: str, path: str) -> Kept:
        """Request a path."""
        return self._ask(service, path, b"")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        """Request a path with a body."""
        return self._ask(service, path, body)

    def store(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Keep rows to show them; one that does not fit its table is odd."""
        for row in rows:
            try:
                encode_row(table, row)
            except RowError as error:
                self.odd(table, str(error))
            else:
                self.plain.setdefault(table, []).append(row)

    def examples(self, count: int) -> dict[str, list[dict[str, object]]]:
        """Return the first rows of each table, by their columns."""
        return {
            table: [dict(zip((name for name, _ in POLLED[table]), row, strict=True)) for row in rows[:count]]
            for table, rows in self.plain.items()
        }

    def _ask(self, service: str, path: str, body: bytes) -> Kept:
        reply = self._services.ask(service, path, body)
        self.opened.answers += 1
        self.opened.bytes += len(reply.body)
        return Kept(service, path, body, reply.status, reply.body, self._clock.wall_ns(), reply.request_id)


def dry_run(job: Job, services: Services, stop: threading.Event) -> tuple[DryRound, Outcome]:
    """Run a round without keeping anything.

    Raises:
        RecorderError: the round failed.
    """
    round = DryRound(job, services, stop)
    return round, job.handler.run(round)


def run_once(
    settings: Settings,
    jobs: Sequence[Job],
    name: str,
    services: Services,
    stop: threading.Event,
    goes_on: Callable[[RunRow], bool] = lambda _run: False,
) -> RunRow:
    """Run a round of a job and journal it, as the poller does.

    Args:
        settings: The settings.
        jobs: All jobs.
        name: Of the job.
        services: That the jobs ask.
        stop: Ends every wait.
        goes_on: Whether another round follows one whose block is written.

    Returns:
        What became of the last round.

    Raises:
        ConfigError: a poller runs, or the journal cannot be written.
        JournalError: the disk fails.
    """
    clock = SystemClock()
    journal = PollJournal.open(settings.journal.dir, settings.journal, clock)
    runner = Runner(jobs, journal, services, clock, ClockSteps(clock), stop)
    try:
        begin(journal, runner, clock)
        run = runner.extra(name, BY_HAND)
        while run is not None and goes_on(run):
            run = runner.extra(name, BY_HAND)
    finally:
        if runner.failure is None:
            journal.close("one round was run by hand")
    if runner.failure is not None:
        raise JournalError(str(runner.failure))
    if run is None:
        raise JournalError("the journal cannot take more rows")
    return run
