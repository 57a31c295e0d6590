"""`tapedeck selftest`: proves that this installation records and recovers on this machine."""

import time

import typer

from recorder.appliance import selftest as selftests
from recorder.cli.common import console


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(selftest)


def selftest(context: typer.Context) -> int:
    """Record simulated venues in a folder and on ports of its own, kill programs, prove the data, remove all of it.

    It needs no network, takes about a minute, and touches neither the running appliance nor its data. Exit code 1 when
    something does not hold, with the end of the logs. `make smoke` and the end of `make deploy` are this.

    Example: `tapedeck selftest`
    """
    screen = console()
    began = time.monotonic()
    try:
        selftests.run(context.obj.settings(), lambda text: screen.say(f"selftest: {text}"))
    except selftests.SelfTestError as error:
        for line in str(error).splitlines():
            screen.say(f"selftest: {line}")
        screen.say("selftest: failed")
        return 1
    screen.say(f"selftest: passed in {time.monotonic() - began:.0f} s")
    return 0
