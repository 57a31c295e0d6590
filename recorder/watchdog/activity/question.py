"""Asks Postgres what traded in the last interval: one aggregate for each interval, after all of it was stored.

Nothing is computed for each trade while it is received, so that recording pays nothing for these figures.
"""

import json
import time
from collections.abc import Callable, Mapping

import psycopg2

from recorder.errors import NoAnswer
from recorder.printable import one_line
from recorder.store.database import Cursor, classify
from recorder.watchdog.activity.figures import InstrumentTrades, TradeFigures, VenueTrades, interval

MOST_INSTRUMENTS = 500
_MOST_VENUES = 100
SETTLE_S = 3.0
"""Trades reach us later than they were executed: an interval is asked for after this much of the next one is stored."""

# A product or a sum that leaves the range of float8 is an error in Postgres, and one odd trade must not cost all others
# their figures. So a trade of an absurd size or price is counted, and is left out of sums.
_QUESTION = """
WITH traded AS (
    SELECT t.instrument_id, count(*) AS trades, sum(f.value) AS value, sum(f.size) AS size,
           max(t.price) AS high, min(t.price) AS low,
           coalesce(sum(f.size) FILTER (WHERE t.aggressor = 'b'), 0) AS bought,
           coalesce(sum(f.size) FILTER (WHERE t.aggressor = 's'), 0) AS sold,
           count(*) FILTER (WHERE abs(f.value) >=
                              coalesce((%(large_in)s::jsonb ->> i.quote)::float8, %(large)s)) AS large,
           max(t.ts_event) AS last
      FROM trade t
      JOIN instrument i USING (instrument_id)
     CROSS JOIN LATERAL (SELECT (t.price = 0 OR abs(t.price) BETWEEN 1e-120 AND 1e120)
                                AND t.size BETWEEN 1e-120 AND 1e120 AS sane) s
     CROSS JOIN LATERAL (SELECT CASE WHEN s.sane THEN t.size END AS size,
                                CASE WHEN s.sane THEN t.price * t.size END AS value) f
     WHERE t.ts_event >= to_timestamp(%(since)s) AND t.ts_event < to_timestamp(%(until)s)
     GROUP BY t.instrument_id)
SELECT i.venue, i.symbol, sum(trades)::bigint, sum(value) / nullif(sum(size), 0), max(high), min(low), sum(size),
       sum(bought), sum(sold), sum(large)::bigint, extract(epoch FROM max(last))::float8, count(*)
  FROM traded
  JOIN instrument i USING (instrument_id)
 GROUP BY GROUPING SETS ((i.venue), (i.venue, i.symbol))
 ORDER BY grouping(i.symbol) DESC, sum(trades) DESC, i.venue, i.symbol LIMIT %(most)s"""


class TradeQuestion:
    """The trades of the last interval.

    Attributes:
        figures: The last answer; None before the first.
        problem: Why there is none of the last interval; empty where there is.
    """

    def __init__(
        self, interval_s: float, large: float, large_in: Mapping[str, float], stored: Callable[[float], bool]
    ) -> None:
        """
        Args:
            interval_s: Length of the intervals.
            large: Value from which on a trade is large, in its quote currency.
            large_in: The same for single quote currencies.
            stored: Returns whether Postgres has all that was received before a time, unix seconds.
        """
        self.figures: TradeFigures | None = None
        self.problem = "Postgres has not been asked yet"
        self._interval_s = interval_s
        self._large = large
        self._large_in = json.dumps(dict(large_in))
        self._stored = stored
        self._failed_until = 0.0

    def run(self, cursor: Cursor) -> None:
        """Ask once in each interval."""
        since, until = interval(time.time(), self._interval_s)
        if until == self._failed_until or (self.figures is not None and self.figures.until == until):
            return
        if not self._stored(until + SETTLE_S):
            self.problem = "the writer has not stored all of the last interval yet"
            return
        values = {
            "large": self._large,
            "large_in": self._large_in,
            "since": since,
            "until": until,
            "most": _MOST_VENUES + MOST_INSTRUMENTS,
        }
        try:
            cursor.execute(_QUESTION, values)
            rows = cursor.fetchall()
        except psycopg2.Error as error:
            reason = classify(error)
            if not isinstance(reason, NoAnswer) or cursor.connection.closed:
                raise
            self._failed_until = until
            self.problem = f"the question about the trades of {self._interval_s:g} s took too long: " + one_line(
                str(reason)
            )
            return
        venues = [VenueTrades(row[0], row[2], row[9], row[11]) for row in rows if row[1] is None]
        instruments = [InstrumentTrades(*row[:11]) for row in rows if row[1] is not None]
        self.figures = TradeFigures(since, until, venues, instruments[:MOST_INSTRUMENTS])
        self.problem = ""
