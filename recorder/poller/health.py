"""The health of the poller: what each job did last, when it runs next, and what a person should look at."""

from recorder.clock import Clock
from recorder.poller.job import Daily, Job
from recorder.poller.runner import JobRecord, Runner
from recorder.poller.scheduling import Alarm
from recorder.poller.services import SCHEMA
from recorder.poller.slots import DAY_S
from recorder.printable import one_line
from recorder.process.health import JobFigures, PollerFigures
from recorder.process.reporting import Health

_FAILURES = 3
"""So many failures in a row need a person; fewer are an outage of seconds or a restart of the database."""
_FAILING_S = 60.0  # and not before this long without a success
_BUSY_S = 60.0  # a slot that was missed through our own fault is shown at least this long
_START_S = 60.0
"""At a start every job has a round at once, and short ones wait for long ones: what they miss then is only counted."""
_SHOWN = 3


def health_of(runner: Runner, alarm: Alarm, clock: Clock) -> Health:
    """Return the health of the poller."""
    now_ns = clock.wall_ns()
    jobs = {
        name: figures_of(job, runner.records[name], alarm.next_ns(name), runner.mark_ns(name), now_ns, runner.began_ns)
        for name, job in runner.jobs.items()
    }
    position = runner.journal.journal.position
    records = runner.records.values()
    figures = PollerFigures(
        jobs=jobs,
        services=dict(runner.services.problems),
        circuits=runner.services.circuits,
        notices=runner.services.noticed(),
        rounds=sum(record.rounds for record in records),
        answers=sum(record.answers for record in records),
        answer_bytes=sum(record.bytes for record in records),
        rows=sum(record.rows for record in records),
        journal_segment=position.segment,
        journal_offset=position.offset,
        blocks=runner.journal.blocks,
    )
    problems = [f"{name}: {one.problem}" for name, one in jobs.items() if one.problem]
    if runner.journal.full:
        problems.insert(0, "the disk is at its reserve: answers are dropped, and slots fail")
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        return Health("degraded", "; ".join(problems[:_SHOWN]) + more, figures)
    failing = [f"{name}: {reason}" for name, reason in sorted(figures.services.items())]
    ending = [
        f"{name} announces {text}" for name, counts in sorted(figures.notices.items()) for text in counts
        if not text.startswith(SCHEMA)
    ]  # fmt: skip
    return Health("live", "; ".join([*failing, *ending][:_SHOWN]), figures)


def figures_of(
    job: Job, record: JobRecord, next_ns: int | None, mark_ns: int, now_ns: int, began_ns: int
) -> JobFigures:
    """Return the figures of one job.

    Args:
        job: The job.
        record: What is known of its rounds.
        next_ns: When it is woken next.
        mark_ns: Every slot up to here is accounted for.
        now_ns: The time.
        began_ns: When the poller started.
    """
    last = record.last
    return JobFigures(
        next_at=None if next_ns is None else next_ns / 1e9,
        running_since=record.running_since_ns / 1e9 if record.running_since_ns else None,
        last_slot=None if last is None else last.slot / 1e9,
        last_end=record.ended_ns / 1e9 if record.ended_ns else None,
        last_state="" if last is None else last.state,
        last_reason="" if last is None else last.reason,
        last_duration_s=None if last is None else last.duration_s,
        rounds=record.rounds,
        failed=record.failed,
        late=record.late,
        missed=record.missed,
        rows=record.rows,
        answers=record.answers,
        bytes=record.bytes,
        odd=record.odd,
        overdue=max(0, int((now_ns - mark_ns) // (period_s(job) * 1e9)) - 1),
        counts=dict(record.counts),
        problem=problem_of(job, record, mark_ns, now_ns, began_ns),
    )


def problem_of(job: Job, record: JobRecord, mark_ns: int, now_ns: int, began_ns: int) -> str:
    """Return why a person should look at a job; empty where it is well. Arguments as for `figures_of`."""
    every_s = period_s(job)
    if record.running_since_ns and now_ns - record.running_since_ns > 2 * every_s * 1e9:
        return f"a round has run for {(now_ns - record.running_since_ns) / 1e9:.0f} s"
    behind_s = (now_ns - mark_ns) / 1e9
    if not record.running_since_ns and behind_s > 2 * every_s + max(job.grace_s, _BUSY_S):
        return f"no slot was looked at for {behind_s:.0f} s"
    failing_s = (now_ns - record.failing_since_ns) / 1e9 if record.failing_since_ns else 0.0
    if record.failures >= _FAILURES and failing_s >= _FAILING_S and record.last is not None:
        return f"failed {record.failures} times in a row: {one_line(record.last.reason)}"
    busy_s = (now_ns - record.busy_ns) / 1e9
    if record.busy_ns - began_ns > _START_S * 1e9 and 0 <= busy_s < max(_BUSY_S, 2 * every_s):
        slots = "a slot" if record.busy_slots == 1 else f"{record.busy_slots} slots"
        return f"{slots} missed {busy_s:.0f} s ago: an earlier round or all workers were busy"
    return ""


def period_s(job: Job) -> float:
    """Return the seconds between two slots of a job."""
    return DAY_S if isinstance(job.trigger, Daily) else job.trigger.period_s
