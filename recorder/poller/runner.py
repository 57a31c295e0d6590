"""Runs rounds: asks the ledger what a job has to do now, runs it, and writes what became of it."""

import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from recorder.clock import Clock
from recorder.errors import JournalError, JournalFull, RecorderError, RestCircuitOpen, RestUnavailable
from recorder.poller.clock_steps import ClockSteps, Step
from recorder.poller.job import Job, Outcome
from recorder.poller.journal import PollJournal, RunRow
from recorder.poller.ledger import LATE_NS, Interval, Missed, OpenRound
from recorder.poller.round import Collected, LiveRound
from recorder.poller.services import Services
from recorder.printable import one_line
from recorder.process.log import get_logger

_REASON_CHARS = 300
_TRACEBACK_CHARS = 4000

_log = get_logger(__name__)


class JobRecord(msgspec.Struct):
    """What is known of the rounds of one job since the program began."""

    rounds: int = 0
    failed: int = 0
    missed: int = 0  # slots
    busy_ns: int = 0  # when slots were missed last because a round or all workers were busy; 0: never
    busy_slots: int = 0  # how many then
    late: int = 0
    rows: int = 0
    answers: int = 0
    bytes: int = 0
    odd: int = 0
    counts: Counter[str] = msgspec.field(default_factory=Counter)  # what the handler counts
    running_since_ns: int = 0  # 0: none runs
    last: RunRow | None = None
    ended_ns: int = 0  # of the last round
    failures: int = 0  # in a row
    failing_since_ns: int = 0  # when the first of these ended; 0 without one


