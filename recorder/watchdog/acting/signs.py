"""What a round shows of the programs that may be restarted: whether they move, and why one is left alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from recorder.appliance.status import reports_itself
from recorder.process.health import UNREADABLE
from recorder.watchdog.acting.policy import Signs
from recorder.watchdog.evidence import Evidence

_OURSELVES = "watchdog"
_ASKS_POSTGRES = ("writer", "deriver", "poller")
_WAITING = ("starting", "waiting", "stopping")  # states of a report


def signs(
    evidence: Evidence, journal_end: Callable[[str], object], silenced: Callable[[str], bool]
) -> Iterator[tuple[str, Signs]]:
    """Yield each program that may be restarted, with its signs. Postgres, the simulator and JupyterLab never are.

    Args:
        evidence: Of a round.
        journal_end: Returns where the journal of a program ends; it moves while the program records.
        silenced: Whether a person has silenced the alert about a program.
    """
    for program, process in evidence.processes.items():
        if program == _OURSELVES or not reports_itself(program):
            continue
        report = evidence.reports.get(program)
        progress = (None if report is None else report.updated_at, journal_end(program))
        exempt = "a silence covers it" if silenced(program) else exemption(evidence, program)
        yield program, Signs(process.pid, progress, exempt)


def exemption(evidence: Evidence, program: str) -> str:
    """Return why a program must not be restarted now, whatever its report says; empty where it may be."""
    process, report = evidence.processes[program], evidence.reports.get(program)
    if process.state != "RUNNING":
        return f"supervisord reports {process.state}"
    if report is None or report.pid != process.pid:
        return "it has not reported since its start"
    if report.state in (*_WAITING, UNREADABLE):
        return f"its last report is {report.state}"
    if program in _ASKS_POSTGRES and evidence.database.state != "up":
        return f"Postgres is {evidence.database.state}"
    if not evidence.fresh(_OURSELVES):
        return "our own report is old, too: the disk does not take it, or the machine is too busy"
    return ""


def journal_end(folder: Path) -> tuple[str, int] | None:
    """Return the newest segment of a journal and its size; None without one."""
    try:
        with os.scandir(folder) as entries:
            newest = max((entry.name for entry in entries if entry.is_file()), default=None)
        return None if newest is None else (newest, (folder / newest).stat().st_size)
    except OSError:
        return None


def unfit(pid: int) -> str:
    """Return why a process must not be ended now, as the operating system sees it; empty where it may be."""
    try:
        status = psutil.Process(pid).status()
    except psutil.Error as error:
        return f"the process cannot be seen ({type(error).__name__})"
    if status == psutil.STATUS_DISK_SLEEP:
        return "it waits for a disk"
    if status == psutil.STATUS_TRACING_STOP:
        return "a debugger holds it"
    return "" if status != psutil.STATUS_ZOMBIE else "it has ended"
