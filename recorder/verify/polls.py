"""Proves that the poller has accounted for every slot that its schedules promise, once, and that its rows arrived."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from recorder.poller.slots import Schedule
from recorder.store.database import Cursor

_FETCH = 20_000
_EXAMPLES = 3
_NS = 1_000_000_000
_OVERDUE_NS = 900 * _NS  # a round may wait for others and for its service
_OVERDUE_PERIODS = 2  # or a period long for its turn, and then run for one

_SCHEDULES = """
SELECT job, (extract(epoch FROM since) * 1000000)::bigint * 1000, period_s, offset_s, continues
  FROM poll_schedule ORDER BY job, since"""
_FOLDED = "SELECT job, sum(slots)::bigint FROM poll_day GROUP BY job"
_RUNS = """
SELECT job, (extract(epoch FROM slot) * 1000000)::bigint * 1000, slots
  FROM poll_run WHERE slots > 0 ORDER BY job, slot"""
_SUMS = """
SELECT (SELECT coalesce(sum(rows), 0) FROM poll_run)::bigint + (SELECT coalesce(sum(rows), 0) FROM poll_day)::bigint,
       (SELECT coalesce(sum(answers), 0) FROM poll_run)::bigint
       + (SELECT coalesce(sum(answers), 0) FROM poll_day)::bigint,
       (SELECT coalesce(sum(frames), 0) FROM session WHERE venue = 'poller')::bigint,
       (SELECT count(*) = 0 FROM session WHERE venue = 'poller' AND ended_at IS NULL),
       (SELECT coalesce(sum(l.offered), 0) FROM load_ledger l JOIN journal j USING (journal_id)
         WHERE j.recorder = 'poller' AND l.table_name <> ALL (%s))::bigint"""
_HOLES = """
SELECT job, (extract(epoch FROM from_at) * 1000000)::bigint * 1000,
       (extract(epoch FROM until_at) * 1000000)::bigint * 1000, reason
  FROM poll_hole ORDER BY from_at DESC LIMIT 20"""
_OF_THE_LEDGER = ["poll_schedule", "poll_run", "session", "quarantine"]


def _instant(slot_ns: int) -> str:
    return f"{datetime.fromtimestamp(slot_ns // _NS, UTC):%Y-%m-%d %H:%M:%S} UTC"


class Planned(NamedTuple):
    """A row of poll_schedule."""

    since_ns: int
    period_s: int
    offset_s: int
    continues: bool


class Accounted(NamedTuple):
    """A row of poll_run that accounts for slots."""

    slot_ns: int
    slots: int


class JobCheck(msgspec.Struct):
    """The slots of one job."""

    job: str
    expected: int = 0  # promised, up to the last one accounted for
    accounted: int = 0
    missing: int = 0
    doubled: int = 0
    unplanned: int = 0  # accounted for and never promised
    until_ns: int = 0  # the last slot accounted for
    overdue: int = 0  # promised long ago, after the last one accounted for
    examples: list[str] = []

    @property
    def ok(self) -> bool:
        """Whether every promised slot is accounted for exactly once."""
        return not (self.missing or self.doubled or self.unplanned)

    def note(self, what: str, slot_ns: int) -> None:
        """Keep the first few examples."""
        if len(self.examples) < _EXAMPLES:
            self.examples.append(f"{what} {_instant(slot_ns)}")


def check_slots(
    job: str, planned: Sequence[Planned], runs: Iterable[Accounted], folded: int, now_ns: int | None = None
) -> JobCheck:
    """Compare what was promised with what is accounted for. Pure.

    Args:
        job: Name of the job.
        planned: Its schedules, oldest first.
        runs: What is accounted for, by slot.
        folded: How many slots before those are accounted for in daily sums.
        now_ns: Also find what is overdue at this time.
    """
    check = JobCheck(job, accounted=folded)
    at_ns = planned[0].since_ns if planned else 0
    for run in runs:
        check.accounted += run.slots
        plan = next((one for one in reversed(planned) if one.since_ns < run.slot_ns), None)
        schedule = Schedule(0, 0) if plan is None else Schedule(plan.period_s, plan.offset_s)
        if not schedule.count(run.slot_ns - 1, run.slot_ns):
            check.unplanned += run.slots
            check.note("never promised:", run.slot_ns)
            continue
        end_ns = run.slot_ns + (run.slots - 1) * schedule.period_ns
        if run.slot_ns <= at_ns:
            check.doubled += schedule.count(run.slot_ns - 1, min(at_ns, end_ns))
            check.note("twice:", run.slot_ns)
        missing = _promised(planned, at_ns, run.slot_ns - 1) - folded
        folded = 0  # sums are made of the oldest rows only
        if missing > 0:
            check.missing += missing
            check.note(f"{missing} missing before", run.slot_ns)
        elif missing < 0:
            check.doubled -= missing
            check.note(f"daily sums have {-missing} slots too many before", run.slot_ns)
        at_ns = max(at_ns, end_ns)
    check.expected = _promised(planned, 0, at_ns)
    check.until_ns = at_ns
    if now_ns is not None and planned:
        patience_ns = max(_OVERDUE_NS, _OVERDUE_PERIODS * planned[-1].period_s * _NS)
        check.overdue = max(0, _promised(planned, at_ns, now_ns - patience_ns) - folded)
    return check


def _promised(planned: Sequence[Planned], after_ns: int, until_ns: int) -> int:
    """Return how many slots were promised with after < slot <= until."""
    total = 0
    for number, plan in enumerate(planned):
        following = planned[number + 1] if number + 1 < len(planned) else None
        end_ns = until_ns if following is None else min(until_ns, following.since_ns)
        if following is not None and not following.continues and following.since_ns <= until_ns:
            continue  # what was accounted for after the last row of this schedule was lost with its journal
        total += Schedule(plan.period_s, plan.offset_s).count(max(after_ns, plan.since_ns), end_ns)
    return total


class PollCheck(msgspec.Struct):
    """The poller's part of a report."""

    jobs: list[JobCheck] = []
    rows: int = 0  # that the rounds gave to the journal
    offered: int = 0  # of these, that the writer has read
    answers: int = 0  # of rounds that have ended
    frames: int = 0  # answers in the journal, as the sessions of the poller say
    holes: list[str] = []  # parts of feeds that were not read; they are declared
    complete: bool = True  # whether these sessions have ended; a running poller counts its answers once a minute

    def problems(self) -> list[str]:
        """Return one sentence for each fault."""
        found = [
            f"poll {one.job}: expected {one.expected} slots, accounted for {one.accounted}: {one.missing} missing, "
            f"{one.doubled} twice, {one.unplanned} never promised ({'; '.join(one.examples)})"
            for one in self.jobs
            if not one.ok
        ]
        if not self.complete:
            found += self._overdue("the poller does not run, or it hangs: see tapedeck status")
        if self.rows != self.offered:
            found.append(f"polls: the rounds made {self.rows:,} rows, and {self.offered:,} were read from the journal")
        if self.complete and self.answers > self.frames:
            found.append(f"polls: rounds used {self.answers:,} answers, and only {self.frames:,} are in the journal")
        return found

    def notes(self) -> list[str]:
        """Return one sentence for each job whose slots wait for the next start of a stopped poller, and each hole."""
        waiting = self._overdue("the poller was stopped, and names them at its next start") if self.complete else []
        return [*waiting, *self.holes]

    def _overdue(self, why: str) -> list[str]:
        return [
            f"poll {one.job}: {one.overdue:,} slots since {_instant(one.until_ns)} are not accounted for; {why}"
            for one in self.jobs
            if one.overdue > 0
        ]


