"""`tapedeck handover`: replaces recorders by new processes without a gap, one after another."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from recorder.appliance import process_list, started, supervisor
from recorder.appliance.handover import Handover
from recorder.appliance.hints import hint
from recorder.appliance.supervisor import Supervisor
from recorder.cli.common import console
from recorder.errors import ConfigError, HandoverFailed, nearest
from recorder.process.slots import SLOTS, program_of
from recorder.settings import Settings
from recorder.shards import venue_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(handover)


def handover(
    context: typer.Context,
    recorders: Annotated[
        list[str] | None, typer.Argument(help="Such as recorder-kraken, or kraken for all recorders of a venue.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Replace every recorder.")] = False,
    python: Annotated[
        Path | None,
        typer.Option(
            "--python", help="Interpreter of the release to run; without it, that of the running supervisord."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=5, help="How long a new process may take until it has taken over, seconds.")
    ] = 120.0,
) -> int:
    """Replace recorders by new processes, without a gap, one after another.

    The new process connects, receives all streams for a while, and then takes over from the old one at one moment: no
    row is missing, and no gap is declared. A new process that crashes, is not ready in time, or is not healthy
    afterwards is stopped, and the old one records on. Exit code 0 when every recorder was replaced, 1 at the first that
    was not, 2 when you must change something. May be repeated.

    Example: `tapedeck handover --all`, `tapedeck handover kraken --python /opt/tapedeck/releases/42/.venv/bin/python`
    """
    settings: Settings = context.obj.settings()
    screen = console()
    known = {slots.recorder: slots for slots in process_list.slots_of(settings)}
    if every and recorders:
        raise ConfigError("give --all or names of recorders, not both")
    chosen = list(known) if every else recorders_named(recorders or [], list(known))
    if not chosen:
        raise ConfigError(f"name the recorders to replace, or give --all; there are {', '.join(known) or 'none'}")
    if python is not None and not python.is_file():
        raise ConfigError(f"there is no Python {python}")
    if Supervisor(settings.home).pid() is None:
        raise ConfigError(f"the appliance in {settings.home} is not running; {hint('up')} starts it")
    interpreter = None if python is None else str(python.absolute())
    with supervisor.restart_lock(settings.home):
        running = Handover(settings, wait, interpreter, lambda line: screen.say(f"  {line}", "    "))
        for name in chosen:
            began = time.monotonic()
            screen.say(f"{name}: a new process takes over")
            try:
                running.run(known[name])
            except HandoverFailed as error:
                screen.say(f"tapedeck: {error}")
                return 1
            started.note(settings, program_of(name, known[name].read().active))
            screen.say(f"{name}: replaced after {time.monotonic() - began:.0f} s")
    return 0


def recorders_named(given: list[str], known: list[str], others: Sequence[str] = ()) -> list[str]:
    """Return the recorders that are named, by themselves or by their venue.

    Args:
        given: The names.
        known: All recorders.
        others: Programs that may be named as well; they are returned as they are.

    Raises:
        ConfigError: a name is unknown.
    """
    chosen: dict[str, None] = {}
    for name in given:
        names = [one for one in known if name in (venue_of(one), *(program_of(one, slot) for slot in SLOTS))]
        if name in others:
            names = [name]
        if not names:
            kind = "program" if others else "recorder"
            similar = nearest(name, dict.fromkeys([*known, *(venue_of(one) or one for one in known), *others]))
            raise ConfigError(f"no {kind} is named {name!r}{similar}")
        chosen |= dict.fromkeys(names)
    return list(chosen)
