"""Instruments by name or number, the search over them, and what each last traded at."""

import re
from datetime import datetime
from typing import Any, NamedTuple

from recorder.store.database import Cursor

PAGE = 50
MAX_SEARCH = 200  # characters
_NUMBER = re.compile(r"-?[0-9]{1,19}")
_INT64 = 2**63

_COLUMNS = """
SELECT i.instrument_id, i.venue, i.symbol, i.base, i.quote, i.kind, i.tick_size::float8, i.status, i.canonical,
       i.recorded, i.first_seen, m.question, m.outcomes[array_position(m.tokens, i.symbol)], m.slug
  FROM instrument i
  LEFT JOIN LATERAL (SELECT question, outcomes, tokens, slug FROM market
                      WHERE market.tokens @> ARRAY[i.symbol] ORDER BY market_id LIMIT 1) m
         ON i.kind = 'outcome' OR i.base IS NULL"""


class Instrument(NamedTuple):
    """One instrument, with its market where it is an outcome of one."""

    instrument_id: int
    venue: str
    symbol: str
    base: str | None
    quote: str | None
    kind: str | None
    tick_size: float | None
    status: str | None
    canonical: str | None
    recorded: bool
    first_seen: datetime
    question: str | None
    outcome: str | None
    slug: str | None

    @property
    def name(self) -> str:
        """Return the address of the instrument, venue:symbol."""
        return f"{self.venue}:{self.symbol}"

    @property
    def title(self) -> str:
        """Return a name for a person: of an outcome its question, for its symbol has 77 digits."""
        if self.question is not None:
            return f"{self.question} {self.outcome or ''}".strip()
        return self.symbol


def find(cursor: Cursor, name: str) -> Instrument | None:
    """Return the instrument of `venue:symbol` or of an instrument_id; None where there is none."""
    venue, colon, symbol = name.partition(":")
    if colon:
        cursor.execute(_COLUMNS + " WHERE i.venue = %s AND i.symbol = %s", (venue, symbol))
    elif _NUMBER.fullmatch(name) and -_INT64 <= int(name) < _INT64:
        cursor.execute(_COLUMNS + " WHERE i.instrument_id = %s", (int(name),))
    else:
        return None
    row = cursor.fetchone()
    return None if row is None else Instrument(*row)


# A page of names first: the last trade and quote are looked up for the rows of the page only.
_SEARCH = """
WITH page AS (
    SELECT i.instrument_id, i.venue, i.symbol, i.kind, i.status, i.recorded, i.tick_size::float8, m.question,
           m.outcomes[array_position(m.tokens, i.symbol)] AS outcome, m.slug
      FROM instrument i
      LEFT JOIN LATERAL (SELECT question, outcomes, tokens, slug FROM market
                          WHERE market.tokens @> ARRAY[i.symbol] ORDER BY market_id LIMIT 1) m
             ON i.kind = 'outcome' OR i.base IS NULL
     WHERE (%(venue)s = '' OR i.venue = %(venue)s)
       AND (%(every)s OR i.recorded)
       AND (%(like)s = '' OR i.symbol ILIKE %(like)s OR i.canonical ILIKE %(like)s OR i.base ILIKE %(like)s
            OR m.question ILIKE %(like)s)
       AND (i.venue, i.symbol) > (%(after_venue)s, %(after_symbol)s)
     ORDER BY i.venue, i.symbol
     LIMIT %(limit)s
)
SELECT p.venue, p.symbol, p.kind, p.status, p.recorded, p.question, p.outcome, p.slug,
       t.price, t.ts_event, q.bid, q.ask, q.ts_recv, p.tick_size
  FROM page p
  LEFT JOIN LATERAL (SELECT price, ts_event FROM trade
                      WHERE trade.instrument_id = p.instrument_id AND ts_event > now() - interval '1 day'
                        AND ts_event < now() + interval '1 hour'
                      ORDER BY ts_event DESC, trade_id DESC LIMIT 1) t ON p.recorded
  LEFT JOIN LATERAL (SELECT bid, ask, ts_recv FROM quote
                      WHERE quote.instrument_id = p.instrument_id AND ts_recv > now() - interval '1 day'
                        AND ts_recv < now() + interval '1 hour'
                      ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1) q ON p.recorded
 ORDER BY p.venue, p.symbol"""


class Listed(NamedTuple):
    """One row of the search."""

    venue: str
    symbol: str
    kind: str | None
    status: str | None
    recorded: bool
    question: str | None
    outcome: str | None
    slug: str | None
    price: float | None
    traded_at: datetime | None
    bid: float | None
    ask: float | None
    quoted_at: datetime | None
    tick_size: float | None

    @property
    def name(self) -> str:
        """Return the address of the instrument, venue:symbol."""
        return f"{self.venue}:{self.symbol}"

    @property
    def title(self) -> str:
        """Return a name for a person."""
        return self.symbol if self.question is None else f"{self.question} {self.outcome or ''}".strip()


def contains(text: str) -> str:
    """Return the pattern of LIKE that finds a text anywhere; "" finds everything."""
    escaped = re.sub(r"([\\%_])", r"\\\1", text[:MAX_SEARCH].strip())
    return f"%{escaped}%" if escaped else ""


def search(
    cursor: Cursor, text: str = "", venue: str = "", *, every: bool = False, after: str = "", limit: int = PAGE
) -> list[Listed]:
    """Return the instruments whose symbol, canonical name or question contains a text, by venue and symbol.

    Args:
        cursor: In a transaction.
        text: Text to find; "" finds all.
        venue: Only this venue; "" is every venue.
        every: Also those that are only listed, not recorded.
        after: Name (venue:symbol) of the last row of the page before.
        limit: Most rows.
    """
    after_venue, _, after_symbol = after.partition(":")
    values: dict[str, Any] = {
        "like": contains(text),
        "venue": venue,
        "every": every,
        "after_venue": after_venue,
        "after_symbol": after_symbol,
        "limit": limit,
    }
    cursor.execute(_SEARCH, values)
    return [Listed(*row) for row in cursor.fetchall()]


def venues(cursor: Cursor) -> list[str]:
    """Return the names of all venues."""
    cursor.execute("SELECT name FROM venue ORDER BY name")
    return [name for (name,) in cursor.fetchall()]