class Runner:
    """Runs the rounds of all jobs. Threads may share it; the rounds of one job never overlap.

    Args:
        jobs: All jobs.
        journal: Keeps answers, rows and the ledger.
        services: That the jobs ask.
        clock: The clock of slots.
        steps: Notices a clock that was set.
        stop: Ends every wait.
        on_step: Called after the clock was set, so that the scheduler looks at its times again.
    """

    def __init__(
        self,
        jobs: Iterable[Job],
        journal: PollJournal,
        services: Services,
        clock: Clock,
        steps: ClockSteps,
        stop: threading.Event,
        on_step: Callable[[Step], None] = lambda _step: None,
    ) -> None:
        self.jobs: Mapping[str, Job] = {job.name: job for job in jobs}
        self.journal = journal
        self.services = services
        self.records = {name: JobRecord() for name in self.jobs}
        self.failure: JournalError | None = None  # the journal cannot be written: the program must end
        self.began_ns = clock.wall_ns()
        self.stopping_ns = 0  # when the last rounds were to end; 0 before that
        self.on_step = on_step
        self._clock = clock
        self._steps = steps
        self._stop = stop
        self._busy = {name: threading.Lock() for name in self.jobs}
        self._idle = threading.Condition()
        self._running = 0

    @property
    def stopping(self) -> bool:
        """Whether no further round is begun."""
        return self._stop.is_set() or self.failure is not None

    def mark_ns(self, name: str) -> int:
        """Return up to where every slot of a job is accounted for or belongs to a round that runs."""
        with self.journal.lock:
            return self.journal.ledger.state.marks[name].until_ns

    def check_clock(self) -> None:
        """Notice that the clock was set or that the machine slept."""
        with self.journal.lock:
            step = self._steps.check()
            if step is not None and step.interval is not None:
                self.journal.ledger.absent(step.interval)
        if step is not None:
            reason = "clock" if step.interval is None else step.interval.reason
            _log.warning("clock.step", program="poller", seconds=round(step.seconds, 3), reason=reason)
            self.on_step(step)

    def fire(self, name: str) -> None:
        """Run the slot of a job that is due, and account for those that passed without a round."""
        self._guarded(name, lambda job: self._slot(job))

    def extra(self, name: str, reason: str) -> RunRow | None:
        """Run a round of a job apart from its schedule.

        Returns:
            What became of it; None when a round of the job runs already, or the program stops.
        """
        return self._guarded(name, lambda job: self._extra(job, reason))

    def account(self) -> None:
        """Account for the slots that passed without a round, at the end of the program."""
        now_ns = self._clock.wall_ns()
        with self.journal.lock:
            self.journal.ledger.absent(Interval(self.stopping_ns or now_ns, now_ns, "stopped"))
            self._missed([one for name in self.jobs for one in self.journal.ledger.account(name, now_ns)])

    def _missed(self, missed: Sequence[Missed]) -> None:
        for one in missed:
            record = self.records[one.job]
            record.missed += one.slots
            if one.reason == "busy":
                record.busy_ns, record.busy_slots = self._clock.wall_ns(), one.slots
        self.journal.account(missed=missed)

    def drain(self, deadline_s: float) -> bool:
        """Wait for the rounds that run; return whether all have ended."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._running, deadline_s)

    def _guarded(self, name: str, work: Callable[[Job], RunRow | None]) -> RunRow | None:
        if self.stopping or not self._busy[name].acquire(blocking=False):
            return None
        with self._idle:
            self._running += 1
        try:
            return work(self.jobs[name])
        except JournalFull:
            return None  # logged where it was noticed; the slot is accounted for once there is space
        except JournalError as error:
            self.failure = error
            _log.error("journal.failed", program="poller", error=str(error))
            return None
        finally:
            self._busy[name].release()
            with self._idle:
                self._running -= 1
                self._idle.notify_all()

    def _slot(self, job: Job) -> RunRow | None:
        self.check_clock()
        with self.journal.lock:
            due = self.journal.ledger.due(job, self._clock.wall_ns())
            if due.missed:
                self._missed(due.missed)
        return None if due.round is None else self._run(job, due.round)

    def _extra(self, job: Job, reason: str) -> RunRow:
        now_ns = self._clock.wall_ns()
        with self.journal.lock:
            ledger = self.journal.ledger
            slot_ns = ledger.state.marks[job.name].schedule.at_or_before(now_ns)
            opened = ledger.open_extra(job.name, slot_ns, reason, now_ns)
        return self._run(job, opened)

    def _run(self, job: Job, opened: OpenRound) -> RunRow:
        record = self.records[job.name]
        record.running_since_ns = opened.started_ns
        began_s = self._clock.monotonic_s()
        round = LiveRound(opened, self._stop, self.services, self.journal, self._clock)
        trace: str | None = None
        fatal: JournalError | None = None
        try:
            outcome = job.handler.run(round)
            state, reason = _state(opened, outcome), outcome.detail
            record.counts.update(outcome.counts)
        except JournalFull as error:
            state, reason = "failed", str(error)
        except JournalError as error:
            state, reason, fatal = "failed", str(error), error
        except RecorderError as error:
            state, reason = self._failed(round, error)
        except Exception as error:  # a fault in one job must not end the others
            state, reason = "failed", f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
            _log.exception("poll.fault", job=job.name)
        run = row_of(round, state, reason, self._clock.monotonic_s() - began_s, trace)
        try:
            if fatal is not None:
                raise fatal
            self.journal.finish(run, round.rows)
        finally:
            self._record(record, run)
        self._log(run)
        return run

    def _failed(self, round: Collected, error: RecorderError) -> tuple[str, str]:
        if self._stop.is_set() and isinstance(error, RestUnavailable):
            return "failed", "stopped"
        if isinstance(error, RestCircuitOpen) and not round.opened.answers:
            return "skipped", "breaker"
        return "failed", str(error)

    def _record(self, record: JobRecord, run: RunRow) -> None:
        record.running_since_ns = 0
        record.rounds += 1
        record.failed += run.state == "failed"
        now_ns = self._clock.wall_ns()
        if run.state == "failed":
            record.failures += 1
            record.failing_since_ns = record.failing_since_ns or now_ns
        else:
            record.failures = record.failing_since_ns = 0
        record.late += run.state == "late"
        record.rows += run.rows
        record.answers += run.answers
        record.bytes += run.bytes
        record.odd += run.odd
        record.last = run
        record.ended_ns = now_ns

    def _log(self, run: RunRow) -> None:
        write = _log.warning if run.state == "failed" else _log.debug
        write(
            "poll.round", job=run.job, state=run.state, reason=run.reason, slots=run.slots, rows=run.rows,
            answers=run.answers, bytes=run.bytes, odd=run.odd, duration_s=round(run.duration_s or 0.0, 3),
        )  # fmt: skip


def row_of(round: Collected, state: str, reason: str, duration_s: float | None, trace: str | None = None) -> RunRow:
    """Return the row of the ledger of a round."""
    opened = round.opened
    apart = f"{opened.reason}; " if opened.reason and reason else opened.reason
    return RunRow(
        run_id=opened.run_id,
        job=opened.job,
        slot=opened.slot_ns,
        slots=opened.slots,
        state=state,
        reason=one_line(apart + reason)[:_REASON_CHARS],
        started_at=opened.started_ns,
        duration_s=None if duration_s is None else max(0.0, duration_s),
        rows=round.row_count,
        bytes=opened.bytes,
        answers=opened.answers,
        attempts=opened.attempts,
        odd=round.odd_count,
        odd_samples=tuple(round.odd_samples),
        request_ids=tuple(round.request_ids),
        traceback=trace,
        failures=tuple(round.failures),
    )


def _state(opened: OpenRound, outcome: Outcome) -> str:
    late = opened.slots and opened.started_ns - opened.slot_ns > LATE_NS
    return "late" if outcome.state == "done" and late else outcome.state
