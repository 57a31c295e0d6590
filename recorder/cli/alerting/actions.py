"""`tapedeck alerts test`, `ack` and `silence`.

All of it is in files of the home, so that it works without Postgres and without the watchdog.
"""

import re
import threading
import time
from typing import Annotated

import typer

from recorder.appliance.process_list import programs
from recorder.cli.common import Context
from recorder.clock import SystemClock
from recorder.errors import ConfigError, nearest
from recorder.process.terminal import say
from recorder.settings import Settings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import read_records
from recorder.watchdog.delivery import noting
from recorder.watchdog.delivery.channels.configured import channels
from recorder.watchdog.delivery.marks import SILENCE_MAX_S
from recorder.watchdog.delivery.message import Message, utc
from recorder.watchdog.delivery.noting import acknowledge, end_silences, require_rule

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def register(group: typer.Typer) -> None:
    """Add the commands to the group `alerts`."""
    group.command("test")(test)
    group.command("ack")(ack)
    group.command("silence")(silence)


def test(context: typer.Context) -> int:
    """Send a test message over every channel now, and show each answer. Exit code 1 if one fails.

    Example: `tapedeck alerts test`
    """
    settings, now = _settings(context), time.time()
    made = channels(settings, SystemClock())
    if not made:
        raise ConfigError("no channel is set; set ALERT_WEBHOOK_URL, or ALERT_EMAIL_TO and SMTP_HOST")
    alert = Alert(
        alert_id=time.time_ns(),
        rule="test",
        subject="",
        severity="info",
        state="firing",
        summary="a person tests whether messages arrive; nothing is wrong",
        value=None,
        started_at=now,
        fired_at=now,
        resolved_at=None,
        revision=1,
    )
    failed = False
    for channel in made:
        answer = channel.send(Message(1, "test", alert, now), threading.Event())
        failed |= answer.outcome != "taken"
        say(f"{channel.describes}: {'sent' if answer.outcome == 'taken' else 'failed'} ({answer.text})")
    if not settings.monitoring.enabled:
        say("MONITORING_ENABLED is false: the watchdog sends nothing", err=True)
    return 1 if failed else 0


def ack(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="RULE|ID", help="Rule of alerts that fire, or the id of one.")],
    subject: Annotated[str | None, typer.Argument(help="Venue or program; unset: all of the rule.")] = None,
    note: Annotated[str, typer.Option("--note", help="Shown in the list.")] = "",
) -> int:
    """Acknowledge alerts that fire: no reminders until they are over. A new alert of the same rule is sent again.

    Example: `tapedeck alerts ack venue_no_data kraken --note 'maintenance of the venue'`
    """
    home, now = _settings(context).home, time.time()
    firing = [record.alert for record in read_records(home) if record.alert.state == "firing"]
    found = [one for one in firing if name in (one.rule, str(one.alert_id)) and subject in (None, one.subject)]
    if not found:
        raise ConfigError(f"no alert of {' '.join([name, subject or '']).strip()!r} fires; `tapedeck alerts` lists all")
    acknowledge(home, {one.alert_id for one in found}, note, now)
    for one in found:
        say(f"acknowledged: {one.rule} {one.subject}".rstrip())
    return 0


def silence(
    context: typer.Context,
    rule: Annotated[str, typer.Argument(help="Rule, such as venue_no_data.")],
    subject: Annotated[str | None, typer.Argument(help="Venue or program; unset: all of the rule.")] = None,
    length: Annotated[
        str | None, typer.Option("--for", metavar="TIME", help="How long: 90s, 30m, 2h, 3d; at most 30 days.")
    ] = None,
    end: Annotated[bool, typer.Option("--end", help="End its silences now.")] = False,
    note: Annotated[str, typer.Option("--note", help="Shown in the list.")] = "",
) -> int:
    """Send nothing about a rule for a time; the silence ends by itself, and what then fires is sent.

    Example: `tapedeck alerts silence venue_no_data kraken --for 2h`
    """
    settings, now = _settings(context), time.time()
    home = settings.home
    require_rule(rule)
    if end == (length is not None):
        raise ConfigError("say either how long, such as --for 2h, or --end")
    until = now

    known = _subjects(settings)
    if not end and subject is not None and subject not in known:
        raise ConfigError(f"there is no venue or program {subject!r}{nearest(subject, known)}")
    ended = end_silences(home, rule, subject, now) if end else []
    if length is not None:
        length_s = _seconds(length)
        until = now + length_s
        noting.silence(home, rule, subject, length_s, note, now)
    about = rule if subject is None else f"{rule} {subject}"
    if not end:
        say(f"{about}: silent until {utc(until)}")
    elif not ended:
        say(f"{about}: there was no silence")
    for one in ended if end else ():
        say(f"{' '.join(filter(None, (one.rule, one.subject)))}: no longer silent")
    return 0


def _subjects(settings: Settings) -> list[str]:
    """Return the venues and programs that an alert can be about."""
    return [*settings.venues, *programs(settings)]


def _settings(context: typer.Context) -> Settings:
    given: Context = context.obj
    return given.settings()


def _seconds(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9})([smhd])", text)
    seconds = 0.0 if found is None else int(found[1]) * _UNITS[found[2]]
    if not 0 < seconds <= SILENCE_MAX_S:
        raise ConfigError(f"{text!r} is no length of a silence; write 90s, 30m, 2h or 3d, at most 30d")
    return seconds
