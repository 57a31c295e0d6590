"""A message about an alert, and its text for a person. Pure."""

from datetime import UTC, datetime
from typing import Literal

import msgspec

from recorder.printable import printable
from recorder.watchdog.alerts import Alert
from recorder.watchdog.first_steps import first_step

Kind = Literal["firing", "reminder", "summary", "resolved", "test"]

TEXT_MAX = 1_500
"""Characters of a message: less than any service takes, after its escapes too."""
_TITLE_MAX = 150
_WORDS_MAX = 400  # characters of what a venue or a database may have caused


class Message(msgspec.Struct, frozen=True):
    """One message. Times are unix seconds."""

    number: int  # of the messages about this rule and subject, from 1
    kind: Kind
    alert: Alert  # as it was when the message was made
    at: float  # when it was made
    times: int = 0  # how often the alert fired since the message before
    over_s: float = 0.0  # in which time
    left_out: int = 0  # earlier messages about this alert that the queue had no room for
    lost: int = 0  # messages about any alert that the queue had no room for

    @property
    def id(self) -> str:
        """What a receiver may know a repeat by: the same message has the same id each time."""
        return f"{self.alert.alert_id}-{self.alert.revision}-{self.number}"


def about(alert: Alert) -> str:
    """Return what an alert is about: its rule and subject."""
    return printable(f"{alert.rule} {alert.subject}".strip())


def title(message: Message) -> str:
    """Return the first line."""
    alert = message.alert
    state = {
        "firing": "fires",
        "reminder": "still fires",
        "resolved": "is over",
        "test": "is a test",
        "summary": f"fired {message.times} {'time' if message.times == 1 else 'times'} in {duration(message.over_s)}, "
        + ("and fires now" if alert.state == "firing" else "and is over now"),
    }[message.kind]
    return f"[{alert.severity}] {about(alert)[:_TITLE_MAX]} {state}"


def details(message: Message, source: str, *, repeated: bool = False) -> list[str]:
    """Return the lines below the title.

    Args:
        message: The message.
        source: The name of this appliance.
        repeated: Whether an earlier attempt may have reached the receiver.
    """
    alert = message.alert
    lines = [printable(alert.summary)[:_WORDS_MAX]]
    if alert.action:
        lines.append(printable(alert.action)[:_WORDS_MAX])
    since = f"since {utc(alert.started_at)}"
    if alert.resolved_at is not None:
        since += f", over at {utc(alert.resolved_at)} after {duration(alert.resolved_at - alert.started_at)}"
    lines.append(since)
    if alert.state == "firing" and (step := first_step(alert.rule, alert.subject)):
        lines.append(f"first: {step}")
    if message.left_out:
        lines.append(f"{message.left_out} earlier messages about it were left out")
    if message.lost:
        lines.append(f"{message.lost} messages about other alerts were left out: `tapedeck alerts` lists all")
    if repeated:
        lines.append("this message may have arrived before")
    lines.append(f"docs/runbook.md: {alert.rule}; from {printable(source)[:100]}; id {message.id}")
    return lines


def plain(message: Message, source: str, *, repeated: bool = False) -> str:
    """Return the text; arguments as for `details`."""
    return "\n".join([title(message), *details(message, source, repeated=repeated)])[:TEXT_MAX]


def utc(at: float) -> str:
    """Return a time as a person reads it."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def iso(at: float | None) -> str | None:
    """Return a time as RFC 3339 has it; None where there is none."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def duration(seconds: float) -> str:
    """Return a duration in one unit."""
    seconds = max(0.0, seconds)
    for name, unit in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
