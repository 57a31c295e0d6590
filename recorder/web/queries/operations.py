"""What the pages of alerts and jobs ask Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from recorder.store.database import Cursor

MOST_ALERTS = 200
MOST_RUNS = 200


class AlertRow(NamedTuple):
    """An alert that fired, with what a person noted."""

    alert_id: int
    rule: str
    subject: str
    severity: str
    state: str
    summary: str
    value: float | None
    fired_at: datetime
    resolved_at: datetime | None
    action: str | None
    acknowledged_at: datetime | None
    acknowledged_note: str | None
    silenced_until: datetime | None


class Run(NamedTuple):
    """A round of a job, or slots of it without one."""

    run_id: int
    job: str
    slot: datetime
    slots: int
    state: str
    reason: str
    started_at: datetime | None
    duration_s: float | None
    rows: int
    bytes: int
    answers: int
    attempts: int
    odd: int
    odd_samples: list[str]
    traceback: str | None


_ALERTS = """
SELECT alert_id, rule, subject, severity, state, summary, value, fired_at, resolved_at, action, acknowledged_at,
       acknowledged_note, silenced_until
  FROM alert
 WHERE (%(rule)s = '' OR rule = %(rule)s) AND fired_at < %(before)s
 ORDER BY fired_at DESC, alert_id DESC LIMIT %(most)s"""

_RUNS = """
SELECT run_id, job, slot, slots, state, reason, started_at, duration_s, rows, bytes, answers, attempts, odd,
       odd_samples, traceback
  FROM poll_run
 WHERE (%(job)s = '' OR job = %(job)s) AND (%(state)s = '' OR state = %(state)s) AND slot < %(before)s
 ORDER BY slot DESC, run_id DESC LIMIT %(most)s"""


def alerts(cursor: Cursor, rule: str, before: datetime, most: int = MOST_ALERTS) -> list[AlertRow]:
    """Return alerts that fired before an instant, the newest first.

    Args:
        cursor: A cursor.
        rule: Only of this rule; empty for all.
        before: The instant.
        most: Length of the list.
    """
    return [AlertRow(*row) for row in _rows(cursor, _ALERTS, rule=rule, before=before, most=most)]


def runs(cursor: Cursor, job: str, state: str, before: datetime, most: int = MOST_RUNS) -> list[Run]:
    """Return rounds and slots before an instant, the newest first.

    Args:
        cursor: A cursor.
        job: Only of this job; empty for all.
        state: Only those with this outcome; empty for all.
        before: The instant.
        most: Length of the list.
    """
    return [Run(*row) for row in _rows(cursor, _RUNS, job=job, state=state, before=before, most=most)]


def _rows(cursor: Cursor, query: str, **values: Any) -> Sequence[tuple[Any, ...]]:
    cursor.execute(query, values)
    return cursor.fetchall()
