"""Which instrument is meant: by id, by venue:symbol, or by a symbol that several venues may have."""

import re
from typing import Any, NamedTuple

from recorder.identity import instrument_id
from recorder.store.database import Cursor
from recorder.web.answers.problems import Problem

_ID = re.compile(r"-?\d{1,19}")
_LONGEST = 300
_SELECT = "SELECT instrument_id, venue, symbol, canonical, first_seen, recorded FROM instrument"
_CANDIDATES = 20


class Instrument(NamedTuple):
    """An instrument."""

    instrument_id: int
    venue: str
    symbol: str
    canonical: str | None
    first_seen: Any
    recorded: bool

    @property
    def name(self) -> str:
        """As requests may write it."""
        return f"{self.venue}:{self.symbol}"


def find(cursor: Cursor, reference: str) -> Instrument:
    """Return an instrument.

    Args:
        cursor: Of a connection that reads.
        reference: Its id, or venue:symbol.

    Raises:
        Problem: 404, there is none.
    """
    venue, colon, symbol = reference.partition(":")
    number: int | None = None
    if _ID.fullmatch(reference):
        number = int(reference)
    elif colon and len(reference) <= _LONGEST and reference.isprintable():
        number = instrument_id(venue, symbol)
    if number is not None and -(2**63) <= number < 2**63:
        cursor.execute(f"{_SELECT} WHERE instrument_id = %s", (number,))
        row = cursor.fetchone()
        if row is not None:
            return Instrument(*row)
    raise Problem(404, "there is no such instrument; name it venue:symbol, as GET /api/v1/instruments lists it")


def by_symbol(cursor: Cursor, symbol: str, venue: str | None) -> Instrument:
    """Return the instrument of a symbol, in a venue's spelling or as BASE-QUOTE.

    Raises:
        Problem: 404 without one; 409 with the candidates where several venues have it.
    """
    if not symbol or len(symbol) > _LONGEST or "\0" in symbol + (venue or ""):
        raise Problem(404, "there is no such symbol; GET /api/v1/instruments lists them")
    cursor.execute(
        f"{_SELECT} WHERE (symbol = %s OR canonical = %s) AND (%s::text IS NULL OR venue = %s) "
        "ORDER BY recorded DESC, venue, symbol LIMIT %s",
        (symbol, symbol, venue, venue, _CANDIDATES + 1),
    )
    found = [Instrument(*row) for row in cursor.fetchall()]
    recorded = [one for one in found if one.recorded] or found
    if not recorded:
        raise Problem(404, "there is no such symbol; GET /api/v1/instruments lists them")
    if len(recorded) > 1:
        names = [one.name for one in recorded[:_CANDIDATES]]
        raise Problem(409, "several instruments have this symbol; add ?venue=", kind="ambiguous-symbol",
                      candidates=names)  # fmt: skip
    return recorded[0]
