"""A day of real trades as a Source, for use without a recording: XRP/ETH of 2019-10-11 from the sample data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from analysis.load.source import US, Instrument, Range, Unrecorded
from analysis.load.tables import GAP, TRADE, UTC_US, Channel, Layout, coded

VENUE, SYMBOL = "sample", "XRP/ETH"
FILE = "trades_XRP_ETH.parquet"


@dataclass(frozen=True, slots=True)
class SampleSource:
    """The folder `market_history` of the sample data."""

    folder: Path

    @contextmanager
    def reading(self) -> Iterator["SampleReader"]:
        """Open the trades; ts_recv equals ts_event, because the file has one clock only."""
        yield SampleReader(self.folder / FILE)


class SampleReader:
    """Read the trades of one instrument."""

    in_order = True
    graded = False  # no recorder wrote it, so nothing is certified

    def __init__(self, file: Path) -> None:
        raw = pq.read_table(file, columns=["timestamp", "id", "side", "price", "amount"])
        at = pc.multiply(raw["timestamp"].cast(pa.int64()), 1000).cast(UTC_US)
        columns = {
            "instrument_id": pa.array([1] * raw.num_rows, pa.int64()),
            "ts_event": at,
            "ts_recv": at,
            "trade_id": raw["id"].cast(pa.int64()),
            "price": raw["price"],
            "size": raw["amount"],
            "aggressor": coded(pc.utf8_slice_codeunits(raw["side"].cast(pa.string()), 0, 1), "aggressor"),
            "venue_trade_id": pa.nulls(raw.num_rows, pa.string()),
        }
        table = pa.table(columns).cast(TRADE.schema)
        self._trades = table.sort_by([("ts_event", "ascending"), ("trade_id", "ascending")])

    def venues(self) -> list[str]:
        """Return the only venue."""
        return [VENUE]

    def recorded_until(self, venue: str) -> datetime | None:
        """Return the time of the last trade."""
        last: datetime = self._trades["ts_event"][-1].as_py()
        return last if venue == VENUE else None

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return the only instrument."""
        if venue != VENUE or (symbols is not None and SYMBOL not in symbols):
            return []
        return [Instrument(1, VENUE, SYMBOL, self._trades["ts_event"][0].as_py())]

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """Return the time after the last trade."""
        until = self.recorded_until(venue)
        if until is None or until + US >= span.end:
            return []
        return [Unrecorded(until, None, "after the latest trade of the file")]

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Return no gap: the exchange's own candles of the day equal the bars of these trades."""
        return GAP.empty_table()

    def certificates(self, whose: Sequence[Instrument], channel: Channel, span: Range) -> None:
        """Return None: sample data are not graded."""

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """Return the stretches of the table."""
        return span.pieces(layout.stretch)

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return trades; the file has no quotes and no books."""
        if layout.name != "trade" or not whose:
            return pa.schema([layout.schema.field(name) for name in columns]).empty_table()
        at = self._trades["ts_event"]
        inside = pc.and_(pc.greater_equal(at, pa.scalar(span.start, UTC_US)), pc.less(at, pa.scalar(span.end, UTC_US)))
        return self._trades.filter(inside).select(list(columns))
