"""Five minutes of real Binance data, decoded and stored with trades, quotes and books.

Times, symbols and values are those of the capture. One gap and one instrument without trades are added.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from analysis.export import days_of, export
from analysis.load import PostgresSource
from recorder.cli.decode.frame_files import received
from recorder.errors import DecodeError
from recorder.events import Book, Levels, Output, Quote, Trade
from recorder.identity import instrument_id
from recorder.venues.binance.stream import Binance
from support.analysis.market_data import data_folder
from support.analysis.stored_tape import BOOK_COLUMNS, QUOTE_COLUMNS, Row, Stored, at

VENUE, SYMBOL, QUIET = "binance", "BTCUSDT", "ETHUSDT"
GAP = timedelta(minutes=2), timedelta(minutes=2, seconds=20)
TRADE_COLUMNS = "instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor"


def events() -> Iterator[Output]:
    """Yield the decoded events of the capture."""
    session = Binance().decoder()
    for frame in received(data_folder("captures") / "binance" / "spot_btcusdt_20240808.jsonl.gz"):
        try:
            yield from session.decode(frame.frame, frame.ts_ns or 0)
        except DecodeError:
            continue


def archive(database: str, root: Path) -> tuple[datetime, datetime]:
    """Store the capture in a migrated database and export it.

    Returns:
        Receipt of its first and of its last row.
    """
    stored, found = Stored(database), list(events())
    rows = [row for row in found if isinstance(row, Trade | Quote | Book)]
    begin, end = at(rows[0].ts_recv_ns), at(rows[-1].ts_recv_ns)
    stored.days(begin)
    stored.session(VENUE, 1, begin, end)
    for symbol in (SYMBOL, QUIET):
        stored.instrument(VENUE, symbol, begin)
    number = instrument_id(VENUE, SYMBOL)
    stored.put("trade", TRADE_COLUMNS, (_trade(number, row) for row in rows if isinstance(row, Trade)))
    stored.put("quote", QUOTE_COLUMNS, (_quote(number, i, row) for i, row in enumerate(rows) if isinstance(row, Quote)))
    stored.put("book", BOOK_COLUMNS, (_book(number, i, row) for i, row in enumerate(rows) if isinstance(row, Book)))
    lost, again = begin + GAP[0], begin + GAP[1]
    for place, channel in enumerate(("trade", "quote")):
        stored.gap(VENUE, SYMBOL, 1 + place, channel=channel, started_at=lost, ended_at=again)
    days = days_of(begin, end)
    export(PostgresSource(database), root, VENUE, days, now=end + timedelta(days=2))
    return begin, end


def _trade(number: int, row: Trade) -> Row:
    values = repr(row.price), repr(row.size), row.aggressor
    return number, row.trade_id, at(row.ts_event_ns), at(row.ts_recv_ns), *values


def _quote(number: int, frame: int, row: Quote) -> Row:
    event = None if row.ts_event_ns is None else at(row.ts_event_ns)
    values = row.bid, row.bid_size, row.ask, row.ask_size
    return number, at(row.ts_recv_ns), event, 1, frame, row.sequence, *values


def _book(number: int, frame: int, row: Book) -> Row:
    event = None if row.ts_event_ns is None else at(row.ts_event_ns)
    kind = "s" if row.snapshot else "d"
    return number, at(row.ts_recv_ns), event, 1, frame, kind, row.sequence, _side(row.bids), _side(row.asks)


def _side(levels: Levels) -> str:
    return "{" + ",".join(f"{{{price!r},{size!r}}}" for price, size in levels) + "}"
