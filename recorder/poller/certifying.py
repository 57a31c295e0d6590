"""The job `certificates`: certifies settled hours, and hours that were healed since.

It runs `tapedeck certify --due` as a process of its own: reading a day of journals would take the interpreter from the
polls of this one for seconds. A kill leaves nothing behind, because certificates are stored in one transaction.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import IO

import msgspec

from recorder.clock import Clock
from recorder.errors import StoreError, StoreUnavailable
from recorder.poller.job import Every, Job, Kept, Outcome, Round
from recorder.process.log import get_logger

NAME = "certificates"
COMMAND = (sys.executable, "-m", "recorder", "certify", "--due", "--json")
_PERIOD_S = 3600
_OFFSET_S = 600  # after an hour: it is settled, and the first rereads of its gaps are over
_DEADLINE_S = 2400.0
_LOOK_S = 0.5
_END_S = 5.0
_NICE = 10
_OUTPUT_MAX = 64 << 10

_log = get_logger(__name__)


class Certified(msgspec.Struct):
    """What `tapedeck certify --due --json` prints: how many certificates it made, by grade, and how many differ."""

    made: dict[str, int]
    differs: int


class Certifying:
    """Runs the command.

    Args:
        command: The command and its arguments.
        environment: Of the process; it names the settings.
        clock: Measures the time it takes.
    """

    def __init__(self, command: tuple[str, ...], environment: Callable[[], Mapping[str, str]], clock: Clock) -> None:
        self._command = command
        self._environment = environment
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Certify what is due.

        Raises:
            StoreUnavailable: The database cannot be reached, or the program stops.
            StoreError: The command failed.
        """
        pipe = subprocess.PIPE
        with subprocess.Popen(
            self._command, env=dict(self._environment()), stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        ) as process:
            try:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
                self._wait(process, round)
            finally:
                _end(process)
            output, complaint = _read(process.stdout), _read(process.stderr)
        try:
            found = msgspec.json.decode(output, type=Certified)
        except msgspec.MsgspecError:
            reason = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["it says nothing"]
            kind = StoreUnavailable if process.returncode == 2 else StoreError
            raise kind(f"certify ended with {process.returncode}: {reason[0][:300]}") from None
        if found.differs:
            _log.error("certificates.differ", hours=found.differs, what="stored rows are not those of the journal")
        return (
            Outcome(counts={**found.made, "differs": found.differs})
            if found.made
            else Outcome("skipped", "nothing due")
        )

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: this job asks no service."""

    def _wait(self, process: subprocess.Popen[bytes], round: Round) -> None:
        until_s = self._clock.monotonic_s() + _DEADLINE_S
        while process.poll() is None:
            if round.stop.wait(_LOOK_S):
                raise StoreUnavailable("the program stops")
            if self._clock.monotonic_s() > until_s:
                raise StoreError(f"certify took longer than {_DEADLINE_S:.0f} s")


def certificates_job(environment: Callable[[], Mapping[str, str]], clock: Clock) -> Job:
    """Return the job.

    Args:
        environment: Returns the environment of the command.
        clock: Gives the time.
    """
    return Job(
        NAME, Every(_PERIOD_S, _OFFSET_S), _PERIOD_S / 2, Certifying(COMMAND, environment, clock),
        "Certify settled hours of every stream, and again those that were healed.", retry_s=60.0,
        changes_database=True,
    )  # fmt: skip


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read(stream: IO[bytes] | None) -> bytes:
    """Return what an ended process has printed. It prints less than a pipe holds."""
    return b"" if stream is None else stream.read(_OUTPUT_MAX)
