"""What the writer does for the database besides loading: it looks whether the database is still what it was."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from recorder.identity import instrument_id
from recorder.process.log import get_logger
from recorder.store.database import Cursor

MAX_IDLE = "10 minutes"
MAX_TRANSACTION = "6 hours"  # tapedeck verify reads a whole database in one

MARKS_KEPT = "1 hour"
"""A deriver takes marks of bars at once; older ones have none, and would fill the disk."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = """
INSERT INTO instrument AS i (instrument_id, venue, symbol, first_seen)
SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[]) AS n(id, venue, symbol, first_seen)
 WHERE NOT EXISTS (SELECT FROM instrument o WHERE o.instrument_id = n.id AND o.recorded)
 ORDER BY id
    ON CONFLICT (instrument_id) DO UPDATE SET recorded = true, first_seen = EXCLUDED.first_seen
 WHERE NOT i.recorded AND (i.venue, i.symbol) = (EXCLUDED.venue, EXCLUDED.symbol)
RETURNING symbol"""

_log = get_logger(__name__)


def name_instruments(cursor: Cursor, venue: str, symbols: Iterable[tuple[str, int]]) -> None:
    """Insert the instruments of a journal that the database does not know: it may have been made again or emptied.

    A journal holds a name once, and then in the checkpoint of each segment.

    Args:
        cursor: Of the writer.
        venue: Venue of the journal.
        symbols: Symbols, and when each was first subscribed, in ns.
    """
    rows = {symbol: since_ns for symbol, since_ns in symbols if "\0" not in symbol}
    if not rows:
        return
    times = [_EPOCH + timedelta(microseconds=since_ns // 1000) for since_ns in rows.values()]
    cursor.execute(_NAME, ([instrument_id(venue, symbol) for symbol in rows], [venue] * len(rows), list(rows), times))
    added = [symbol for (symbol,) in cursor.fetchall()]
    if added:
        _log.warning("instruments.named", venue=venue, count=len(added), first=added[0])


def end_idle_readers(cursor: Cursor) -> None:
    """End the sessions of readers that keep a transaction open."""
    cursor.execute("SELECT pid, login, application, reason FROM end_idle_readers(%s, %s)", (MAX_IDLE, MAX_TRANSACTION))
    for pid, login, application, reason in cursor.fetchall():
        _log.warning("reader.ended", pid=pid, login=login, application=application or "", reason=reason)


def fold_bar_marks(cursor: Cursor) -> None:
    """Replace old marks of minutes, which no deriver takes, by few marks of days."""
    cursor.execute("SELECT fold_bar_marks(%s)", (MARKS_KEPT,))
    row = cursor.fetchone()
    if row is not None and row[0]:
        _log.warning("bar_marks.folded", days=row[0], action="no deriver has taken them; see tapedeck status")
