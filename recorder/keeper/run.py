"""Runs jobs, each under a lock of its own so that a run by hand and the program never meet; outcomes are on disk."""

import contextlib
import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from recorder.backoff import Backoff
from recorder.errors import ConfigError, JournalError, StoreError, StoreUnavailable
from recorder.keeper.job import Job, Ran, Work, next_at
from recorder.process import files
from recorder.process.log import get_logger
from recorder.process.threads import Part

_LOOK_S = 1.0
_PREPARED_S = 60.0  # so long after the start the writer may still make the database, its tables and logins
_REASON_CHARS = 500

_log = get_logger(__name__)


def folder_of(home: Path) -> Path:
    """Return the folder of the outcomes."""
    return home / "keeper"


def last_run(home: Path, job: str) -> Ran:
    """Return the last run of a job; one that cannot be read counts as none."""
    try:
        return msgspec.json.decode((folder_of(home) / f"{job}.json").read_bytes(), type=Ran)
    except (OSError, msgspec.MsgspecError):
        return Ran()


@contextlib.contextmanager
def exclusive(home: Path, job: str) -> Iterator[bool]:
    """Hold the lock of a job; give False where another process runs it."""
    files.make_home(folder_of(home))
    lock = os.open(folder_of(home) / f"{job}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(lock)


def run_once(job: Job, work: Work, *, preparing: bool = False) -> Ran | None:
    """Run a job now and keep its outcome; None where another process runs it.

    Args:
        job: The job.
        work: What its handler gets.
        preparing: The appliance starts, so that a missing database, table or login is no fault yet.
    """
    try:
        return _run(job, work, preparing=preparing)
    except OSError as error:  # its lock cannot be had, as on a full disk: other jobs may make room
        reason = f"{folder_of(work.settings.home)} cannot be used: {error.strerror}"
        _log.warning("job.failed", job=job.name, reason=reason)
        return Ran(work.now(), work.now(), "failed", reason, reason)


def _run(job: Job, work: Work, *, preparing: bool) -> Ran | None:
    home = work.settings.home
    with exclusive(home, job.name) as free:
        if not free:
            return None
        began = work.now()
        try:
            outcome = job.handler(work)
            ran = Ran(
                began, work.now(), outcome.state, outcome.detail, outcome.problem, outcome.damaged,
                outcome.let_go_bytes,
            )  # fmt: skip
        except (StoreError, ConfigError, JournalError, OSError) as error:
            reason = str(error)[:_REASON_CHARS]
            waits = isinstance(error, StoreUnavailable)
            if preparing and isinstance(error, StoreError | ConfigError):
                waits, reason = True, "the writer prepares the database"
            ran = Ran(began, work.now(), "waits" if waits else "failed", reason, "" if waits else reason)
            _log.warning("job.failed", job=job.name, reason=reason)
        with contextlib.suppress(OSError):  # on a full disk the run counts for this process
            files.write(folder_of(home) / f"{job.name}.json", msgspec.json.encode(ran))
        if ran.state == "done":
            _log.info("job.done", job=job.name, seconds=round(ran.ended - ran.began, 3), detail=ran.detail)
        return ran


class Runner:
    """The jobs of the program, each in a thread of its own: a long one delays no other."""

    def __init__(self, jobs: Sequence[Job], work: Work) -> None:
        self.jobs = tuple(jobs)
        self._work = work
        self.last = {job.name: last_run(work.settings.home, job.name) for job in jobs}
        self.running: dict[str, float] = {}
        self._seen_ns: dict[str, int] = {}  # by job: when its outcome on disk was changed

    def next_at(self, job: Job) -> float:
        """Return when a job runs next by its schedule, unix seconds."""
        return next_at(job.schedule, self.last[job.name], job.retry_s, self._work.now())

    def _look(self, job: Job) -> None:
        """Take over the outcome of a run by hand, which may have ended what this process still reports."""
        try:
            changed_ns = os.stat(folder_of(self._work.settings.home) / f"{job.name}.json").st_mtime_ns
        except OSError:
            return
        if changed_ns != self._seen_ns.get(job.name):
            self._seen_ns[job.name] = changed_ns
            ran = last_run(self._work.settings.home, job.name)
            if ran.began > self.last[job.name].began:
                self.last[job.name] = ran

    def part(self, job: Job) -> Part:
        """Return a part that runs a job by its schedule until it is stopped."""

        def body(stop: threading.Event) -> None:
            backoff = Backoff(1.0, job.retry_s, random.Random())
            again_s = float("-inf")  # monotonic: when a run that failed is repeated
            began_s = time.monotonic()
            while not stop.wait(_LOOK_S):
                self._look(job)
                failed = self.last[job.name].state in ("failed", "waits")
                if not (failed and time.monotonic() >= again_s) and self.next_at(job) > self._work.now():
                    continue
                self.running[job.name] = self._work.now()
                try:
                    preparing = time.monotonic() - began_s < _PREPARED_S
                    ran = run_once(job, self._work._replace(stop=stop), preparing=preparing)
                finally:
                    del self.running[job.name]
                self.last[job.name] = ran or last_run(self._work.settings.home, job.name)
                if self.last[job.name].state in ("failed", "waits"):
                    again_s = time.monotonic() + backoff.next_s()
                else:
                    backoff.reset()

        return body
