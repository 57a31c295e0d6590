"""The thread that restarts a stuck program, through supervisord.

The process gets SIGTERM, and SIGKILL when it has not ended in its time, as a stopped one never does. supervisord starts
the program again because it always does that; so a watchdog that is killed between the two leaves no program stopped.
"""

import signal
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from recorder.appliance.supervisor import Supervisor
from recorder.process.log import Sparingly, get_logger
from recorder.settings import Settings
from recorder.watchdog.acting.book import Outcome, RestartBook
from recorder.watchdog.acting.policy import RestartPolicy, Stuck
from recorder.watchdog.acting.signs import journal_end, signs, unfit
from recorder.watchdog.delivery.marks import Marks
from recorder.watchdog.evidence import Evidence
from recorder.watchdog.round import Snapshot

TERM_S = 15.0
"""How long a process may take to end after SIGTERM, as in supervisord.conf (`stopwaitsecs`)."""
KILL_S = 10.0
START_S = 30.0
_RULE = "program_stuck"
_LOOK_S = 0.5
_SAVED_EVERY_S = 30.0  # what a kill may add to a pause

_log = get_logger(__name__)


class _Done(NamedTuple):
    outcome: Outcome
    killed: bool
    reason: str = ""


class Restarter:
    """Restarts stuck programs of one appliance."""

    def __init__(
        self,
        settings: Settings,
        book: RestartBook,
        latest: Callable[[], Snapshot | None],
        marks: Callable[[], Marks],
    ) -> None:
        """
        Args:
            settings: Of the appliance.
            book: Gets every restart, before and after it is made.
            latest: Returns what the last round found.
            marks: Acknowledgements and silences.
        """
        self._settings = settings
        self._book = book
        self._latest = latest
        self._marks = marks
        self._supervisor = Supervisor(settings.home)
        self._policy = RestartPolicy(settings.watchdog.restart_stuck_s, book.memory)
        self._longest_s = 3 * settings.watchdog.every_s + 5  # a watchdog that was stopped has seen nothing meanwhile
        self._last_s: float | None = None
        self._saved_s = time.monotonic()
        self._complaints = Sparingly()

    def part(self, stop: threading.Event) -> None:
        """Look at every round, and restart what is stuck, until it is stopped."""
        seen: Snapshot | None = None
        while not stop.wait(_LOOK_S):
            snapshot = self._latest()
            if snapshot is None or snapshot is seen:
                continue
            seen = snapshot
            stuck = self._observe(snapshot.evidence)
            if stuck is not None:
                self.restart(stuck, stop)
            elif self._book.memory.programs and time.monotonic() - self._saved_s >= _SAVED_EVERY_S:
                self._saved_s = time.monotonic()
                self._book.save()

    def _observe(self, evidence: Evidence) -> Stuck | None:
        passed_s = 0.0 if self._last_s is None else min(evidence.at_s - self._last_s, self._longest_s)
        self._last_s = evidence.at_s
        marks, folder = self._marks(), self._settings.journal.dir
        found = signs(
            evidence,
            lambda program: journal_end(folder / program),
            lambda program: marks.silenced_until(_RULE, program, evidence.at) is not None,
        )
        return self._policy.observe(dict(found), passed_s)

    def restart(self, stuck: Stuck, stop: threading.Event) -> None:
        """Restart a program, unless its process must not be ended now, or it could not be recorded."""
        reason = unfit(stuck.pid)
        if reason:
            left_out = self._complaints.turn(time.monotonic())
            if left_out is not None:
                _log.warning("program.left_alone", program=stuck.program, pid=stuck.pid, reason=reason)
            return
        pause_s = self._policy.restarted(stuck.program)
        restart = self._book.begin(stuck, time.time())
        if restart is None:
            return
        _log.warning(
            "program.restart", program=stuck.program, pid=stuck.pid, still_s=round(stuck.still_s), pause_s=pause_s
        )
        began_s = time.monotonic()
        done = self._act(stuck, stop)
        if done is None:
            return  # we are stopped: the next watchdog notes that the outcome is not known
        self._book.end(restart, done.outcome, time.time(), killed=done.killed, reason=done.reason)
        log = _log.info if done.outcome == "restarted" else _log.error
        log(
            f"program.{done.outcome}", program=stuck.program, took_s=round(time.monotonic() - began_s, 1),
            killed=done.killed, reason=done.reason,
        )  # fmt: skip

    def _act(self, stuck: Stuck, stop: threading.Event) -> _Done | None:
        def ended() -> bool:
            found = self._supervisor.process(stuck.program)
            return found is not None and found.pid != stuck.pid

        def runs() -> bool:
            found = self._supervisor.process(stuck.program)
            return found is not None and found.pid not in (0, stuck.pid) and found.state == "RUNNING"

        killed = False
        for number, wait_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            killed = number is signal.SIGKILL
            if not self._supervisor.send_signal(stuck.program, stuck.pid, number) and not ended():
                return _Done("failed", killed, f"supervisord did not send {number.name}")
            if _until(ended, wait_s, stop):
                break
            if stop.is_set():
                return None
        else:
            return _Done("failed", killed, f"the process has not ended within {TERM_S + KILL_S:.0f} s")
        if _until(runs, START_S, stop):
            return _Done("restarted", killed)
        return None if stop.is_set() else _Done("failed", killed, f"it did not start again within {START_S:.0f} s")


def _until(condition: Callable[[], bool], limit_s: float, stop: threading.Event) -> bool:
    until_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > until_s or stop.wait(_LOOK_S):
            return False
    return True
