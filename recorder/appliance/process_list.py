"""The process list of an appliance: which programs its settings ask for, and the supervisord.conf that says so."""

import configparser
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from recorder.clock import SystemClock
from recorder.errors import ConfigError
from recorder.process import files
from recorder.process.slots import SLOTS, Slots, program_of
from recorder.resources import SUPERVISORD_CONF
from recorder.settings import Settings, VenueSettings
from recorder.shards import ALL_OF

_HOME = "%(ENV_TAPEDECK_HOME)s"  # in supervisord.conf of the project


def programs(settings: Settings) -> list[str]:
    """Return the names of the programs that these settings ask for, in the order of their start.

    Of a recorder it is the program in the slot that records.
    """
    return [
        *(["postgres"] if settings.database.url is None else []),
        *(["simulator"] if settings.simulator.enabled else []),
        *(program_of(one.recorder, one.read().active) for one in slots_of(settings)),
        "writer",
        *(["deriver"] if settings.deriver.enabled else []),
        *(["poller"] if settings.poller.enabled and any(v.enabled for v in settings.venues.values()) else []),
        *(["watchdog"] if settings.watchdog.enabled else []),
        *(["jupyter"] if settings.jupyter.enabled else []),
        *(["web"] if settings.web.enabled else []),
    ]


def slots_of(settings: Settings) -> list[Slots]:
    """Return the slots of every recorder that these settings ask for."""
    names = (name for venue, values in _recorded(settings) for name in values.recorders(venue))
    return [Slots(settings.home, name, SystemClock()) for name in names]


def _recorded(settings: Settings) -> list[tuple[str, VenueSettings]]:
    return [(name, values) for name, values in settings.venues.items() if values.enabled]


def render(template: str, settings: Settings, cwd: Path, root_user: bool) -> str:
    """Return the supervisord.conf of these settings.

    Args:
        template: The process list, supervisord.conf of the project.
        settings: Which programs run, and where their state is.
        cwd: Working directory of the programs: where `.env` and relative paths are looked for.
        root_user: Name root as the user of supervisord, or it warns at every start.
    """
    source = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    source.read_string(template)
    result = configparser.RawConfigParser()
    own = {section: _at_home(source[section], settings.home) for section in source.sections()}
    for section in source.sections():
        if not section.startswith("program:"):
            result[section] = own[section]
    result["supervisorctl"]["serverurl"] = f"unix://{_escape(settings.home)}/supervisor.sock"
    if root_user:
        result["supervisord"]["user"] = "root"
    python = str(settings.python or sys.executable)
    for kind in (section.removeprefix("program:") for section in source.sections() if section.startswith("program:")):
        if kind == "recorder":
            for venue, values in _recorded(settings):
                _add_recorders(result, own["program:recorder"], settings, cwd, python, venue, values)
        elif kind in programs(settings):
            _add_program(result, kind, own[f"program:{kind}"], cwd, python)
    text = io.StringIO()
    result.write(text)
    return text.getvalue()


def _add_recorders(
    result: configparser.RawConfigParser,
    options: Mapping[str, str],
    settings: Settings,
    cwd: Path,
    python: str,
    venue: str,
    values: VenueSettings,
) -> None:
    """Add the processes of a venue, each in the slot that records, and one that may take over just now."""
    for number, recorder in zip(values.numbers(), values.recorders(venue), strict=True):
        state = Slots(settings.home, recorder, SystemClock()).read()
        for slot in (state.active, state.successor(time.time())):
            if slot is not None:
                arguments = [] if values.processes == ALL_OF else ["--shard", f"{number}/{values.processes}"]
                arguments += [] if slot == SLOTS[0] else ["--slot", slot]
                _add_program(result, program_of(recorder, slot), options, cwd, python, venue, arguments)


def _add_program(
    result: configparser.RawConfigParser,
    name: str,
    options: Mapping[str, str],
    cwd: Path,
    python: str,
    venue: str = "",
    arguments: Sequence[str] = (),
) -> None:
    """Add one [program]."""
    words = options["command"].removeprefix("python ").split()
    command = [python, *(venue if word == "VENUE" else word for word in words), *arguments]
    changed = {"command": _escape(shlex.join(command)), "directory": _escape(cwd)}
    result[f"program:{name}"] = dict(options) | changed


def _escape(value: object) -> str:
    """Return a path or a command as the file holds it.

    Raises:
        ConfigError: supervisord cannot read it, because the rest of it would be a comment or another line.
    """
    text = str(value)
    if re.search(r"\s[;#]|[\r\n]|^\s|\s$", text):
        raise ConfigError(
            f"supervisord cannot use the path {text!r}: it has a blank at an end or before ; or #, or a line break; "
            "set TAPEDECK_HOME to another folder, and start Tapedeck in another one"
        )
    return text.replace("%", "%%")


def _at_home(options: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the options of a section with the path of the home in its place; supervisord expands log files twice."""
    once = _escape(home)
    return {
        name: value.replace(_HOME, once.replace("%", "%%") if name == "stdout_logfile" else once)
        for name, value in options.items()
    }


def write_config(settings: Settings) -> Path:
    """Write the process list of these settings, and return its path."""
    config = settings.home / "supervisord.conf"
    text = render(SUPERVISORD_CONF.read_text(), settings, Path.cwd(), os.geteuid() == 0)
    files.write(config, text.encode())
    return config
