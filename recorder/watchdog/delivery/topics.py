"""Which message an alert needs now: cooldown, reminder, resolution, and flapping that becomes one summary. Pure.

A topic is one rule for one subject. Its alerts come and go, each with an id of its own; between two messages that it
fires there is at least a cooldown, and all that happens in between becomes one message at the end. The resolution of
an alert whose firing was the last message follows at once.

All durations are sums of monotonic time while the watchdog runs, so that a restart never shortens a cooldown.
"""

from typing import Literal, NamedTuple

import msgspec

from recorder.watchdog.alerts import Alert, Key
from recorder.watchdog.delivery.message import Kind, Message


class Policy(NamedTuple):
    """When messages are sent."""

    cooldown_s: float
    reminder_s: float  # 0: never


class Topic(msgspec.Struct):
    """What was sent about one rule and subject, and what has happened since."""

    alert: Alert  # the last one
    shown: Literal["", "firing", "resolved"] = ""  # what the last message said
    since_s: float | None = None  # since the last message that it fires, or a summary; None: there was none
    single: bool = False  # that message was about one alert, so its resolution may follow at once
    fires: int = 0  # alerts that fired since the last message
    fires_s: float = 0.0  # since the first of them
    number: int = 0  # of the last message
    missing_s: float = 0.0  # how long the book has not had the alert, although it fires

    @property
    def key(self) -> Key:
        """The rule and the subject."""
        return self.alert.rule, self.alert.subject

    def pass_time(self, passed_s: float) -> None:
        """Let monotonic time pass."""
        if self.since_s is not None:
            self.since_s += passed_s
        if self.fires:
            self.fires_s += passed_s

    def observe(self, alert: Alert, *, fired: bool) -> None:
        """Take a new alert, or a new revision of the last one.

        Args:
            alert: The alert.
            fired: Whether it has fired since the last look.
        """
        if fired:
            self.fires += 1
        if fired or alert.alert_id == self.alert.alert_id:
            self.alert = alert
            self.missing_s = 0.0

    def open(self, policy: Policy) -> bool:
        """Return whether no cooldown runs."""
        return self.since_s is None or self.since_s >= policy.cooldown_s

    def over(self, policy: Policy) -> bool:
        """Return whether there is nothing more to say about it."""
        return self.alert.state == "resolved" and self.shown != "firing" and not self.fires and self.open(policy)

    def due(self, policy: Policy, *, silenced: bool, acknowledged: bool) -> Kind | None:
        """Return the kind of message that must be sent now; None where there is none.

        Args:
            policy: Cooldown and reminder.
            silenced: Whether a silence covers it.
            acknowledged: Whether a person has seen the alert.
        """
        if silenced:
            if self.alert.state == "resolved" and self.shown != "firing":
                self.fires = 0  # it came and went in the silence
            return None
        opened = self.open(policy)
        if self.alert.state == "firing":
            if self.fires:
                if not opened:
                    return None
                return "firing" if self.fires == 1 and self.shown != "firing" else "summary"
            reminded = policy.reminder_s > 0 and self.since_s is not None and self.since_s >= policy.reminder_s
            return "reminder" if reminded and opened and not acknowledged else None
        if self.fires:
            return "summary" if opened else None
        return "resolved" if self.shown == "firing" and (self.single or opened) else None

    def message(self, kind: Kind, now: float) -> Message:
        """Return the message that is due, and take it as sent.

        Args:
            kind: As `due` returns it.
            now: Unix seconds.
        """
        self.number += 1
        over_s = self.fires_s if self.since_s is None else self.since_s
        message = Message(self.number, kind, self.alert, now, times=self.fires, over_s=over_s)
        self.shown = self.alert.state
        self.single = kind in ("firing", "reminder")
        self.fires, self.fires_s = 0, 0.0
        if kind != "resolved":
            self.since_s = 0.0
        return message
