"""Which settings are not in force: the appliance was started before they were written, or from another file."""

from collections.abc import Sequence
from pathlib import Path

from recorder.appliance import process_list, started
from recorder.appliance.hints import hint
from recorder.appliance.supervisor import Process
from recorder.process.slots import SLOTS, program_of
from recorder.settings import Settings
from recorder.settings.sources import PROFILES, running_note

_OWN_FILE = "tapedeck.toml"
_NAMED_MAX = 4


def not_in_force(settings: Settings, found: Sequence[Process], folder: Path | None = None) -> list[str]:
    """Return one sentence for each way in which a running appliance differs from these settings.

    Args:
        settings: As they are now.
        found: supervisord's list; empty where no appliance runs.
        folder: Where a settings file would be looked for without --config; None where a file was named.
    """
    if not found:
        return []
    running = {process.name for process in found}
    expected = process_list.programs(settings)
    slots = {program_of(one.recorder, slot) for one in process_list.slots_of(settings) for slot in SLOTS}
    absent = not_started(settings, found)
    left = [name for name in running if name not in {*expected, *slots}]
    kept = started.read(settings.home)
    changed = [
        name for name in expected if name in running and name in kept and kept[name] != started.digest(settings, name)
    ]
    notes = []
    if absent:
        notes.append(f"the settings ask for {_named(absent)}, not started yet: `tapedeck upgrade` starts it")
    if left:
        notes.append(f"the settings do not ask for {_named(left)} any more: `tapedeck upgrade` stops it")
    if changed:
        notes.append(
            f"settings of {_named(changed)} changed since the start: `tapedeck upgrade` restarts what they change, "
            "and `tapedeck upgrade --plan` names it"
        )
    note = running_note(settings.home)
    own = None if folder is None else folder / _OWN_FILE
    if note is not None and note.file.parent == PROFILES and own is not None and own.is_file():
        notes.append(
            f"{_OWN_FILE} in this folder is not in force: the appliance was started from the profile {note.file.stem}; "
            f"{hint('down')}, then `tapedeck up` starts it from the file"
        )
    return notes


def not_started(settings: Settings, found: Sequence[Process]) -> list[str]:
    """Return the programs that settings ask for and supervisord does not have: it was started before."""
    running = {process.name for process in found}
    return [name for name in process_list.programs(settings) if name not in running]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED_MAX} more" if len(names) > _NAMED_MAX else ""
    return f"{', '.join(names[:_NAMED_MAX])}{more}"
