"""Stores the listings of venues in the table `instrument`; a trigger keeps the history of changes."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import NamedTuple

import psycopg2

from recorder.identity import instrument_id
from recorder.process.log import get_logger
from recorder.store.database import WRITER, Connection, classify, connect
from recorder.venues.base import Listing

DELISTED = "delisted"
_LONGEST = 500  # characters of a text; a token of Polymarket has 77
_LONGEST_NUMBER = 80  # characters of a size
_LEAST, _MOST = Decimal("1e-40"), Decimal("1e100")  # of a size; numeric ends at 16,383 decimals
_REFUSES_A_ROW = ("22", "23", "54")  # SQLSTATE: data, integrity, program limit such as the largest index entry
_STATEMENT_S = 60.0
_ROWS = 2000  # of one transaction, kept short because the writer inserts into the same table

_log = get_logger(__name__)

# A symbol whose id belongs to another symbol is left alone. The writer quarantines it when it is recorded.
_UPSERT = """
INSERT INTO instrument AS i (instrument_id, venue, symbol, base, quote, kind, tick_size, min_size, status,
                             base_unit, quote_unit, canonical, first_seen, recorded)
SELECT l.*, now(), false
  FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::numeric[],
              %s::text[], %s::text[], %s::text[], %s::text[]) l
    ON CONFLICT (instrument_id) DO UPDATE
   SET base = EXCLUDED.base, quote = EXCLUDED.quote, kind = EXCLUDED.kind, tick_size = EXCLUDED.tick_size,
       min_size = EXCLUDED.min_size, status = EXCLUDED.status, base_unit = EXCLUDED.base_unit,
       quote_unit = EXCLUDED.quote_unit, canonical = EXCLUDED.canonical
 WHERE (i.venue, i.symbol) = (EXCLUDED.venue, EXCLUDED.symbol)
   AND (i.base, i.quote, i.kind, i.tick_size, i.min_size, i.status, i.base_unit, i.quote_unit, i.canonical)
       IS DISTINCT FROM
       (EXCLUDED.base, EXCLUDED.quote, EXCLUDED.kind, EXCLUDED.tick_size, EXCLUDED.min_size, EXCLUDED.status,
        EXCLUDED.base_unit, EXCLUDED.quote_unit, EXCLUDED.canonical)
RETURNING xmax = 0"""

_DELIST = """
UPDATE instrument SET status = %s
 WHERE venue = %s AND status <> %s AND NOT instrument_id = ANY (%s::bigint[])"""


class Changes(NamedTuple):
    """Number of rows that a list changed in the table."""

    new: int
    changed: int
    delisted: int


def store_listings(url: str, venue: str, listings: Sequence[Listing]) -> Changes:
    """Store the complete list of a venue. An instrument that is no longer listed becomes delisted.

    Args:
        url: The recording database.
        venue: Name of the venue.
        listings: All instruments that it lists, each symbol once.

    Raises:
        StoreError, ConfigError: The database failed (see `classify`). Then nothing is delisted. A part of the list may
            be stored, and the same list can be stored again.

    An instrument that Postgres refuses, or that no table can hold, is logged and left out; it is not delisted either.
    """
    rows = sorted((_row(venue, listing) for listing in listings if _storable(listing)), key=itemgetter(0))
    connection = connect(
        url, application_name="poller", role=WRITER, statement_timeout_s=_STATEMENT_S, autocommit=False
    )
    new = changed = 0
    try:
        for first in range(0, len(rows), _ROWS):
            inserted = _upsert(connection, rows[first : first + _ROWS])
            new += sum(inserted)
            changed += len(inserted) - sum(inserted)
        with connection, connection.cursor() as cursor:
            cursor.execute(_DELIST, (DELISTED, venue, DELISTED, [row[0] for row in rows]))
            return Changes(new, changed, cursor.rowcount)
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


_Row = tuple[int, str, str, str, str, str, Decimal | None, Decimal | None, str, str | None, str | None, str | None]


def _upsert(connection: Connection, rows: Sequence[_Row]) -> list[bool]:
    """Write the rows that are new or changed, and return for each of these whether it is new.

    Rows of which Postgres refuses one are written in halves, so that only the refused one is left out.
    """
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_UPSERT, [list(column) for column in zip(*rows, strict=True)])
            return [is_new for (is_new,) in cursor]
    except psycopg2.Error as error:
        if not (error.pgcode or "").startswith(_REFUSES_A_ROW):
            raise
        if len(rows) == 1:
            _log.warning("instrument.refused", symbol=repr(rows[0][2][:_LONGEST]), reason=str(classify(error)))
            return []
    half = len(rows) // 2
    return _upsert(connection, rows[:half]) + _upsert(connection, rows[half:])


def _row(venue: str, listing: Listing) -> _Row:
    return (
        instrument_id(venue, listing.symbol), venue, listing.symbol, _text(listing.base), _text(listing.quote),
        _text(listing.kind), number(listing.tick_size), number(listing.min_size), _text(listing.status),
        listing.base_unit and _text(listing.base_unit), listing.quote_unit and _text(listing.quote_unit),
        listing.canonical and _text(listing.canonical),
    )  # fmt: skip


def _storable(listing: Listing) -> bool:
    """Return whether an instrument has a name that Postgres can keep in an index."""
    name = listing.symbol
    if name and len(name) <= _LONGEST and name == _text(name):
        return True
    _log.warning("instrument.unnameable", symbol=repr(name[:_LONGEST]), base=repr(listing.base[:_LONGEST]))
    return False


def _text(text: str) -> str:
    """Return a text as Postgres can store it, without NUL and lone surrogates, and cut where it is endless."""
    return text[:_LONGEST].replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def number(text: str | None) -> Decimal | None:
    """Return a tick or minimum size; None where the venue gives none (some write zero) or no number."""
    if text is None or len(text) > _LONGEST_NUMBER:
        return None
    try:
        value = Decimal(text or "0")
    except InvalidOperation:
        return None
    return value if value.is_finite() and _LEAST <= value < _MOST else None
