"""The gap of a row that Postgres refuses. It is written beside the quarantine row, in the same transaction."""

import time
from collections.abc import Iterable

from recorder.identity import stable_hash64
from recorder.pgcopy.stream import int8_field
from recorder.store.batch import Batch, Broken, Group, Row
from recorder.store.database import Cursor

_CHANNELS = {"trade": "trade", "quote": "quote", "book": "book", "past_trade": "trade"}
_POSTGRES_EPOCH_US = 946_684_800 * 10**6  # 2000-01-01
_EARLIEST_US = 1_230_768_000 * 10**6  # 2009-01-01
_DAY_US = 86_400 * 10**6

_INSERT = """
INSERT INTO gap (gap_id, instrument_id, channel, session_id, cause, state, reason, last_id, first_id,
                 started_at, ended_at, last_ts_event, first_ts_event, revision)
SELECT %(gap_id)s, %(instrument)s, %(channel)s, %(session)s, 'row_refused', %(state)s, %(reason)s,
       %(number)s::bigint - 1, %(number)s::bigint + 1, at.recv, at.recv, at.event, at.event, 1
  FROM (SELECT to_timestamp(%(recv_us)s::numeric / 1000000) AS recv,
               to_timestamp(%(event_us)s::numeric / 1000000) AS event) AS at
ON CONFLICT (gap_id) DO NOTHING"""


def declare(cursor: Cursor, batch: Batch, group: Group, row: Row | Broken, reason: str, others: Iterable[Row]) -> None:
    """Declare the gap of a row that is not stored.

    Args:
        cursor: In the transaction that writes the quarantine row.
        batch: That holds the row.
        group: Of the row.
        row: The row; or the rest of a section that cannot be split into rows, which may be of any stream beside it.
        reason: Why it is refused.
        others: The other rows of the group.
    """
    channel = _CHANNELS.get(group.table)
    if channel is None:
        return
    number = int8_field(row.data, group.columns, "trade_id" if channel == "trade" else "sequence")
    instruments = {int8_field(row.data, group.columns, "instrument_id")} - {None}
    if isinstance(row, Broken) or not instruments:
        number = None  # of one of its rows only
        instruments |= {int8_field(other.data, group.columns, "instrument_id") for other in others}
    recv_us = _instant(row, group, "ts_recv")
    position = row.place.position
    for instrument in instruments - {None}:
        place = f"refused:{batch.journal_id}:{position.segment}:{position.offset}:{row.place.item}:{instrument}"
        values = {
            "gap_id": stable_hash64(place) & (2**63 - 1),
            "instrument": instrument,
            "channel": channel,
            "session": int8_field(row.data, group.columns, "session_id"),
            "reason": f"Postgres refused the row: {reason}".replace("\0", ""),
            "state": "open" if channel == "trade" else "unhealable",  # a corrected adapter may make the trade right
            "number": number if number is not None and abs(number) < 2**63 - 1 else None,
            "recv_us": time.time_ns() // 1000 if recv_us is None else recv_us,
            "event_us": _instant(row, group, "ts_event"),
        }
        cursor.execute(_INSERT, values)


def _instant(row: Row | Broken, group: Group, column: str) -> int | None:
    """Return an instant in microseconds since 1970; None where the row has none that can be believed."""
    field = int8_field(row.data, group.columns, column)
    if field is None:
        return None
    at_us = field + _POSTGRES_EPOCH_US
    return at_us if _EARLIEST_US <= at_us <= time.time_ns() // 1000 + _DAY_US else None
