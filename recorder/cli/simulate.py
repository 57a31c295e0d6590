"""`tapedeck simulate`: the simulated venues and services in the foreground, and actions on running ones."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import requests
import typer

from recorder.cli.common import console
from recorder.errors import ConfigError, nearest
from recorder.process.screen import shown
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.simulator.main import main

TIMEOUT_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer()
    group.callback(invoke_without_command=True)(simulate)
    group.command("do")(do)
    app.add_typer(group, name="simulate")


def simulate(context: typer.Context) -> int:
    """Serve the simulated venues on loopback in the foreground until Ctrl-C, and log the truth of what they send.

    Beside the venues of simulator.venues these are the services of simulator.services, which have REST only: Gamma,
    CLOB and Data API of Polymarket with simulator.markets open markets, and the charts of Yahoo Finance.

    Example: `tapedeck simulate`, and in another terminal `tapedeck simulate do kraken help`
    """
    if context.invoked_subcommand is not None:
        return 0
    loaded: Settings = context.obj.settings()
    context.obj.log_to_stderr(loaded, "simulator")
    return main(loaded)


def do(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="A simulated venue or service.")],
    action: Annotated[str, typer.Argument(help="An action; `help` lists all.")],
    arguments: Annotated[list[str] | None, typer.Argument(help="NAME=VALUE, as `help` shows.")] = None,
) -> int:
    """Run an action on a running simulated venue or service, such as a fault.

    Examples: `tapedeck simulate do kraken help`, `tapedeck simulate do kraken close how=rst`,
    `tapedeck simulate do gamma rest status=429 retry_after=5 times=3`
    """
    loaded: Settings = context.obj.settings()
    ports = loaded.simulator.ports | loaded.simulator.service_ports
    try:
        url = f"http://127.0.0.1:{ports[venue]}/_control"
    except KeyError:
        hint = nearest(venue, sorted(ports))
        raise ConfigError(f"{loaded.file.name} simulates no venue {venue!r}{hint}") from None
    try:
        if action == "help":
            answer = requests.get(url, timeout=TIMEOUT_S)
        else:
            answer = requests.post(url, json={"do": action, **_parse(arguments or [])}, timeout=TIMEOUT_S)
    except requests.RequestException:
        raise ConfigError(f"the simulator does not answer at {url}; `tapedeck status` shows whether it runs") from None
    body = answer.json()
    if answer.status_code != 200:
        raise ConfigError(str(body.get("error", body)))
    if action == "help":
        for name, text in body.items():
            console().print(shown(name, "bold") + shown(text))
    elif action == "status":
        say_json(body)
    else:
        say(outcome(venue, action, body))
    return 0


def outcome(venue: str, action: str, body: Mapping[str, Any]) -> str:
    """Return what an action did, or will do, as one sentence."""
    figures = {name: value for name, value in body.items() if name != "armed"}
    shown = "; ".join(
        f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in figures.items()
    )
    details = f" ({shown})" if shown else ""
    rules = body.get("armed", [])
    if not rules:
        return f"{venue}: {action} is done{details}"
    rule = rules[0]
    stream = " ".join(word for word in (rule["channel"], rule["symbol"]) if word)
    what = f"{action} is armed{f' for {stream}' if stream else ''}{details}"
    heal = f"`tapedeck simulate do {venue} heal` ends it"
    if rule["left"] is None:
        return f"{venue}: {what} until {heal}"
    times = "the next time" if rule["left"] == 1 else f"the next {rule['left']} times"
    return f"{venue}: {what}, {times}; {heal} earlier"


def _parse(words: list[str]) -> dict[str, object]:
    """Return the values of NAME=VALUE words; numbers, true, false and null are read as JSON, the rest is text."""
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
