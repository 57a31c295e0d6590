"""Which tables are loaded through a staging table, and until when: those whose rows may be stored already."""

import time
from collections.abc import Iterable

import psycopg2.errors

from recorder.store.batch import Group, KnownSessions
from recorder.store.database import Cursor
from recorder.store.staging.merge import STAGED_ALWAYS
from recorder.store.staging.times import event_times

ENTERS = {"past_trade": "trade"}
"""Tables whose trigger stores their rows in another table."""

_AFTER_DUPLICATE_S = 5.0  # duplicates come in runs: not every batch of a run must fail first
_TIMED = ("instrument_id", "trade_id", "ts_event")  # the first columns of trade and past_trade
_EVER = (-(1 << 63), 1 << 63)
_STAMPS_US = 2_000_000  # the time of a trade in a history and in a feed differ by less

# No trade is stamped more than a day after its receipt, so none that was received earlier than a day before the last
# one is later than that.
_HISTORY_UNTIL = """
SELECT (extract(epoch FROM greatest(n.at, (SELECT max(p.ts_event) FROM past_trade p
                                            WHERE p.ts_recv >= n.at - interval '1 day'))
                           - timestamptz '2000-01-01 00:00:00+00') * 1000000)::bigint
  FROM (SELECT max(ts_recv) AS at FROM past_trade) n"""


class StagedTables:
    """The tables that are staged for a while, beside those that always are.

    Trades are staged, too, when one is as old as a past trade: a feed that sends again what a history filled stamps it
    otherwise, however much later it does. Then its id is looked up.
    """

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}  # monotonic time
        self._sessions = KnownSessions()
        self._history_known = False  # whether the database was asked for its past trades
        self._history_until_us: int | None = (
            None  # no past trade is later, in microseconds since 2000; None: there is none
        )

    def look_for_history(self, cursor: Cursor) -> None:
        """Find out, once, up to which time earlier processes stored past trades.

        Raises:
            psycopg2.Error: The query failed.
        """
        if self._history_known:
            return
        try:
            cursor.execute(_HISTORY_UNTIL)
            row = cursor.fetchone()
        except psycopg2.errors.UndefinedTable:  # the schema is older than this program; the load says so
            row = None
        self._history_known = True
        if row is not None and row[0] is not None:
            self._past_until(int(row[0]))

    def of(self, groups: Iterable[Group]) -> list[bool]:
        """Return for each group whether it is staged."""
        groups = list(groups)
        if self._sessions.begin_in(groups):
            # A session that begins brings trades that another one may have stored, after a reconnect or a handover.
            self._stage("trade", _AFTER_DUPLICATE_S)
        for group in groups:
            if group.table in ENTERS:  # also where the answer to COMMIT is lost afterwards
                for _, part in group.parts:
                    self._past_until(_times(group, part.data)[1])
        now = time.monotonic()
        return [
            group.table in STAGED_ALWAYS or self._until_s.get(group.table, 0.0) > now or self._may_be_past(group)
            for group in groups
        ]

    def loaded(self, table: str, *, duplicate: int) -> None:
        """Note what was loaded into a table."""
        if duplicate and table not in STAGED_ALWAYS:
            self._stage(table, _AFTER_DUPLICATE_S)

    def _past_until(self, at_us: int) -> None:
        self._history_until_us = max(at_us, self._history_until_us or at_us)

    def _may_be_past(self, group: Group) -> bool:
        """Return whether a trade of a group is so old that it may be a past trade with another time."""
        if group.table not in ENTERS.values() or self._history_until_us is None:
            return False
        limit_us = self._history_until_us + _STAMPS_US
        return any(_times(group, part.data)[0] <= limit_us for _, part in group.parts if part.data)

    def _stage(self, table: str, seconds: float) -> None:
        self._until_s[table] = max(time.monotonic() + seconds, self._until_s.get(table, 0.0))


def _times(group: Group, data: bytes) -> tuple[int, int]:
    """Return the least and the greatest time of some trades; all times where the bytes do not show them."""
    if group.columns[:3] != _TIMED:
        return _EVER
    try:
        return event_times(data)
    except ValueError:  # they are damaged; the load finds out where
        return _EVER
