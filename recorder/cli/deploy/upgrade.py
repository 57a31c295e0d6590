"""`tapedeck upgrade`: restarts the programs whose code or settings changed, one by one."""

from typing import Annotated

import typer

from recorder.appliance import upgrade as upgrades
from recorder.cli.common import console
from recorder.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(upgrade)


def upgrade(
    context: typer.Context,
    plan: Annotated[bool, typer.Option("--plan", help="Only print what would be restarted, and why.")] = False,
) -> int:
    """Restart the programs whose code or settings changed, one by one, each once the one before is healthy.

    The others go on: a release that changes one venue restarts one recorder. Exit code 1 when a program does not work;
    what was not restarted yet then still runs the old release. Run `tapedeck migrate` first. A deployment
    (`make deploy`) does both, and goes back by itself when this fails.

    Example: `tapedeck upgrade --plan`, `tapedeck migrate && tapedeck upgrade`
    """
    settings: Settings = context.obj.settings()
    screen = console()
    if plan:
        upgrades.require_running(settings)
        changes = upgrades.plan(settings)
        for change in changes:
            screen.say(f"{change.program}: to be restarted, because {change.reason}")
        if not changes:
            screen.say("nothing is to be restarted")
        return 0
    try:
        if not upgrades.apply(settings, screen.say):
            screen.say("nothing else was to be restarted")
    except upgrades.UpgradeError as error:
        for line in str(error).splitlines():
            screen.say(line)
        return 1
    return 0
