"""The change of a running appliance to this release and these settings, program by program.

What a program runs is known from its process: the release is in its command, and the settings it was started with have
a digest in the home. A program that this release or these settings do not change is left alone.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

import recorder
from recorder.appliance import code, process_list, processes, started, supervisor
from recorder.appliance.handover import Handover
from recorder.appliance.hints import hint
from recorder.appliance.observation import observe
from recorder.appliance.status import Line
from recorder.appliance.supervisor import Changes, Process, Supervisor
from recorder.errors import ConfigError, HandoverFailed, RecorderError
from recorder.process.slots import Slots, program_of
from recorder.settings import Settings

LISTED = "its place in the process list changed"
READY_S = 90.0
HANDOVER_S = 120.0  # a new recorder has its books and takes over within this time
_FAILS_S = 20.0  # a program that supervisord must start again and again for this long does not work
USER_MUST_ACT = 2  # exit status of a program whose settings are wrong


class UpgradeError(RecorderError):
    """A program of the new release does not work. What was not changed yet goes on; the caller goes back."""


class Change(NamedTuple):
    """A program to be restarted."""

    program: str
    reason: str


def plan(settings: Settings) -> list[Change]:
    """Return the programs that run other code or other settings than those of this release, in the order of a start."""
    kept = started.read(settings.home)
    running = {process.name: process for process in Supervisor(settings.home).processes()}
    changes = []
    for name in process_list.programs(settings):
        process = running.get(name)
        if process is None or not process.pid:
            continue  # a new program is started by the process list; supervisord is starting one that ended
        reason = _reason(settings, name, process, kept.get(name))
        if reason is not None:
            changes.append(Change(name, reason))
    return changes


def require_running(settings: Settings) -> None:
    """Require an appliance that runs.

    Raises:
        ConfigError: none does.
    """
    if Supervisor(settings.home).pid() is None:
        raise ConfigError(f"no appliance is running in {settings.home}; {hint('up')} starts it with this release")


def _reason(settings: Settings, name: str, process: Process, kept: str | None) -> str | None:
    root = Path(recorder.__file__).parents[1]
    try:
        running = psutil.Process(process.pid)
        command, started_at = running.cmdline(), running.create_time()
    except psutil.Error:
        return None  # it ended just now; supervisord starts this release
    other = release_of(command)
    if other is None or other == root:
        latest = max(file.stat().st_mtime for file in code.files_of(root, name))
        if latest > started_at:
            return "its code changed"
    elif not other.is_dir():
        return "its release was removed"
    elif code.digest(other, name) != code.digest(root, name):
        return "its code differs in this release"
    if kept != started.digest(settings, name):
        return "its settings changed"
    return None


def release_of(command: Sequence[str]) -> Path | None:
    """Return the folder with the packages of the release that a process runs; None for one that is no release.

    The command is `RELEASE/bin/python ...`, or for Postgres a binary among the packages.
    """
    if not command:
        return None
    program = Path(command[0])
    if program.parent == Path(sys.executable).parent:
        return None
    inside = [folder for folder in program.parents if folder.name == "site-packages"]
    folder = next(iter(inside or sorted(program.parents[1].glob("lib/python*/site-packages"))), None)
    if folder is not None and folder.is_dir() and not (folder / "recorder").is_dir():
        return None  # the environment of a checkout, whose code is elsewhere
    return folder


def apply(settings: Settings, report: Callable[[str], None]) -> list[Change]:
    """Change the running appliance, and return what was restarted.

    Args:
        settings: The settings that are to be in force.
        report: Called with a sentence for each program.

    Raises:
        ConfigError: no appliance runs.
        UpgradeError: a program does not work.
    """
    home = settings.home
    require_running(settings)
    supervisord = Supervisor(home)
    with supervisor.restart_lock(home):
        supervisor.write_note(settings)
        process_list.write_config(settings)
        listed = supervisord.reread()
        recorders = {program_of(one.recorder, one.read().active): one for one in process_list.slots_of(settings)}
        alive = {process.name for process in supervisord.processes() if process.pid}
        moved = [name for name in listed.changed if name not in recorders or name not in alive]
        changes = [one for one in plan(settings) if one.program not in moved]
        known = {one.program for one in changes}
        changes += [Change(name, LISTED) for name in listed.changed if name not in moved and name not in known]
        logged = supervisor.log_sizes(home)
        supervisord.replace(Changes(listed.added, moved, listed.removed))
        digests = {name: text for name, text in started.read(home).items() if name in process_list.programs(settings)}
        digests |= {name: started.digest(settings, name) for name in (*listed.added, *moved)}
        for change in changes:
            began = time.monotonic()
            slots = recorders.get(change.program)
            if slots is not None:
                how, program = "replaced without a gap", _hand_over(settings, slots, report)
            else:
                how, program, before = "restarted", change.program, _line(settings, change.program)
                size = supervisor.log_sizes(home).get(program, 0)
                supervisord.restart(program)
                _require_working(settings, program, before, "in this release", size)
            digests[program] = started.digest(settings, program)
            started.write(home, digests)
            report(f"{program}: {how} in {time.monotonic() - began:.1f} s, because {change.reason}")
        started.write(home, digests)
        for name in (*listed.added, *moved):
            _require_working(settings, name, None, "in this release", logged.get(name, 0))
            report(f"{name}: {'started' if name in listed.added else 'replaced'}, because {LISTED}")
    return changes


def restart(settings: Settings, programs: Sequence[str], report: Callable[[str], None], *, hard: bool) -> None:
    """Start new processes of some programs, one after another.

    A recorder that is healthy is handed over, so nothing is missing. Any other program is stopped and started again.

    Args:
        settings: Of the appliance.
        programs: Their names, as `process_list.programs` has them.
        report: Called with a sentence for each program.
        hard: Stop and start recorders that are healthy, too; their streams have a gap.

    Raises:
        ConfigError: no appliance runs.
        UpgradeError: a program does not work afterwards, or a recorder was not handed over and records on.
    """
    require_running(settings)
    supervisord = Supervisor(settings.home)
    with supervisor.restart_lock(settings.home):
        recorders = {program_of(one.recorder, one.read().active): one for one in process_list.slots_of(settings)}
        for program in programs:
            began = time.monotonic()
            slots, before = recorders.get(program), _line(settings, program)
            healthy = before is not None and before.problem is None
            if slots is not None and healthy and not hard:
                how, new = "replaced without a gap", _hand_over(settings, slots, report)
            else:
                if slots is not None and not hard:
                    why = "it does not run" if before is None else before.problem
                    report(f"{program}: {why}; it is stopped and started again, because nothing can be taken over")
                how, new = "restarted", program
                logged = supervisor.log_sizes(settings.home).get(program, 0)
                supervisord.restart(program)
                _require_working(settings, program, before, "after its restart", logged)
            started.note(settings, new)
            report(f"{new}: {how} in {time.monotonic() - began:.1f} s")


def _hand_over(settings: Settings, slots: Slots, report: Callable[[str], None]) -> str:
    """Replace the process of a recorder, and return the program that records now.

    Raises:
        UpgradeError: it was not replaced; the old process records on.
    """
    try:
        Handover(settings, HANDOVER_S, None, report).run(slots)
    except HandoverFailed as error:
        raise UpgradeError(str(error)) from None
    return program_of(slots.recorder, slots.read().active)


def _line(settings: Settings, program: str) -> Line | None:
    return next((line for line in observe(settings).status.programs if line.program == program), None)


def _require_working(settings: Settings, program: str, before: Line | None, after: str, logged: int) -> None:
    """Wait until a program is healthy, or as well as it was before: a venue may be away just now.

    Args:
        settings: Of the appliance.
        program: Its name.
        before: How it was before; None where it did not run.
        after: What was changed, for the error: "in this release".
        logged: Bytes that earlier processes had written to its log.

    Raises:
        UpgradeError: it does not run.
    """
    was_well = before is None or before.problem is None
    failing_since: float | None = None
    last: Line | None = None
    why = ""

    def settled() -> bool:
        nonlocal failing_since, last, why
        observed = observe(settings)
        last = next((line for line in observed.status.programs if line.program == program), None)
        process = observed.processes.get(program)
        if last is None or process is None:
            return False
        if process.state in ("RUNNING", "STARTING"):
            if process.uptime_s > _FAILS_S:
                failing_since = None
        else:
            failing_since = failing_since or time.monotonic()
            if process.exit_status == USER_MUST_ACT:
                why = "it refuses its settings"
                return True
        if failing_since is not None and time.monotonic() - failing_since > _FAILS_S:
            why = "it ends again and again"
            return True
        if last.problem is None:
            return True
        return not was_well and last.supervisor == "RUNNING" and last.state not in ("", "starting", "silent")

    done = processes.wait_until(settled, READY_S, pause_s=0.2)
    if done and not why:
        return
    why = why or f"it is not healthy after {READY_S:.0f} s: {'it is not known' if last is None else last.problem}"
    lines = supervisor.last_lines(settings.home, program, since=logged)
    raise UpgradeError(os.linesep.join([f"{program} does not work {after}: {why}", *lines]))
