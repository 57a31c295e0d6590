"""Replaces the process of a recorder by a new one, without a gap; the old one goes on wherever that fails.

The two processes do it between themselves (recorder/capture/handover); here the new one is started, watched and
judged, and the old one is made to record again when the new one is not healthy.
"""

import time
from collections.abc import Callable

from recorder.appliance import process_list
from recorder.appliance.processes import wait_until
from recorder.appliance.supervisor import Process, Supervisor, last_lines, log_sizes
from recorder.errors import HandoverFailed
from recorder.process.health import Report, read_all
from recorder.process.slots import HANDED_OVER, Slot, Slots, other, program_of
from recorder.settings import Settings

HEALTHY_S = 60.0
"""How long a new process may take to be live after the change, before the old one takes over again."""

_STARTS_MAX = 3  # a successor that has ended this often is broken
_DECIDE_S = 60.0  # once the old process has begun to stop, it is decided within this time
_END_S = 20.0  # above stopwaitsecs
_PAUSE_S = 0.1
_WRONG_SETTINGS = 2  # exit status


class Handover:
    """Hands over the recorders of one appliance."""

    def __init__(
        self, settings: Settings, patience_s: float, python: str | None, report: Callable[[str], None]
    ) -> None:
        """
        Args:
            settings: Of the appliance.
            patience_s: How long a successor may take until it has taken over.
            python: Interpreter of the new release; None is the one with which supervisord starts programs.
            report: Called with each step, a line.
        """
        self._settings = settings
        self._home = settings.home
        self._patience_s = patience_s
        self._python = python
        self._report = report
        self._supervisor = Supervisor(settings.home)

    def run(self, slots: Slots) -> None:
        """Replace the process of one recorder.

        Raises:
            HandoverFailed: It was not replaced, or the new one was not healthy and the old one records again.
        """
        old = slots.read().active
        before = self._health(program_of(slots.recorder, old))
        self._change(slots, other(old), self._python)
        problem = self._unhealthy(slots, before)
        if problem is None:
            return
        new = program_of(slots.recorder, other(old))
        self._report(f"{new}: {problem}; {program_of(slots.recorder, old)} takes over again")
        python = slots.read().python.get(old)
        try:
            self._change(slots, old, python)
        except HandoverFailed:  # the new one does not even hand over
            self._stop(new)
            slots.activate(old)
            self._start(program_of(slots.recorder, old))
            self._settle(slots)
        raise HandoverFailed(
            f"{new} recorded and was not healthy: {problem}; {program_of(slots.recorder, old)} records again"
        )

    def _change(self, slots: Slots, to: Slot, python: str | None) -> None:
        new, old = program_of(slots.recorder, to), program_of(slots.recorder, other(to))
        found = self._processes()
        if old not in found or found[old].state != "RUNNING":
            state = found[old].state if old in found else "absent"
            raise HandoverFailed(f"{old} does not run (supervisord: {state}), so nothing can be taken over from it")
        self._end(new)
        until_s = time.time() + self._patience_s
        if not slots.want(to, until_s, python):
            raise HandoverFailed(f"another handover of {slots.recorder} is in its last phase; try again in a minute")
        logged = log_sizes(self._home).get(new, 0)
        self._start(new)
        problem = self._follow(slots, to, until_s)
        if problem is not None and not slots.end():  # the old process stops this moment
            wait_until(lambda: slots.read().phase == "", _DECIDE_S, _PAUSE_S)
        if slots.read().active != to:
            self._end(new)
            last = last_lines(self._home, new, 1, logged)
            reason = problem or "the old process went on"
            raise HandoverFailed(f"{new} did not take over: {reason}; {old} records on" + _said(last))
        self._settle(slots)

    def _follow(self, slots: Slots, to: Slot, until_s: float) -> str | None:
        """Wait until the successor records; return why it will not."""
        new = program_of(slots.recorder, to)
        pids: set[int] = set()
        said = problem = ""

        def decided() -> bool:
            nonlocal said, problem
            if slots.read().active == to:
                return True
            process = self._processes().get(new)
            if process is not None and process.pid:
                pids.add(process.pid)
            if process is None or process.state in ("FATAL", "STOPPED"):
                problem = "it was stopped"
            elif process.state == "EXITED" and process.exit_status == HANDED_OVER:
                problem = "it gave up"
            elif not process.pid and process.exit_status == _WRONG_SETTINGS:
                problem = "it cannot use its settings"
            elif len(pids) > _STARTS_MAX:
                problem = f"it ended {len(pids) - 1} times"
            health = self._health(new)
            if health is not None and process is not None and health.pid == process.pid and health.detail != said:
                said = health.detail
                self._report(f"{new}: {said or health.state}")
            return bool(problem)

        if not wait_until(decided, until_s - time.time(), _PAUSE_S):
            return f"it was not ready after {self._patience_s:.0f} s" + (f" ({said})" if said else "")
        return problem or None

    def _unhealthy(self, slots: Slots, before: Report | None) -> str | None:
        """Wait until the process that records now is as well as the one before; return why it is not."""
        new = program_of(slots.recorder, slots.read().active)
        fine = {"live"} if before is None else {"live", before.state}
        why = "no health report"

        def healthy() -> bool:
            nonlocal why
            process, health = self._processes().get(new), self._health(new)
            if process is None or process.state != "RUNNING":
                why = "it ended"
                return False
            if health is None or health.pid != process.pid or health.stale(time.time()):
                return False
            why = f"{health.state}: {health.detail}"
            return health.state in fine

        return None if wait_until(healthy, HEALTHY_S, _PAUSE_S) else f"{why} after {HEALTHY_S:.0f} s"

    def _settle(self, slots: Slots) -> None:
        """End the process that does not record, and take it off the process list."""
        active = slots.read().active
        new, old = program_of(slots.recorder, active), program_of(slots.recorder, other(active))
        wait_until(lambda: not self._running(old), _END_S, _PAUSE_S)  # it ends by itself
        self._end(old)
        self._report(f"{new}: records")

    def _start(self, program: str) -> None:
        process_list.write_config(self._settings)
        self._supervisor.add(program)

    def _end(self, program: str) -> None:
        """Stop a program that is not on the process list any more, and have supervisord forget it."""
        if program in self._processes():
            self._stop(program)
            process_list.write_config(self._settings)
            self._supervisor.remove(program)

    def _stop(self, program: str) -> None:
        if self._running(program):
            self._supervisor.stop(program)
            wait_until(lambda: not self._running(program), _END_S, _PAUSE_S)

    def _running(self, program: str) -> bool:
        process = self._processes().get(program)
        return process is not None and process.state not in ("STOPPED", "EXITED", "FATAL")

    def _processes(self) -> dict[str, Process]:
        return {process.name: process for process in self._supervisor.processes()}

    def _health(self, program: str) -> Report | None:
        return read_all(self._home).get(program)


def _said(lines: list[str]) -> str:
    return f"; its last line: {lines[0][:300]}" if lines else ""
