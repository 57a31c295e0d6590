"""The messages of a book and the gaps between them: read here for the API, for the pages and for the stream."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from recorder.store.database import Cursor
from recorder.web.market_data.rebuild import Message, Rebuilt

LOOK_BACK = (timedelta(minutes=1), timedelta(minutes=15), timedelta(hours=4), timedelta(hours=48))
"""How far back a snapshot is looked for; a short look is tried first, because books of today are asked for most."""

OVERLAP = timedelta(seconds=5)
"""Journals are loaded side by side, so that messages of two sessions do not come in the order of their receipt."""

_BATCH = 5_000
_MOST_GAPS = 10_000

_SNAPSHOT = """
SELECT ts_recv FROM book
 WHERE instrument_id = %(id)s AND kind = 's' AND ts_recv > %(low)s AND ts_recv <= %(high)s
 ORDER BY ts_recv DESC LIMIT 1"""
_MESSAGES = """
SELECT ts_recv, ts_event, session_id, frame_seq, kind = 's', bids, asks
  FROM book
 WHERE instrument_id = %(id)s AND ts_recv >= %(low)s AND ts_recv <= %(high)s
   AND (ts_recv, session_id, frame_seq) > (%(low)s, %(session)s, %(frame)s)
 ORDER BY ts_recv, session_id, frame_seq LIMIT %(limit)s"""
_COUNT = """
SELECT count(*) FROM (SELECT FROM book WHERE instrument_id = %(id)s AND ts_recv >= %(low)s AND ts_recv <= %(high)s
                       LIMIT %(limit)s) AS messages"""
# Also gaps that ended unsubscribed: nothing was received then, either.
_GAPS = """
SELECT started_at FROM gap
 WHERE instrument_id = %(id)s AND channel = 'book' AND started_at >= %(low)s AND started_at <= %(high)s
 ORDER BY started_at LIMIT %(limit)s"""
_LOADED = """
SELECT max(written_at) FROM journal
 WHERE recorder IN (SELECT recorder FROM session WHERE session_id = %(session)s)"""

_FIRST = -(2**63)


class Place(NamedTuple):
    """Where reading goes on: after this message."""

    ts_recv: datetime
    session_id: int = _FIRST
    frame_seq: int = 0


def begin(cursor: Cursor, instrument_id: int, at: datetime) -> Place | None:
    """Return the place before the last snapshot before a time; None where there is none in two days."""
    high = at
    for back in LOOK_BACK:
        cursor.execute(_SNAPSHOT, {"id": instrument_id, "low": at - back, "high": high})
        found = cursor.fetchone()
        if found is not None:
            assert isinstance(found[0], datetime)
            return Place(found[0])
        high = at - back
    return None


def more_than(cursor: Cursor, instrument_id: int, after: Place, until: datetime, most: int) -> bool:
    """Return whether more messages than this follow a place."""
    cursor.execute(_COUNT, {"id": instrument_id, "low": after.ts_recv, "high": until, "limit": most + 1})
    (found,) = cursor.fetchone() or (0,)
    return int(found) > most


def read(
    cursor: Cursor, instrument_id: int, into: Rebuilt, after: Place, until: datetime, most: int
) -> tuple[Place, bool]:
    """Apply the messages and the gaps after a place to a book.

    Args:
        cursor: In a transaction, or of a connection whose statements commit themselves.
        instrument_id: Whose messages.
        into: Takes them.
        after: Where to begin.
        until: Receipt of the last message.
        most: Messages; at most so many and one batch of 5,000 are in memory.

    Returns:
        Where to go on, and whether the end was reached. After the end the last seconds before the newest message are
        read once more, and not those before now: Postgres may be behind by more.
    """
    low = after.ts_recv if into.began is None else min(into.began, after.ts_recv)
    cursor.execute(_GAPS, {"id": instrument_id, "low": low, "high": until, "limit": _MOST_GAPS})
    into.gaps([start for (start,) in cursor.fetchall()])
    place = after
    for message in _messages(cursor, instrument_id, after, until, most + 1):
        if most == 0:
            return place, False
        into.apply(message)
        place = Place(message.ts_recv, message.session_id, message.frame_seq)
        most -= 1
    return Place(max(place.ts_recv - OVERLAP, after.ts_recv)), True


def loaded_until(cursor: Cursor, session_id: int) -> datetime | None:
    """Return until when the journal of a session's recorder is loaded; None where that is not known."""
    cursor.execute(_LOADED, {"session": session_id})
    (found,) = cursor.fetchone() or (None,)
    return found if isinstance(found, datetime) else None


def _messages(cursor: Cursor, instrument_id: int, after: Place, until: datetime, most: int) -> Iterator[Message]:
    while most > 0:
        limit = min(_BATCH, most)
        values = {"id": instrument_id, "low": after.ts_recv, "session": after.session_id, "frame": after.frame_seq}
        cursor.execute(_MESSAGES, values | {"high": until, "limit": limit})
        rows = cursor.fetchall()
        for row in rows:
            yield Message(*row)
        if len(rows) < limit:
            return
        after = Place(rows[-1][0], rows[-1][2], rows[-1][3])
        most -= len(rows)
