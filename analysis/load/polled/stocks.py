"""Bars, splits and dividends of stocks that the poller stored."""

from collections.abc import Sequence
from typing import Literal

from analysis.load.frames import Frame, To, framed
from analysis.load.polled.rows import database
from analysis.load.postgres import literal
from analysis.load.rows import SourceLike, open_source
from analysis.load.source import Instant, to_instant
from recorder.identity import instrument_id

_VENUE = "yahoo"
_MINUTES = """
SELECT i.symbol, b.start, b.day, b.open, b.high, b.low, b.close, b.volume, b.currency, b.partial, b.flags, b.ts_recv
  FROM equity_bar b JOIN instrument i USING (instrument_id)
 WHERE b.interval_s = 60 AND NOT b.live"""
_DAYS = """
SELECT b.symbol, b.start, b.day, b.open, b.high, b.low, b.close, b.adjclose, b.dividend_factor, b.volume, b.currency,
       b.partial, b.flags, b.ts_recv
  FROM equity_day b
 WHERE true"""
_ACTIONS = """
SELECT i.symbol, a.kind, a.ex_day, a.amount, a.numerator, a.denominator, a.currency, a.flags, a.ts_recv
  FROM corporate_action a JOIN instrument i USING (instrument_id)"""


def stocks(
    symbols: str | Sequence[str],
    start: Instant,
    end: Instant,
    *,
    every: Literal["1m", "1d"] = "1d",
    source: SourceLike = None,
    to: To = "arrow",
) -> Frame:
    """Return bars of stocks that begin in a range, by (symbol, start). The live quote is left out.

    Args:
        symbols: One symbol or several, in Yahoo's spelling.
        start: First instant.
        end: First instant after the range.
        every: Length of a bar. Days are in the shares of today; minutes are as they were received.
        source: A database, as for `trades`.
        to: Form of the frame.

    Returns:
        Prices in `currency` units per share. `partial` bars were unfinished; `flags` names known defects, which are not
        repaired. Days have `adjclose`, the close adjusted for dividends, and its factor.

    Raises:
        ConfigError: The source is an archive.
    """
    within = f"b.start >= {literal(to_instant(start))} AND b.start < {literal(to_instant(end))}"
    query = f"{_MINUTES if every == '1m' else _DAYS} AND {_among('b', symbols)} AND {within} ORDER BY symbol, b.start"
    with open_source(source).reading() as reader:
        return framed(database(reader).polled(query), to)


def corporate_actions(symbols: str | Sequence[str], *, source: SourceLike = None, to: To = "arrow") -> Frame:
    """Return the splits, dividends and capital gains of stocks, by (symbol, ex_day, kind).

    Args:
        symbols: One symbol or several, in Yahoo's spelling.
        source: A database, as for `trades`.
        to: Form of the frame.

    Returns:
        `amount` in `currency` units per share as of `ts_recv`; a split has `numerator` new shares for `denominator`.

    Raises:
        ConfigError: The source is an archive.
    """
    query = f"{_ACTIONS} WHERE {_among('a', symbols)} ORDER BY symbol, a.ex_day, a.kind"
    with open_source(source).reading() as reader:
        return framed(database(reader).polled(query), to)


def _among(table: str, symbols: str | Sequence[str]) -> str:
    """Return the condition that a row is of one of these symbols. Ids are numbers, so no text enters the query."""
    names = [symbols] if isinstance(symbols, str) else symbols
    ids = ", ".join(str(instrument_id(_VENUE, name)) for name in names)
    return f"{table}.instrument_id IN ({ids})" if ids else "false"
