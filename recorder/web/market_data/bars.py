"""A window of bars with its indicators and the time in which trades may be missing, as columns of numbers."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from psycopg2 import sql

from recorder.store.database import Cursor
from recorder.web.answers.prices import shortest

INTERVALS: dict[str, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}
"""Length of a bar by its name, seconds."""

MAX_SLOTS = 5_000
DEFAULT_SLOTS = 250
OVERLAP_S = 10.0
"""What changed up to so long before the last answer is given again: a transaction that began earlier may end later."""

INDICATORS: tuple[str, ...] = (
    "rsi_14", "macd", "macd_signal", "macd_hist", "bb_upper", "bb_middle", "bb_lower", "sma_20", "sma_50", "sma_100",
    "sma_200", "ema_12", "ema_26", "ema_50", "stoch_k", "stoch_d", "atr_14", "adx_14", "plus_di_14", "minus_di_14",
    "volume_sma_20", "mfi_14", "obv", "vwap",
)  # fmt: skip
"""Columns of the table `indicator`."""

_BAR_COLUMNS = ("time", "open", "high", "low", "close", "volume", "vwap", "trades", "coverage", "complete", "revision")
_BARS = """
SELECT extract(epoch FROM start)::bigint, open, high, low, close, volume, vwap, trade_count, coverage, complete,
       revision
  FROM bar
 WHERE instrument_id = %(id)s AND interval_s = %(interval)s
   AND start >= to_timestamp(%(low)s) AND start < to_timestamp(%(high)s)
   AND (%(since)s::float8 IS NULL OR updated_at >= to_timestamp(%(since)s))
 ORDER BY start"""
_EXTENT = """
SELECT extract(epoch FROM now())::float8,
       (SELECT extract(epoch FROM start)::bigint FROM bar WHERE instrument_id = %(id)s AND interval_s = %(interval)s
         ORDER BY start LIMIT 1),
       (SELECT extract(epoch FROM start)::bigint FROM bar WHERE instrument_id = %(id)s AND interval_s = %(interval)s
         ORDER BY start DESC LIMIT 1)"""
_GAPS = """
SELECT extract(epoch FROM greatest(lower(span), to_timestamp(%(low)s)))::float8,
       extract(epoch FROM least(upper(span), to_timestamp(%(high)s)))::float8
  FROM trade_gap
 WHERE instrument_id = %(id)s AND span && tstzrange(to_timestamp(%(low)s), to_timestamp(%(high)s))
 ORDER BY 1"""
_INDICATORS = sql.SQL("""
SELECT extract(epoch FROM start)::bigint, {columns}
  FROM indicator
 WHERE instrument_id = %(id)s AND interval_s = %(interval)s
   AND start >= to_timestamp(%(low)s) AND start < to_timestamp(%(high)s)
   AND (%(since)s::float8 IS NULL OR updated_at >= to_timestamp(%(since)s))
 ORDER BY start""")


class Window(NamedTuple):
    """Slots of one length: [low, high), both multiples of the length, seconds since 1970."""

    interval_s: int
    low: int
    high: int


class Extent(NamedTuple):
    """The stored bars of one length: the clock of the database, and the starts of the first and the last bar."""

    now: float
    oldest: int | None
    newest: int | None


def extent(cursor: Cursor, instrument_id: int, interval_s: int) -> Extent:
    """Return the clock of the database, and between which starts there are bars."""
    cursor.execute(_EXTENT, {"id": instrument_id, "interval": interval_s})
    return Extent(*(cursor.fetchone() or (0.0, None, None)))


def window(has: Extent, interval_s: int, slots: int, end: float | None = None, start: float | None = None) -> Window:
    """Return which slots to show.

    Without an end it is the slot of now; where the last bar is so old that few would be seen, the slot of that bar.
    Without a start nothing before the first bar is shown.

    Args:
        has: What is stored.
        interval_s: Length of a bar.
        slots: How many, where no start is given; 1 to MAX_SLOTS.
        end: First instant that is not shown, seconds since 1970.
        start: First instant that is shown.

    Raises:
        ValueError: The window has no slot, or more than MAX_SLOTS.
    """
    if end is None:
        end = has.now
        if has.newest is not None and has.newest < end - DEFAULT_SLOTS * interval_s:
            end = has.newest + interval_s
        elif has.newest is not None and has.newest < end + interval_s:  # the clock of a venue may be ahead of ours
            end = max(end, has.newest + interval_s)
    high = math.ceil(end / interval_s) * interval_s
    low = high - slots * interval_s if start is None else math.floor(start / interval_s) * interval_s
    if start is None and has.oldest is not None and has.oldest < high:
        low = max(low, has.oldest)
    if not 0 < (high - low) // interval_s <= MAX_SLOTS:
        raise ValueError(f"the window has {(high - low) // interval_s} bars; ask for 1 to {MAX_SLOTS}")
    return Window(interval_s, low, high)


def bars(cursor: Cursor, instrument_id: int, shown: Window, since: float | None = None) -> dict[str, list[Any]]:
    """Return bars as columns, oldest first.

    Args:
        cursor: In a transaction.
        instrument_id: Whose bars.
        shown: Which slots.
        since: Only bars changed since then, less OVERLAP_S.

    Returns:
        Columns of equal length: time (start, seconds since 1970), open, high, low, close, volume, vwap, trades,
        coverage (0 to 1, None where it is not known), complete (False while the bar forms), revision.
    """
    cursor.execute(_BARS, _values(instrument_id, shown, since))
    return _columns(_BAR_COLUMNS, cursor.fetchall())


def indicators(
    cursor: Cursor, instrument_id: int, shown: Window, names: Sequence[str], since: float | None = None
) -> dict[str, list[Any]] | None:
    """Return columns of the table `indicator`, beside their `time`.

    Args:
        cursor: In a transaction.
        instrument_id: Whose bars.
        shown: Which slots.
        names: Columns, of INDICATORS.
        since: As for `bars`.

    Returns:
        None where the database has no such table yet.

    Raises:
        ValueError: A name is not one of INDICATORS.
    """
    wrong = [name for name in names if name not in INDICATORS]
    if wrong:
        raise ValueError(f"there is no indicator {wrong[0][:40]!r}; there are {', '.join(INDICATORS)}")
    cursor.execute("SELECT to_regclass('indicator') IS NOT NULL")
    if cursor.fetchone() != (True,):
        return None
    if not names:
        return {"time": []}
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    cursor.execute(_INDICATORS.format(columns=columns), _values(instrument_id, shown, since))
    return _columns(("time", *names), cursor.fetchall())


def gaps(cursor: Cursor, instrument_id: int, shown: Window, now: float) -> list[tuple[float, float]]:
    """Return when trades may be missing in a window, up to now: merged, ascending, seconds since 1970."""
    high = min(shown.high, now)
    if high <= shown.low:
        return []
    cursor.execute(_GAPS, {"id": instrument_id, "low": shown.low, "high": high})
    return list(_merged(cursor.fetchall()))


def csv(cursor: Cursor, instrument_id: int, shown: Window) -> str:
    """Return bars as CSV with a header; times are RFC 3339 in UTC, an unknown value is empty."""
    cursor.execute(
        """SELECT to_char(start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), open, high, low, close, volume, vwap,
                  trade_count, buy_volume, sell_volume, coverage, complete, revision
             FROM bar
            WHERE instrument_id = %(id)s AND interval_s = %(interval)s
              AND start >= to_timestamp(%(low)s) AND start < to_timestamp(%(high)s) ORDER BY start""",
        _values(instrument_id, shown, None),
    )
    head = "start,open,high,low,close,volume,vwap,trade_count,buy_volume,sell_volume,coverage,complete,revision"
    lines = (",".join(map(_cell, row)) for row in cursor.fetchall())
    return "\n".join([head, *lines, ""])


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return shortest(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(instrument_id: int, shown: Window, since: float | None) -> dict[str, Any]:
    return {
        "id": instrument_id,
        "interval": shown.interval_s,
        "low": shown.low,
        "high": shown.high,
        "since": None if since is None else since - OVERLAP_S,
    }


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    if not rows:
        return {name: [] for name in names}
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def _merged(spans: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    reached: tuple[float, float] | None = None
    for low, high in spans:
        if reached is not None and low <= reached[1]:
            reached = (reached[0], max(reached[1], high))
            continue
        if reached is not None:
            yield reached
        reached = (low, high)
    if reached is not None:
        yield reached
