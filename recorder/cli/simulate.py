"""Commands about the simulated venues."""

from typing import Annotated

import msgspec
import requests
import typer

from recorder.cli.common import console
from recorder.errors import ConfigError
from recorder.settings import Settings

TIMEOUT_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer()
    group.callback(invoke_without_command=True)(simulate)
    group.command("do")(do)
    app.add_typer(group, name="simulate")


def simulate(context: typer.Context) -> int:
    """Serve the simulated venues in the foreground until Ctrl-C: loopback servers that know the truth.

    Example: `tapedeck simulate`, and from another terminal `tapedeck simulate do kraken help`
    """
    if context.invoked_subcommand is not None:
        return 0
    from recorder.simulator.main import main

    loaded: Settings = context.obj.settings()
    context.obj.log_to_stderr(loaded, "simulator")
    return main(loaded)


def do(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Which simulated venue.")],
    misbehaviour: Annotated[str, typer.Argument(help="What it shall do; `help` lists all.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE, as `help` shows.")] = None,
) -> int:
    """Make a running simulated venue misbehave.

    Examples: `tapedeck simulate do kraken help`, `tapedeck simulate do kraken close how=rst`
    """
    loaded: Settings = context.obj.settings()
    try:
        url = f"http://127.0.0.1:{loaded.simulator.ports[venue]}/_control"
    except KeyError:
        known = ", ".join(sorted(loaded.simulator.ports)) or "none"
        raise ConfigError(f"{loaded.file.name} simulates no venue {venue!r}; simulated are: {known}") from None
    try:
        if misbehaviour == "help":
            answer = requests.get(url, timeout=TIMEOUT_S)
        else:
            answer = requests.post(url, json={"do": misbehaviour, **_parse(arguments or [])}, timeout=TIMEOUT_S)
    except requests.RequestException:
        raise ConfigError(
            f"the simulator does not answer at {url}; is it running? `tapedeck status` shows it"
        ) from None
    body = answer.json()
    if answer.status_code != 200:
        raise ConfigError(str(body.get("error", body)))
    if misbehaviour == "help":
        for name, text in body.items():
            console().print(f"[bold]{name}[/bold]{text}", markup=True)
    else:
        typer.echo(msgspec.json.encode(body).decode())
    return 0


def _parse(words: list[str]) -> dict[str, object]:
    """NAME=VALUE words; a value that reads as JSON (a number, true, null) is that, anything else is text."""
    values: dict[str, object] = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator:
            raise ConfigError(f"{word!r} is not NAME=VALUE")
        try:
            values[name] = msgspec.json.decode(text)
        except msgspec.DecodeError:
            values[name] = text
    return values
