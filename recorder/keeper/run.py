"""Runs jobs, each under a lock of its own so that a run by hand and the program never meet; outcomes are on disk."""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from recorder.errors import ConfigError, JournalError, StoreError
from recorder.keeper.job import Job, Ran, Work, next_at
from recorder.process import files
from recorder.process.log import get_logger
from recorder.process.threads import Part

_LOOK_S = 1.0
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


def run_once(job: Job, work: Work) -> Ran | None:
    """Run a job now and keep its outcome; None where another process runs it."""
    home = work.settings.home
    with exclusive(home, job.name) as free:
        if not free:
            return None
        began = work.now()
        try:
            outcome = job.handler(work)
            ran = Ran(began, work.now(), outcome.state, outcome.detail, outcome.problem)
        except (StoreError, ConfigError, JournalError, OSError) as error:
            reason = str(error)[:_REASON_CHARS]
            ran = Ran(began, work.now(), "failed", reason, reason)
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

    def next_at(self, job: Job) -> float | None:
        """Return when a job runs next, unix seconds; None while it runs."""
        if job.name in self.running:
            return None
        return next_at(job.schedule, self.last[job.name], job.retry_s, self._work.now())

    def part(self, job: Job) -> Part:
        """Return a part that runs a job by its schedule until it is stopped."""

        def body(stop: threading.Event) -> None:
            failed_s = float("-inf")
            while not stop.wait(_LOOK_S):
                at = self.next_at(job)
                if at is None or at > self._work.now() or time.monotonic() < failed_s + job.retry_s:
                    continue
                self.running[job.name] = self._work.now()
                try:
                    ran = run_once(job, self._work._replace(stop=stop))
                finally:
                    del self.running[job.name]
                ran = ran or last_run(self._work.settings.home, job.name)
                self.last[job.name] = ran
                if ran.state == "failed":
                    failed_s = time.monotonic()

        return body
