"""What a job of the keeper is: a name, a schedule, and a handler. Schedules are pure."""

import threading
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from recorder.settings import Settings

DAY_S = 86_400


class Every(NamedTuple):
    """Slots are the whole multiples of a period since 1970, UTC."""

    period_s: int

    def slot(self, now: float) -> float:
        """Return the latest slot until an instant, unix seconds."""
        return now // self.period_s * self.period_s

    def __str__(self) -> str:
        return f"every {self.period_s // 60} min" if self.period_s >= 60 else f"every {self.period_s} s"


class Daily(NamedTuple):
    """One slot a day, UTC."""

    hour: int
    minute: int

    @property
    def period_s(self) -> int:
        """Return the time between two slots, seconds."""
        return DAY_S

    def slot(self, now: float) -> float:
        """Return the latest slot until an instant, unix seconds."""
        offset = self.hour * 3600 + self.minute * 60
        return (now - offset) // DAY_S * DAY_S + offset

    def __str__(self) -> str:
        return f"{self.hour:02}:{self.minute:02} UTC"


Schedule = Every | Daily


class Outcome(msgspec.Struct, frozen=True):
    """How a run ended that did not fail."""

    state: Literal["done", "skipped"] = "done"
    detail: str = ""  # what was done, or why nothing was
    problem: str = ""  # why a person should look although the run did not fail
    damaged: int = 0  # files of the archive that are missing or differ
    let_go_bytes: int = 0  # of the archive that were removed for good


class Work(NamedTuple):
    """What a handler gets."""

    settings: Settings
    url: Callable[[], str]  # of the database, with the login of the keeper
    admin: Callable[[], str]  # of the database, with the login that owns the tables
    stop: threading.Event  # ends every wait
    now: Callable[[], float]  # unix seconds
    by_hand: bool = False  # a person waits for the answer, so that it may take longer


Handler = Callable[[Work], Outcome]
"""Does one run. It may raise StoreError, ConfigError, JournalError or OSError: the run failed and is repeated."""


class Job(NamedTuple):
    """One job."""

    name: str
    schedule: Schedule
    handler: Handler
    summary: str  # one line for a person
    retry_s: float = 60.0  # after a failure


class Ran(msgspec.Struct, frozen=True):
    """The last run of a job, as its file has it."""

    began: float = 0.0  # unix seconds; 0 before the first run
    ended: float = 0.0
    state: str = ""  # done, skipped, failed; waits: Postgres is away
    detail: str = ""
    problem: str = ""
    damaged: int = 0
    let_go_bytes: int = 0


def next_at(schedule: Schedule, ran: Ran, retry_s: float, now: float) -> float:
    """Return when a job runs next, unix seconds; a time that has passed means now.

    A clock that was set back does not keep a job from running: what lies in the future does not count.
    """
    if ran.began > now:
        return now
    if ran.state in ("failed", "waits"):
        return min(ran.ended + retry_s, schedule.slot(ran.began) + schedule.period_s)
    return schedule.slot(ran.began) + schedule.period_s if ran.began else now
