"""What venues list, brought into the table `instrument`; a trigger keeps the history of what changes."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import NamedTuple

import psycopg2

from recorder.database import WRITER, Cursor, classify, connect
from recorder.instruments import instrument_id
from recorder.log import get_logger
from recorder.venues.base import Listing

DELISTED = "delisted"
_ROWS = 2000  # a transaction: short, because the writer inserts into the same table

_log = get_logger(__name__)

# A name whose id another name has is left alone: the writer finds and quarantines it when it is recorded.
_UPSERT = """
INSERT INTO instrument AS i (instrument_id, venue, symbol, base, quote, kind, tick_size, min_size, status,
                             base_unit, quote_unit, first_seen)
SELECT l.*, now()
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::numeric[],
              %s::text[], %s::text[], %s::text[]) l
    ON CONFLICT (instrument_id) DO UPDATE
   SET base = EXCLUDED.base, quote = EXCLUDED.quote, kind = EXCLUDED.kind, tick_size = EXCLUDED.tick_size,
       min_size = EXCLUDED.min_size, status = EXCLUDED.status, base_unit = EXCLUDED.base_unit,
       quote_unit = EXCLUDED.quote_unit
 WHERE (i.venue, i.symbol) = (EXCLUDED.venue, EXCLUDED.symbol)
   AND (i.base, i.quote, i.kind, i.tick_size, i.min_size, i.status, i.base_unit, i.quote_unit) IS DISTINCT FROM
       (EXCLUDED.base, EXCLUDED.quote, EXCLUDED.kind, EXCLUDED.tick_size, EXCLUDED.min_size, EXCLUDED.status,
        EXCLUDED.base_unit, EXCLUDED.quote_unit)
RETURNING xmax = 0"""

_DELIST = """
UPDATE instrument SET status = %s
 WHERE venue = %s AND status <> %s AND NOT instrument_id = ANY (%s::bigint[])"""


class Changes(NamedTuple):
    """What a list changed in the table."""

    new: int
    changed: int
    delisted: int


def store_listings(url: str, venue: str, listings: Sequence[Listing]) -> Changes:
    """Bring a venue's whole list into the table; what was listed before and is not now becomes delisted.

    Args:
        url: The recording database.
        venue: Whose instruments they are.
        listings: All it lists, each symbol once.

    Raises:
        StoreError, ConfigError: what `classify` makes of the database's answer. Nothing is delisted then; a part of
            the list may be stored, and the same list can be stored again.
    """
    rows = sorted((_row(venue, listing) for listing in listings if _storable(listing)), key=itemgetter(0))
    connection = connect(url, application_name="discovery", role=WRITER, autocommit=False)
    new = changed = 0
    try:
        for first in range(0, len(rows), _ROWS):
            with connection, connection.cursor() as cursor:
                inserted = _upsert(cursor, rows[first : first + _ROWS])
                new += sum(inserted)
                changed += len(inserted) - sum(inserted)
        with connection, connection.cursor() as cursor:
            cursor.execute(_DELIST, (DELISTED, venue, DELISTED, [row[0] for row in rows]))
            return Changes(new, changed, cursor.rowcount)
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


_Row = tuple[int, str, str, str, str, str, Decimal | None, Decimal | None, str, str | None, str | None]


def _upsert(cursor: Cursor, rows: Sequence[_Row]) -> list[bool]:
    """Whether each row that was written is new; what stood there already, as it is, was not written."""
    cursor.execute(_UPSERT, [list(column) for column in zip(*rows, strict=True)])
    return [is_new for (is_new,) in cursor]


def _row(venue: str, listing: Listing) -> _Row:
    return (
        instrument_id(venue, listing.symbol), venue, listing.symbol, _text(listing.base), _text(listing.quote),
        _text(listing.kind), number(listing.tick_size), number(listing.min_size), _text(listing.status),
        listing.base_unit and _text(listing.base_unit), listing.quote_unit and _text(listing.quote_unit),
    )  # fmt: skip


def _storable(listing: Listing) -> bool:
    if listing.symbol and "\0" not in listing.symbol:
        return True
    _log.warning("instrument.unnameable", symbol=repr(listing.symbol), base=listing.base)
    return False


def _text(text: str) -> str:
    """Postgres stores no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def number(text: str | None) -> Decimal | None:
    """A tick or a least size; None where the venue has none, which some write as zero, and where it is no number."""
    try:
        value = Decimal(text or "0")
    except InvalidOperation:
        return None
    return value if value.is_finite() and 0 < value < Decimal("1e100") else None
