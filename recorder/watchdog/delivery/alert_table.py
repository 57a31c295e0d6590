"""Stores alerts in table alert, with what a person has noted about them."""

import time
from collections.abc import Callable

from recorder.store.database import Cursor
from recorder.watchdog.book import AlertBook
from recorder.watchdog.delivery.marks import Marks, marked

_STORE = """
INSERT INTO alert AS a (alert_id, rule, subject, severity, state, summary, value, started_at, fired_at, resolved_at,
                        revision, action, acknowledged_at, acknowledged_note, silenced_until)
VALUES (%s, %s, %s, %s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), to_timestamp(%s), %s, nullif(%s, ''),
        to_timestamp(%s), nullif(%s, ''), to_timestamp(%s))
    ON CONFLICT (alert_id) DO UPDATE
   SET state = excluded.state, resolved_at = excluded.resolved_at, revision = excluded.revision,
       action = excluded.action, acknowledged_at = excluded.acknowledged_at,
       acknowledged_note = excluded.acknowledged_note, silenced_until = excluded.silenced_until
 WHERE excluded.revision >= a.revision"""


class AlertTable:
    """Keeps table alert equal to the book of alerts and to the marks."""

    def __init__(self, book: AlertBook, marks: Callable[[], Marks]) -> None:
        """
        Args:
            book: Of the alerts.
            marks: Returns acknowledgements and silences.
        """
        self._book = book
        self._marks = marks

    def run(self, cursor: Cursor) -> None:
        """Store the alerts that Postgres lacks, or whose marks have changed."""
        marks, now = self._marks(), time.time()
        unsaved = self._book.unsaved(lambda alert, before: marked(marks, alert, before, now))
        for record in unsaved:
            alert, of_person = record.alert, record.marked
            cursor.execute(
                _STORE,
                (
                    alert.alert_id, alert.rule, alert.subject, alert.severity, alert.state, alert.summary, alert.value,
                    alert.started_at, alert.fired_at, alert.resolved_at, alert.revision, alert.action,
                    of_person.acknowledged_at, of_person.note, of_person.silenced_until,
                ),
            )  # fmt: skip
        if unsaved:
            self._book.saved(unsaved)
