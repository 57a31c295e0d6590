"""Stores restarts in table program_restart."""

from recorder.store.database import Cursor
from recorder.watchdog.acting.book import RestartBook

_STORE = """
INSERT INTO program_restart AS r (restart_id, program, pid, still_s, started_at, ended_at, outcome, killed, reason,
                                  revision)
VALUES (%s, %s, %s, %s, to_timestamp(%s), to_timestamp(%s), %s, %s, nullif(%s, ''), %s)
    ON CONFLICT (restart_id) DO UPDATE
   SET ended_at = excluded.ended_at, outcome = excluded.outcome, killed = excluded.killed, reason = excluded.reason,
       revision = excluded.revision
 WHERE excluded.revision > r.revision"""


class RestartTable:
    """Keeps table program_restart equal to the book of restarts."""

    def __init__(self, book: RestartBook) -> None:
        self._book = book

    def run(self, cursor: Cursor) -> None:
        """Store the restarts that Postgres lacks."""
        unsaved = self._book.unsaved()
        for one in unsaved:
            cursor.execute(
                _STORE,
                (
                    one.restart_id, one.program, one.pid, one.still_s, one.started_at, one.ended_at, one.outcome,
                    one.killed, one.reason, one.revision,
                ),
            )  # fmt: skip
        if unsaved:
            self._book.saved(unsaved)
