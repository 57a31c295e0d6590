"""Trades of days that left table trade: what the archive has and what came later, each once, for bars of these days."""

import io
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from analysis.load.archive import read_files
from analysis.load.kept.ledger import KEYS, SAME, Archived, Ledger, is_known
from analysis.load.manifest import day_range
from analysis.load.source import Range
from analysis.load.tables import TRADE, coded
from analysis.workers.bar_sql import MINUTE_S
from recorder.store.database import Cursor

COLUMNS = ("instrument_id", "ts_event", "trade_id", "price", "size", "aggressor")
_NEEDED = tuple(dict.fromkeys([*COLUMNS, *KEYS]))
_MINUTE_US = MINUTE_S * 1_000_000
_NULL = "\\N"
_STORED = f"""
SELECT {", ".join(_NEEDED)} FROM trade
 WHERE instrument_id = ANY (%s) AND ts_event >= %s AND ts_event < %s"""


def copy_trades(cursor: Cursor, venue: str, day: date, file: Archived, minutes: Mapping[int, Collection[int]]) -> None:
    """Copy the trades of minutes of an archived day into the temporary table archived_trade.

    Args:
        cursor: In a transaction whose snapshot has the ledger that names the file.
        venue: Venue of the instruments.
        day: The day.
        file: What the ledger says of it.
        minutes: By instrument the starts of minutes of that day, seconds since 1970.

    Raises:
        ArchiveError: The file is missing, damaged, or elsewhere.
        psycopg2.Error: The transaction does not count.
    """
    whole = day_range(day)
    starts = [start for found in minutes.values() for start in found]
    span = Range(_instant(min(starts)), _instant(max(starts) + MINUTE_S))
    near = Range(max(span.start - SAME, whole.start), min(span.end + SAME, whole.end))
    paths = Ledger({("trade", venue, day): file}).files(TRADE, [venue], near)
    archived = read_files(paths, TRADE, _NEEDED, wanted=set(minutes), start=near.start, end=near.end)
    cursor.execute(_STORED, (sorted(minutes), near.start, near.end))
    late = _table(cursor.fetchall())
    if late.num_rows:
        late = late.filter(pa.array(~is_known(late, archived)))
    _copy(cursor, pa.concat_tables([archived, late]), minutes)


def _table(rows: Sequence[tuple[object, ...]]) -> pa.Table:
    schema = pa.schema([TRADE.schema.field(name) for name in _NEEDED])
    arrays = []
    for at, name in enumerate(_NEEDED):
        values = [row[at] for row in rows]
        kind = schema.field(name).type
        text = pa.chunked_array([pa.array(values, pa.string())]) if name == "aggressor" else None
        arrays.append(pa.array(values, kind) if text is None else coded(text, name))
    return pa.table(arrays, names=list(_NEEDED)).cast(schema)


def _copy(cursor: Cursor, trades: pa.Table, minutes: Mapping[int, Collection[int]]) -> None:
    wanted = pa.array(sorted({start // MINUTE_S for found in minutes.values() for start in found}), pa.int64())
    at_us = trades["ts_event"].cast(pa.int64())
    trades = trades.append_column("minute", pc.divide(at_us, _MINUTE_US))
    trades = trades.append_column("at_us", at_us)
    trades = trades.filter(pc.is_in(trades["minute"], value_set=wanted))
    names = ("instrument_id", "minute", "at_us", "trade_id", "price", "size", "aggressor")
    text = io.StringIO()
    for *values, side in zip(*(trades[name].to_pylist() for name in names), strict=True):
        text.write("\t".join([*map(repr, values), _NULL if side is None else side]) + "\n")
    text.seek(0)
    cursor.copy_expert(f"COPY archived_trade ({', '.join(names)}) FROM STDIN", text)


def _instant(seconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
