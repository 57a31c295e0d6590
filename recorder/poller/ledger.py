"""Which slots are to be run now, and what became of all others. Pure: the caller gives the time.

Each job has a mark: every slot up to it is accounted for or belongs to a round that runs. The mark only rises, so that
no slot is accounted for twice, whatever the clock does:

- When the clock is set ahead, the slots in between are missed (clock). While the machine sleeps, too (asleep).
- When the clock is set back, the slots up to the mark come again. They are accounted for, and yet a feed must not stop
  for an hour: their rounds are run apart from the schedule and account for no slot.
"""

import secrets
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from recorder.poller.job import Job
from recorder.poller.slots import Schedule

_INTERVALS = 64
LATE_NS = 1_000_000_000
"""A round that begins later than this after its slot is late."""

Reason = Literal["asleep", "busy", "stopped", "clock"]


class JobMark(msgspec.Struct, array_like=True):
    """How far the slots of a job are accounted for."""

    period_s: int
    offset_s: int
    until_ns: int  # every slot up to here is accounted for or belongs to an open round

    @property
    def schedule(self) -> Schedule:
        """Its slots."""
        return Schedule(self.period_s, self.offset_s)


class OpenRound(msgspec.Struct, array_like=True):
    """A round that runs, or that ran when its process was killed."""

    run_id: int
    job: str
    slot_ns: int
    slots: int  # 1; 0 for a round apart from the schedule
    reason: str  # why it is run, where it is apart from the schedule
    started_ns: int
    first_segment: int = 0  # segment of its first answer; 0 before that
    answers: int = 0  # in the journal
    bytes: int = 0
    attempts: int = 0


class State(msgspec.Struct, array_like=True):
    """What the poller knows after a block of its journal."""

    marks: dict[str, JobMark] = {}
    open: dict[int, OpenRound] = {}  # by run_id
    finished: list[int] = []  # run_id of the rounds whose rows are in this block


class Missed(msgspec.Struct, frozen=True):
    """Consecutive slots in which nothing was polled."""

    job: str
    slot_ns: int  # the first of them
    slots: int
    reason: Reason


class Interval(msgspec.Struct, frozen=True):
    """A time, by the wall clock, in which no slot could be polled: after its begin, up to its end."""

    from_ns: int
    until_ns: int
    reason: Reason


class Due(msgspec.Struct, frozen=True):
    """What a job has to do now."""

    missed: list[Missed]
    round: OpenRound | None  # to run now


class Promise(msgspec.Struct, frozen=True):
    """A row of poll_schedule."""

    job: str
    since_ns: int
    period_s: int
    offset_s: int
    continues: bool


class Ledger:
    """The marks of all jobs and the rounds that run. Not thread-safe.

    Args:
        state: That of the last block of the journal; an empty one at the first start.
        alive_ns: When that block was written; 0 at the first start.
    """

    def __init__(self, state: State, alive_ns: int) -> None:
        self.state = state
        self._alive_ns = alive_ns
        self._intervals: deque[Interval] = deque(maxlen=_INTERVALS)

    def begin(self, jobs: Iterable[Job], now_ns: int) -> tuple[list[Promise], list[Missed]]:
        """Begin with the jobs of these settings.

        Returns:
            The schedules that are new or changed, and the slots of the former ones up to now. Of a schedule that goes
            on, the slots since the mark are left to `due`, which may still run the last of them.
        """
        promises: list[Promise] = []
        missed: list[Missed] = []
        self.absent(Interval(min(self._alive_ns, now_ns), now_ns, "stopped"))
        schedules = {job.name: Schedule.of(job.trigger) for job in jobs}
        for name, mark in list(self.state.marks.items()):
            if schedules.get(name) != mark.schedule:
                since_ns = max(now_ns, mark.until_ns + 1000)  # a microsecond later: the key of the row is the instant
                missed += self._missed(name, mark, since_ns)
                new = schedules.get(name, Schedule(0, 0))
                promises.append(Promise(name, since_ns, new.period_s, new.offset_s, True))
                if name in schedules:
                    self.state.marks[name] = JobMark(new.period_s, new.offset_s, since_ns)
                else:
                    del self.state.marks[name]
        for name, schedule in schedules.items():
            if name not in self.state.marks:
                self.state.marks[name] = JobMark(schedule.period_s, schedule.offset_s, now_ns)
                promises.append(Promise(name, now_ns, schedule.period_s, schedule.offset_s, False))
        return promises, missed

    def absent(self, interval: Interval) -> None:
        """Note a time in which no slot could be polled."""
        self._intervals.append(interval)

    def due(self, job: Job, now_ns: int) -> Due:
        """Return what a job has to do now, and move its mark."""
        mark = self.state.marks[job.name]
        slot_ns = mark.schedule.at_or_before(now_ns)
        if slot_ns <= mark.until_ns:
            ahead = mark.schedule.at_or_before(mark.until_ns) - slot_ns >= mark.period_s * 1_000_000_000
            return Due([], self.open_extra(job.name, slot_ns, "clock", now_ns) if ahead else None)
        in_time = now_ns - slot_ns <= job.grace_s * 1e9
        missed = list(self._missed(job.name, mark, slot_ns - 1 if in_time else slot_ns))
        return Due(missed, self._open(job.name, slot_ns, 1, "", now_ns) if in_time else None)

    def account(self, job: str, now_ns: int) -> list[Missed]:
        """Return the slots of a job that passed without a round, and move its mark; for the end of the program."""
        mark = self.state.marks[job]
        return list(self._missed(job, mark, now_ns))

    def open_extra(self, job: str, slot_ns: int, reason: str, now_ns: int) -> OpenRound:
        """Open a round apart from the schedule."""
        return self._add(OpenRound(new_id(), job, slot_ns, 0, reason, now_ns))

    def close(self, run_id: int) -> None:
        """Note that the rows of a round, and what became of it, go into the next block."""
        del self.state.open[run_id]

    def _open(self, job: str, slot_ns: int, slots: int, reason: str, now_ns: int) -> OpenRound:
        self.state.marks[job].until_ns = slot_ns
        return self._add(OpenRound(new_id(), job, slot_ns, slots, reason, now_ns))

    def _add(self, opened: OpenRound) -> OpenRound:
        self.state.open[opened.run_id] = opened
        return opened

    def _missed(self, job: str, mark: JobMark, until_ns: int) -> Iterator[Missed]:
        """Yield the slots after a mark up to an instant by their reasons, and move the mark to the last of them."""
        schedule = mark.schedule
        if not schedule.count(mark.until_ns, until_ns):
            return
        last_ns = schedule.at_or_before(until_ns)
        slot_ns = schedule.after(mark.until_ns)
        mark.until_ns = last_ns
        while slot_ns <= last_ns:
            reason, end_ns = self._reason(slot_ns, last_ns)
            slots = schedule.count(slot_ns - 1, end_ns)
            yield Missed(job, slot_ns, slots, reason)
            slot_ns = schedule.after(end_ns)

    def _reason(self, slot_ns: int, last_ns: int) -> tuple[Reason, int]:
        """Return why a slot was missed, and until when the same reason holds."""
        for interval in self._intervals:
            if interval.from_ns < slot_ns <= interval.until_ns:
                return interval.reason, min(interval.until_ns, last_ns)
        following = [one.from_ns for one in self._intervals if one.until_ns > one.from_ns >= slot_ns]
        return "busy", min([*following, last_ns])


def new_id() -> int:
    """Return a random positive number of 63 bits."""
    return secrets.randbits(63) or 1
