"""What a job is: a name, a schedule, and a handler that asks for answers and makes rows of them.

A handler is written in two parts. `run` asks for answers and gives each to `take`; `take` decodes one answer and stores
its rows. After a kill the answers that are in the journal without their rows are given to `take` again, so `take` uses
the answer and what earlier answers gave, and never asks for another one.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec


class Every(msgspec.Struct, frozen=True):
    """Slots are the whole multiples of a period since 1970, UTC, plus an offset."""

    period_s: int
    offset_s: int = 0


class Daily(msgspec.Struct, frozen=True):
    """One slot a day, UTC."""

    hour: int
    minute: int


Trigger = Every | Daily


class Kept(msgspec.Struct, frozen=True):
    """One answer, as the journal has it."""

    service: str
    path: str
    request: bytes  # body of a POST; empty for a GET
    status: int
    body: bytes
    received_ns: int
    request_id: str


class Outcome(msgspec.Struct, frozen=True):
    """How a round ended that did not fail."""

    state: Literal["done", "skipped"] = "done"
    detail: str = ""  # why it was skipped, such as "nothing due"
    counts: Mapping[str, int] = {}  # what the handler counted, by name; summed in the health of the job


class Round(Protocol):
    """One run of a job."""

    job: str
    slot_ns: int  # the slot that it serves; for a round apart from the schedule the slot before it
    stop: threading.Event  # ends every wait

    def get(self, service: str, path: str) -> Kept:
        """Request a path within the budget of its service. The answer is in the journal before this returns.

        Returns:
            An answer of status 200 to 299 whose body is JSON, or one of status 404 or 422.

        Raises:
            RestError: there is no such answer.
            JournalError: it cannot be kept.
        """
        ...

    def post(self, service: str, path: str, body: bytes) -> Kept:
        """Request a path with a body of JSON; else as `get`."""
        ...

    def store(self, table: str, rows: Sequence[tuple[object, ...]]) -> None:
        """Store rows, in the order of the table's columns in POLLED. A row that does not fit its table is odd."""
        ...

    def odd(self, what: str, reason: str) -> None:
        """Count an odd row, which is left out."""
        ...


class Handler(Protocol):
    """The work of a job. Its rounds never overlap, but may run in different threads."""

    def run(self, round: Round) -> Outcome:
        """Ask for answers and take each.

        Raises:
            RecorderError: the round failed; what was stored so far is kept.
        """
        ...

    def take(self, round: Round, answer: Kept) -> None:
        """Decode one answer and store its rows.

        Raises:
            DecodeError: nothing of it can be used.
        """
        ...


class Mark(msgspec.Struct, frozen=True):
    """A place in a journal."""

    journal_id: str
    segment: int
    offset: int


Cut = Callable[[Callable[[], None]], Mark | None]
"""Calls a function at a moment when the rows of all answers are in the journal, and returns the place of the next one.

None: a round has answers whose rows are not in the journal, and the function was not called.
"""


class Remembering(Protocol):
    """What jobs know of earlier answers, kept in a file that is older than the journal."""

    def restore(self, cut: Cut) -> Mark | None:
        """Read the file, once, before the first answer.

        The answers after its mark are then given to `take` of these jobs; rows that are in the journal are left out.

        Args:
            cut: Gives the marks of later files.

        Returns:
            The mark of the file; None where there is none.
        """
        ...


class Job(msgspec.Struct, frozen=True):
    """One job.

    Attributes:
        name: Lower case, with hyphens; the key in settings, journal and tables.
        trigger: Its slots.
        grace_s: A slot is still polled this long after its time; below one period.
        handler: Its work.
        summary: One sentence for a person.
        at_start: Whether a round apart from the schedule is run at each start of the program.
        changes_database: Whether its rounds change the database themselves, so that it has no dry run.
        memory: What its handler knows of earlier answers, where that makes a difference to its rows.
        repeatable: Whether its rows follow from its answers alone, so that a replay can compare them.
        at_begin: Called before the answers of a kept round are taken again, at the place in the journal where it began;
            `run` does the same itself.
        at_stop: Called when the program ends, after the last round.
        retry_s: First pause before a failed round is tried again apart from the schedule; None waits for the next slot.
    """

    name: str
    trigger: Trigger
    grace_s: float
    handler: Handler
    summary: str
    at_start: bool = False
    changes_database: bool = False
    repeatable: bool = True
    retry_s: float | None = None
    memory: Remembering | None = None
    at_begin: Callable[[], None] | None = None
    at_stop: Callable[[], None] | None = None
