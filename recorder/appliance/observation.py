"""What an appliance looks like from outside: supervisord's list, the health reports, and the judgement on both."""

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recorder.appliance import process_list, processes
from recorder.appliance.status import Status, judge, other_database
from recorder.appliance.supervisor import Process, Supervisor
from recorder.process.health import Report, read_all
from recorder.process.slots import SLOTS, program_of
from recorder.settings import Settings
from recorder.settings.sources import running_note


class Observation(NamedTuple):
    """One look at an appliance."""

    processes: Mapping[str, Process]  # by name; empty when no supervisord answers
    reports: Mapping[str, Report]  # by program
    status: Status


def observe(settings: Settings, found: Sequence[Process] | None = None) -> Observation:
    """Ask supervisord, read the health reports, and judge. `tapedeck status` and the watchdog both use it.

    Args:
        settings: Of the appliance.
        found: supervisord's answer, where the caller has it already.
    """
    home = settings.home
    if found is None:
        found = Supervisor(home).processes()
    expected = process_list.programs(settings)
    others = {program_of(slots.recorder, slot) for slots in process_list.slots_of(settings) for slot in SLOTS}
    others -= set(expected)  # they end by themselves; one that runs waits to take over
    found = [process for process in found if process.name not in others or process.pid]
    orphans = [] if found else processes.programs_of(processes.find(home))
    by_name = {process.name: process for process in found}
    reports = read_all(home)
    current = judge(str(home), expected, by_name, reports, time.time(), orphans, others)
    running = running_note(home)
    if current.programs and running is not None:
        current.notes = other_database(running.recorded_into, settings.recorded_into)
    return Observation(by_name, reports, current)
