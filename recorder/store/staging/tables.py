"""Which tables are loaded through a staging table, and until when: those whose rows may be stored already."""

import time
from collections.abc import Iterable

import psycopg2.errors

from recorder.store.batch import Group, KnownSessions
from recorder.store.database import Cursor
from recorder.store.staging.merge import STAGED_ALWAYS

ENTERS = {"past_trade": "trade"}
"""Tables whose trigger stores their rows in another table."""

_AFTER_DUPLICATE_S = 5.0  # duplicates come in runs: not every batch of a run must fail first
_AFTER_HISTORY_S = 3600.0  # a feed that sends again what a history filled stamps it otherwise

_HISTORY_AGE = "SELECT extract(epoch FROM now() - max(ts_recv))::float8 FROM past_trade"


class StagedTables:
    """The tables that are staged for a while, beside those that always are."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}  # monotonic time
        self._sessions = KnownSessions()
        self._history_known = False  # whether the age of the newest past trade was looked up

    def look_for_history(self, cursor: Cursor) -> None:
        """Find out, once, whether an earlier process stored past trades lately.

        Raises:
            psycopg2.Error: The query failed.
        """
        if self._history_known:
            return
        try:
            cursor.execute(_HISTORY_AGE)
            row = cursor.fetchone()
        except psycopg2.errors.UndefinedTable:  # the schema is older than this program; the load says so
            row = None
        self._history_known = True
        if row is not None and row[0] is not None and row[0] < _AFTER_HISTORY_S:
            self._stage("trade", _AFTER_HISTORY_S - max(0.0, row[0]))

    def of(self, groups: Iterable[Group]) -> list[bool]:
        """Return for each group whether it is staged."""
        groups = list(groups)
        if self._sessions.begin_in(groups):
            # A session that begins brings trades that another one may have stored, after a reconnect or a handover.
            self._stage("trade", _AFTER_DUPLICATE_S)
        now = time.monotonic()
        return [group.table in STAGED_ALWAYS or self._until_s.get(group.table, 0.0) > now for group in groups]

    def loaded(self, table: str, *, inserted: int, duplicate: int) -> None:
        """Note what was loaded into a table."""
        if table in ENTERS and inserted:
            self._stage(ENTERS[table], _AFTER_HISTORY_S)
        if duplicate and table not in STAGED_ALWAYS:
            self._stage(table, _AFTER_DUPLICATE_S)

    def _stage(self, table: str, seconds: float) -> None:
        self._until_s[table] = max(time.monotonic() + seconds, self._until_s.get(table, 0.0))
