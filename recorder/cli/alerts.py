"""The command `alerts`: what the watchdog found, from its book on disk, so that it needs no Postgres."""

import time
from typing import Annotated

import msgspec
import typer

from recorder.cli.common import console
from recorder.cli.status import duration
from recorder.process.health import WatchdogFigures, read_all
from recorder.process.screen import Screen
from recorder.process.terminal import say_json
from recorder.settings import Settings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import MOST_ALERTS, read_records

_SHOWN = 20


class AlertList(msgspec.Struct):
    """The answer, for `--json`. Times are unix seconds."""

    watching: bool  # whether the watchdog reports
    alerts: list[Alert]  # the newest first


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(
        rich_markup_mode=None,
        invoke_without_command=True,
        help="List the alerts that fire and those that are over.\n\n"
        "Example: `tapedeck alerts`, which is `tapedeck alerts list`; `tapedeck alerts list --past 100`",
    )
    group.callback()(_default)
    group.command("list")(listed)
    app.add_typer(group, name="alerts")


def _default(context: typer.Context) -> int:
    """List the alerts, where no other command follows."""
    return listed(context) if context.invoked_subcommand is None else 0


def listed(
    context: typer.Context,
    past: Annotated[int, typer.Option(min=0, max=MOST_ALERTS, help="How many alerts that are over to show.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the alerts that fire, then the last ones that are over.

    They come from the files of the watchdog, so that they are shown while Postgres is away. Table `alert` has the same
    and all older ones. docs/runbook.md has a section for each rule: what it means, what to look at, what to do.

    Example: `tapedeck alerts list --past 100`,
    `tapedeck psql -c "SELECT rule, count(*) FROM alert WHERE fired_at > now() - interval '7 days' GROUP BY 1"`
    """
    settings: Settings = context.obj.settings()
    found = sorted((record.alert for record in read_records(settings.home)), key=lambda alert: -alert.fired_at)
    firing = [alert for alert in found if alert.state == "firing"]
    over = [alert for alert in found if alert.state == "resolved"][:past]
    report = read_all(settings.home).get("watchdog")
    watching = report is not None and isinstance(report.figures, WatchdogFigures) and not report.stale(time.time())
    if as_json:
        say_json(AlertList(watching, [*firing, *over]), indented=True)
    else:
        _show(firing, over, console(), watching=watching)
    return 0


def _show(firing: list[Alert], over: list[Alert], screen: Screen, *, watching: bool) -> None:
    if not watching:
        screen.say("the watchdog does not run: what is listed is as it was when it ended")
    if not firing:
        screen.say("no alert fires")
    for alert in firing:
        lasting = duration(max(0.0, time.time() - alert.fired_at))
        screen.say(f"{alert.severity} {alert.rule} for {lasting}: {alert.summary}", "  ")
    for alert in over:
        lasted = duration(max(0.0, (alert.resolved_at or 0.0) - alert.fired_at))
        screen.say(
            f"over: {_instant(alert.fired_at)} for {lasted}, {alert.severity} {alert.rule}: {alert.summary}", "  "
        )


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
