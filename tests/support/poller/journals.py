"""Pollers in a test's own process: a journal, a clock that the test moves, and the ledger as it was written."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recorder.clock import ManualClock
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.pgcopy import decode
from recorder.pgcopy.polled import POLLED, Kind
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.poller.clock_steps import ClockSteps
from recorder.poller.job import Job, Kept, Outcome, Round
from recorder.poller.journal import PollJournal
from recorder.poller.main import begin
from recorder.poller.runner import Runner
from recorder.poller.services import Reply, Service, Services
from recorder.settings import JournalSettings
from recorder.verify.polls import Accounted, JobCheck, Planned, check_slots

NS = 1_000_000_000


class Asked:
    """A service that answers with a number, and lets a test do something meanwhile."""

    url = "http://test"

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.meanwhile = meanwhile
        self.count = 0

    def ask(self, path: str, body: bytes) -> Reply:
        self.count += 1
        self.meanwhile()
        return Reply(200, b"%d" % self.count, f"{self.count:08x}")

    def close(self) -> None:
        pass


class Once:
    """A handler that asks once and stores nothing."""

    def run(self, round: Round) -> Outcome:
        self.take(round, round.get("service", "/"))
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        pass


class Poller:
    """The poller without its alarm clock: the test wakes the jobs."""

    def __init__(
        self,
        folder: Path,
        jobs: list[Job],
        clock: ManualClock,
        service: Asked | None = None,
        services: Mapping[str, Service] | None = None,
    ) -> None:
        self.clock = clock
        self.boot_s = 0.0
        self.service = service or Asked()
        settings = JournalSettings(reserve_mb=0)
        self.journal = PollJournal.open(folder, settings, clock)
        self.stop = threading.Event()
        steps = ClockSteps(clock, lambda: self.boot_s)
        asked = Services(services or {"service": self.service})
        self.runner = Runner(jobs, self.journal, asked, clock, steps, self.stop)
        begin(self.journal, self.runner, clock)

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.boot_s += seconds

    def end(self) -> None:
        self.runner.account()
        self.journal.close("the test ends")

    def abandon(self) -> None:
        """Leave the journal as a kill does; only its lock is released."""
        self.journal.journal.close()


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table in the poller's journal, in their order."""
    reader = JournalReader(folder / "poller")
    found = []
    try:
        for block in reader.read(reader.first(), 1 << 62):
            assert isinstance(block, StoredBlock)
            for part in (part for part in block.parts if part.table == table):
                for row in decode.split(part.data):
                    cells = zip(POLLED[table], decode.fields(row), strict=True)
                    found.append({name: _value(kind, cell) for (name, kind), cell in cells})
    finally:
        reader.close()
    return found


def check(folder: Path, job: str) -> JobCheck:
    """Compare the slots of a job in the journal with what was promised, as `tapedeck verify` does."""
    planned = [
        Planned(row["since"], row["period_s"], row["offset_s"], row["continues"])
        for row in rows(folder, "poll_schedule")
        if row["job"] == job
    ]
    runs = sorted(
        Accounted(row["slot"], row["slots"]) for row in rows(folder, "poll_run") if row["job"] == job and row["slots"]
    )
    return check_slots(job, planned, runs, 0)


def _value(kind: Kind, cell: bytes) -> Any:
    if decode.is_null(cell):
        return None
    data = cell[4:]
    match kind:
        case "int8" | "int4":
            return int.from_bytes(data, "big", signed=True)
        case "instant":
            return (int.from_bytes(data, "big", signed=True) + PG_EPOCH_US) * 1000
        case "bool":
            return data == b"\1"
        case "text":
            return data.decode()
        case _:
            return data
