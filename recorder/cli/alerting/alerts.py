"""The commands `alerts`: what the watchdog found and sent, from its files, so that they need no Postgres."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder.cli.alerting import actions
from recorder.cli.columns import duration
from recorder.cli.common import console
from recorder.process.health import WatchdogFigures, read_all
from recorder.process.screen import Screen
from recorder.process.terminal import say_json
from recorder.settings import Settings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import MOST_ALERTS, read_records
from recorder.watchdog.delivery.marks import Ack, Marks, Silence, read_marks
from recorder.watchdog.delivery.outbox import waiting
from recorder.watchdog.delivery.state_file import read_state

_SHOWN = 20


class ChannelLine(msgspec.Struct):
    """A channel and its queue."""

    channel: str
    waiting: int  # messages that it has not taken yet
    taken: int
    left_out: int  # messages that it refused, or whose arrival is not known after several attempts
    failing_s: float | None  # None while it works
    reason: str  # of the last failure


class AlertList(msgspec.Struct):
    """The answer, for `--json`. Times are unix seconds."""

    watching: bool  # whether the watchdog reports
    alerts: list[Alert]  # the newest first
    acknowledged: list[int]  # ids of those alerts
    acks: list[Ack]  # of those alerts, with their times and notes
    silences: tuple[Silence, ...]
    channels: list[ChannelLine]


def register(app: typer.Typer) -> None:
    """Add the command."""
    group = typer.Typer(
        rich_markup_mode=None,
        invoke_without_command=True,
        help="List alerts, test the channels, acknowledge alerts, silence rules.\n\n"
        "Example: `tapedeck alerts`, which is `tapedeck alerts list`; `tapedeck alerts test`",
    )
    group.callback()(_default)
    group.command("list")(listed)
    actions.register(group)
    app.add_typer(group, name="alerts")


def _default(context: typer.Context) -> int:
    """List the alerts, where no other command follows."""
    return listed(context) if context.invoked_subcommand is None else 0


def listed(
    context: typer.Context,
    past: Annotated[int, typer.Option(min=0, max=MOST_ALERTS, help="How many alerts that are over to show.")] = _SHOWN,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> int:
    """List the alerts that fire, the silences, messages that wait, and the last alerts that are over.

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
    marks, now = read_marks(settings.home), time.time()
    silences = tuple(one for one in marks.silences if one.active(now))
    channels = _channels(settings.home)
    if as_json:
        alerts = [*firing, *over]
        ids = {alert.alert_id for alert in alerts}
        acks = [one for one in marks.acks if one.alert_id in ids]
        say_json(AlertList(watching, alerts, [one.alert_id for one in acks], acks, silences, channels), indented=True)
    else:
        screen = console()
        _show(firing, over, marks, screen, watching=watching)
        _show_delivery(silences, channels, screen)
    return 0


def _channels(home: Path) -> list[ChannelLine]:
    state = read_state(home)
    counts = waiting(state)
    return [
        ChannelLine(name, counts[name], one.taken, one.left_out, one.failing_s, one.reason)
        for name, one in state.channels.items()
    ]


def _show_delivery(silences: Sequence[Silence], channels: Sequence[ChannelLine], screen: Screen) -> None:
    for one in silences:
        about = f"{one.rule} {one.subject or ''}".strip()
        screen.say(f"silent until {_instant(one.until)}: {about}{f', {one.note}' if one.note else ''}", "  ")
    for channel in channels:
        if channel.waiting or channel.failing_s is not None:
            reason = f": {channel.reason}" if channel.reason else ""
            screen.say(f"{channel.waiting} messages wait for {channel.channel}{reason}", "  ")


def _show(firing: list[Alert], over: list[Alert], marks: Marks, screen: Screen, *, watching: bool) -> None:
    if not watching:
        screen.say(
            "the watchdog does not run, so nothing is watched now: what is listed is as it was when it ended", "  "
        )
    if not firing:
        screen.say("no alert fires" if watching else "no alert fired when it ended")
    for alert in firing:
        lasting = duration(max(0.0, time.time() - alert.fired_at))
        until = marks.silenced_until(alert.rule, alert.subject, time.time())
        notes = _acknowledged(alert, marks)
        notes += f", silent until {_instant(until)}" if until is not None else ""
        screen.say(f"{alert.severity} {alert.rule} for {lasting}{notes}: {_summary(alert)}", "  ")
    for alert in over:
        lasted = duration(max(0.0, (alert.resolved_at or 0.0) - alert.fired_at))
        notes = _acknowledged(alert, marks)
        screen.say(
            f"over: {_instant(alert.fired_at)} for {lasted}, {alert.severity} {alert.rule}{notes}: {_summary(alert)}",
            "  ",
        )


def _acknowledged(alert: Alert, marks: Marks) -> str:
    ack = next((one for one in marks.acks if one.alert_id == alert.alert_id), None)
    if ack is None:
        return ""
    return f", acknowledged at {_instant(ack.at)}{f' ({ack.note})' if ack.note else ''}"


def _summary(alert: Alert) -> str:
    return f"{alert.summary}; {alert.action}" if alert.action else alert.summary


def _instant(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
