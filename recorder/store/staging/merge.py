"""The staging table of each table, and how its rows enter the table: once, and the newest revision last."""

from recorder.errors import RowRejected
from recorder.store.batch import Group
from recorder.store.database import Cursor

KEYS = {
    "trade": ("instrument_id", "trade_id", "ts_event"),
    "quarantine": ("journal_id", "segment", "position", "scope", "item"),
    "book_audit": ("session_id", "instrument_id", "started_at"),
    "witness": ("witness_id",),
    "gap": ("gap_id",),
    "session": ("session_id",),
    "instrument": ("instrument_id",),
    "poll_schedule": ("job", "since"),
    "poll_run": ("run_id",),
    "poll_hole": ("job", "from_at", "until_at"),
    "market": ("market_id",),
    "market_rules": ("market_id",),
    "market_history": ("market_id", "field", "known_at"),
    "market_event": ("event_id",),
    "resolution": ("market_id",),
    "market_snapshot": ("market_id", "ts_recv"),
    "market_book": ("market_id", "ts_recv"),
    "whale_event": ("transaction_hash", "wallet"),
    "equity_bar": ("instrument_id", "interval_s", "start"),
    "corporate_action": ("instrument_id", "kind", "ex_day"),
    "past_trade": ("instrument_id", "trade_id", "ts_event"),
    "gap_read": ("gap_id",),
    "backfill_range": ("backfill_id",),
    "venue_bar": ("instrument_id", "interval_s", "start"),
}
"""Columns that identify a row. A row whose key is stored already is a duplicate, or a revision of it."""

_REVISED = (
    "gap", "session", "market", "market_rules", "market_event", "resolution", "whale_event", "equity_bar",
    "corporate_action", "gap_read", "backfill_range", "venue_bar",
)  # fmt: skip
STAGED_ALWAYS = (*_REVISED, "instrument", "market_history", "past_trade")  # triggers leave out rows of the last two

_OTHER_NAME = """
SELECT format('instrument_id %s of %s:%s is taken by %s:%s', s.instrument_id, s.venue, s.symbol, i.venue, i.symbol)
  FROM pg_temp.stage_instrument s
  LEFT JOIN instrument i ON i.instrument_id = s.instrument_id
 WHERE (i.venue, i.symbol) IS DISTINCT FROM (s.venue, s.symbol) LIMIT 1"""


# A venue's list may have named the instrument before this journal was loaded. The rows are locked in the order in
# which discovery locks them.
_EARLIER = """
WITH staged AS (SELECT instrument_id, venue, symbol, min(first_seen) AS first_seen
                  FROM pg_temp.stage_instrument GROUP BY instrument_id, venue, symbol),
     earlier AS (SELECT i.instrument_id, s.first_seen
                   FROM instrument i JOIN staged s USING (instrument_id, venue, symbol)
                  WHERE s.first_seen < i.first_seen OR NOT i.recorded
                  ORDER BY i.instrument_id FOR UPDATE OF i)
UPDATE instrument i SET first_seen = e.first_seen, recorded = true
  FROM earlier e WHERE e.instrument_id = i.instrument_id"""


# The history of a venue may round a time otherwise than its feed, which may send a healed trade again.
_KNOWN_BY_HISTORY = """
 WHERE NOT EXISTS (SELECT FROM past_trade p
                    WHERE p.instrument_id = s.instrument_id AND p.trade_id = s.trade_id AND p.ts_event <> s.ts_event
                      AND p.ts_event BETWEEN s.ts_event - interval '2 seconds' AND s.ts_event + interval '2 seconds')"""


def merge(cursor: Cursor, group: Group) -> int:
    """Insert the new rows of the staging table into the table, and return their number."""
    table, stage = identifier(group.table), identifier(f"stage_{group.table}")
    columns = column_list(group.columns)
    key = KEYS.get(group.table)
    if key is None:
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage}")
        return cursor.rowcount
    if group.table == "instrument":
        cursor.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {stage} ON CONFLICT DO NOTHING")
        inserted = cursor.rowcount
        cursor.execute(_EARLIER)
        cursor.execute(_OTHER_NAME)
        other = cursor.fetchone()
        if other is not None:
            raise RowRejected(str(other[0]))
        return inserted
    if group.table not in _REVISED:
        new = f"{stage} s{_KNOWN_BY_HISTORY}" if group.table == "trade" else stage
        cursor.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {new} ON CONFLICT ({column_list(key)}) DO NOTHING"
        )
        return cursor.rowcount
    newest = (
        f"SELECT DISTINCT ON ({column_list(key)}) {columns} FROM {stage} ORDER BY {column_list(key)}, revision DESC"
    )
    cursor.execute(f"INSERT INTO {table} ({columns}) {newest} ON CONFLICT ({column_list(key)}) DO NOTHING")
    inserted = cursor.rowcount
    changed = [identifier(column) for column in group.columns if column not in key]
    changes = ", ".join(f"{column} = s.{column}" for column in changed)
    match = " AND ".join(f"t.{identifier(column)} = s.{identifier(column)}" for column in key)
    cursor.execute(f"UPDATE {table} t SET {changes} FROM ({newest}) s WHERE {match} AND s.revision > t.revision")
    return inserted


def identifier(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def column_list(names: tuple[str, ...]) -> str:
    """Return names quoted for SQL, with commas."""
    return ", ".join(map(identifier, names))