def check_polls(cursor: Cursor, now_ns: int | None = None) -> PollCheck:
    """Check the slots, the rows and the answers of the poller.

    Args:
        cursor: In a transaction with one snapshot.
        now_ns: Also find slots that are overdue at this time; everything written before is in the database.
    """
    planned: dict[str, list[Planned]] = {}
    cursor.execute(_SCHEDULES)
    for job, *values in cursor.fetchall():
        planned.setdefault(str(job), []).append(Planned(*values))
    cursor.execute(_FOLDED)
    folded = {str(job): int(slots) for job, slots in cursor.fetchall()}
    cursor.execute(_SUMS, (_OF_THE_LEDGER,))
    row = cursor.fetchone()
    assert row is not None
    result = PollCheck(rows=row[0], answers=row[1], frames=row[2], complete=row[3], offered=row[4])
    cursor.execute(_HOLES)
    result.holes = [
        f"poll {job}: nothing was read from {_instant(from_ns)} to {_instant(until_ns)}: {reason}"
        for job, from_ns, until_ns, reason in cursor.fetchall()
    ]
    runs: dict[str, list[Accounted]] = {}
    cursor.execute(_RUNS)
    for job, slot_ns, slots in _rows(cursor):
        runs.setdefault(str(job), []).append(Accounted(slot_ns, slots))
    for job in sorted({*planned, *runs, *folded}):
        accounted = runs.get(job, [])
        result.jobs.append(check_slots(job, planned.get(job, []), accounted, folded.get(job, 0), now_ns))
    return result


def _rows(cursor: Cursor) -> Iterator[tuple[str, int, int]]:
    while found := cursor.fetchmany(_FETCH):
        yield from found
