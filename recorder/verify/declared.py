"""Counts the gaps that are declared: what may be missing now, what never comes, and what was filled."""

import msgspec

from recorder.store.database import Cursor

WANTED = """
EXISTS (SELECT FROM subscription s
         WHERE s.venue = i.venue AND s.channel = g.channel AND s.active
           AND (s.symbol = i.symbol OR s.symbol LIKE 'top:%%' OR s.symbol ~ '[][*?]'))
AND NOT EXISTS (SELECT FROM subscription s
                 WHERE (s.venue, s.channel, s.symbol) = (i.venue, g.channel, i.symbol) AND NOT s.active)"""
"""SQL: whether an active subscription names the stream of gap `g` of instrument `i`. A pattern counts for all symbols
of its venue. Percent signs are doubled, so a query that has it must be given parameters."""
_COUNTS = f"""
SELECT count(*) FILTER (WHERE about AND state = 'open' AND ended_at IS NULL),
       count(*) FILTER (WHERE about AND state = 'open' AND ended_at IS NOT NULL),
       count(*) FILTER (WHERE about AND state = 'unhealable'),
       count(*) FILTER (WHERE about AND state = 'healed'),
       count(*) FILTER (WHERE NOT about)
  FROM (SELECT g.state, g.ended_at,
               g.cause <> 'unsubscribed' AND (g.ended_at IS NOT NULL OR g.state <> 'open' OR ({WANTED})) AS about
          FROM gap g JOIN instrument i USING (instrument_id)) AS declared"""


class GapCounts(msgspec.Struct):
    """The gaps of all channels, counted as `tapedeck gaps --all` lists them, however old they are."""

    lasting: int = 0  # open, and going on
    ended: int = 0  # open, ended, and not healed yet
    unhealable: int = 0
    healed: int = 0
    unsubscribed: int = 0  # of streams without a subscription; they are in no other count

    @property
    def open(self) -> int:
        """How many are going on, or may be healed yet."""
        return self.lasting + self.ended

    def sentence(self) -> str:
        """Return the counts that are not 0 as one sentence without a full stop; "" without a gap."""
        parts = []
        if self.open:
            noun = "1 gap is open" if self.open == 1 else f"{self.open:,} gaps are open"
            parts += [f"{noun}: {self.lasting:,} going on", f"{self.ended:,} ended and not healed yet"]
        if self.unhealable:
            parts.append(f"{self.unhealable:,} unhealable")
        if self.healed:
            parts.append(f"{self.healed:,} healed")
        if not parts:
            return ""
        text = "; ".join([", ".join(parts[:2]), *parts[2:]]) if self.open else f"gaps: {', '.join(parts)}"
        return f"{text} (see `tapedeck gaps --all`)"


def count_gaps(cursor: Cursor) -> GapCounts:
    """Return the numbers of declared gaps."""
    cursor.execute(_COUNTS, ())  # with parameters, because of the doubled percent signs
    row = cursor.fetchone()
    return GapCounts() if row is None else GapCounts(*map(int, row))
