"""The life of an alert: pending -> firing -> resolved, for each rule and subject. Pure.

A condition must hold for the time of its rule before the alert fires, and must be gone for a while before it is
resolved. Both times are sums of monotonic durations between rounds, so that neither a step of the wall clock nor a
restart of the watchdog makes an alert fire early or last longer than its cause.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

Severity = Literal["page", "ticket", "info"]
Key = tuple[str, str]  # (rule, subject)


class Finding(msgspec.Struct, frozen=True):
    """A condition that holds now."""

    rule: str
    subject: str  # venue or program; "" for the appliance
    text: str  # what was found, for a person
    value: float | None = None  # in the unit of the rule

    @property
    def key(self) -> Key:
        """Which alert it belongs to."""
        return self.rule, self.subject


class Held(msgspec.Struct, frozen=True):
    """A condition that held in an earlier round, with its alert once that fires."""

    rule: str
    subject: str
    text: str
    value: float | None
    started_at: float  # unix seconds
    held_s: float = 0.0  # how long the condition has held
    gone_s: float = 0.0  # how long it has been gone, since it fired
    alert_id: int = 0  # 0 while it is pending
    fired_at: float = 0.0  # unix seconds

    @property
    def key(self) -> Key:
        """Which alert it is."""
        return self.rule, self.subject

    @property
    def firing(self) -> bool:
        """Whether the alert fires; else it is pending."""
        return self.alert_id != 0


class Alert(msgspec.Struct, frozen=True):
    """An alert that fired: what a delivery gets, what table `alert` stores. Times are unix seconds."""

    alert_id: int
    rule: str
    subject: str
    severity: Severity
    state: Literal["firing", "resolved"]
    summary: str
    value: float | None
    started_at: float
    fired_at: float
    resolved_at: float | None
    revision: int
    action: str = ""  # what the watchdog has done about it, for a person


class Change(msgspec.Struct, frozen=True):
    """One step of an alert."""

    to: Literal["pending", "cleared", "firing", "resolved"]  # cleared: it was pending, and never fired
    held: Held
    at: float  # unix seconds


def step(
    before: Iterable[Held],
    findings: Iterable[Finding],
    passed_s: float,
    now: float,
    *,
    for_s: Callable[[str], float],
    clear_s: float,
    unknown: Callable[[Held], bool],
    new_id: Callable[[], int],
) -> tuple[list[Held], list[Change]]:
    """Return the conditions after a round, and what changed.

    Args:
        before: The conditions after the round before.
        findings: Those that hold now, at most one of each rule and subject.
        passed_s: Monotonic seconds since the round before; 0 at the first.
        now: Unix seconds; only shown to people.
        for_s: How long a condition of a rule must hold before it fires.
        clear_s: How long it must be gone before the alert is resolved.
        unknown: Whether the evidence cannot say if a condition without a finding still holds: it stays as it is.
        new_id: Returns the id of an alert that fires.
    """
    found = {finding.key: finding for finding in findings}
    after: list[Held] = []
    changes: list[Change] = []
    for held in before:
        finding = found.pop(held.key, None)
        if finding is not None:
            held = msgspec.structs.replace(
                held, text=finding.text, value=finding.value, held_s=held.held_s + passed_s, gone_s=0.0
            )
            if not held.firing and held.held_s >= for_s(held.rule):
                held = msgspec.structs.replace(held, alert_id=new_id(), fired_at=now)
                changes.append(Change("firing", held, now))
        elif unknown(held):
            pass
        elif not held.firing:
            changes.append(Change("cleared", held, now))
            continue
        else:
            held = msgspec.structs.replace(held, gone_s=held.gone_s + passed_s)
            if held.gone_s >= clear_s:
                changes.append(Change("resolved", held, now))
                continue
        after.append(held)
    for finding in found.values():
        held = Held(finding.rule, finding.subject, finding.text, finding.value, now)
        changes.append(Change("pending", held, now))
        if for_s(held.rule) <= 0:
            held = msgspec.structs.replace(held, alert_id=new_id(), fired_at=now)
            changes.append(Change("firing", held, now))
        after.append(held)
    return after, changes


def alert_of(change: Change, severity: Severity, earlier: Alert | None) -> Alert:
    """Return the alert after a change to firing or resolved.

    Args:
        change: The change.
        severity: Of its rule.
        earlier: The same alert as it fired, when it is resolved now.
    """
    held = change.held
    resolved = change.to == "resolved"
    return Alert(
        alert_id=held.alert_id,
        rule=held.rule,
        subject=held.subject,
        severity=severity,
        state="resolved" if resolved else "firing",
        summary=held.text if earlier is None else earlier.summary,
        value=held.value if earlier is None else earlier.value,
        started_at=held.started_at,
        fired_at=held.fired_at,
        resolved_at=change.at if resolved else None,
        revision=1 if earlier is None else earlier.revision + 1,
        action="" if earlier is None else earlier.action,
    )
