"""Arrow schemas of the stored tables: columns, clock and order, the same for every source."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Channel = Literal["trade", "quote", "book"]

UTC_US = pa.timestamp("us", tz="UTC")
"""Instants as Postgres stores them."""

SYMBOL = pa.dictionary(pa.int32(), pa.string())

CODE = pa.dictionary(pa.int8(), pa.string())

WORDS = {"aggressor": pa.array(["b", "s"]), "kind": pa.array(["s", "d"])}
"""Columns of type CODE and their allowed values, which the database checks too."""


@dataclass(frozen=True)
class Layout:
    """One table of events.

    Attributes:
        schema: Stored columns, instrument_id first. A book side is flat: price, size, price, size, ...
        clock: Column that bounds a range and names the day of a row.
        order: Sort columns; rows equal in all of them keep their storage order.
        stretch: Length of one read.
    """

    name: Channel
    schema: pa.Schema
    clock: str
    order: tuple[str, ...]
    stretch: timedelta

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a frame besides venue and symbol."""
        return tuple(name for name in self.schema.names if name != "instrument_id")


_TRADE = {
    "instrument_id": pa.int64(),
    "ts_event": UTC_US,
    "ts_recv": UTC_US,
    "trade_id": pa.int64(),
    "price": pa.float64(),
    "size": pa.float64(),
    "aggressor": CODE,
    "venue_trade_id": pa.string(),
}
_QUOTE = {
    "instrument_id": pa.int64(),
    "ts_recv": UTC_US,
    "ts_event": UTC_US,
    "session_id": pa.int64(),
    "frame_seq": pa.int64(),
    "sequence": pa.int64(),
    "bid": pa.float64(),
    "bid_size": pa.float64(),
    "ask": pa.float64(),
    "ask_size": pa.float64(),
}
_BOOK = {
    "instrument_id": pa.int64(),
    "ts_recv": UTC_US,
    "ts_event": UTC_US,
    "session_id": pa.int64(),
    "frame_seq": pa.int64(),
    "kind": CODE,
    "sequence": pa.int64(),
    "bids": pa.list_(pa.float64()),
    "asks": pa.list_(pa.float64()),
}
_BY_RECEIPT = ("ts_recv", "session_id", "frame_seq", "instrument_id")

# A day of trades is one partition without an index by time, so it is read at once. Quotes and books are more numerous
# and have such an index; short reads keep memory small.
TRADE = Layout("trade", pa.schema(_TRADE), "ts_event", ("ts_event", "trade_id", "instrument_id"), timedelta(days=1))
QUOTE = Layout("quote", pa.schema(_QUOTE), "ts_recv", _BY_RECEIPT, timedelta(hours=6))
BOOK = Layout("book", pa.schema(_BOOK), "ts_recv", _BY_RECEIPT, timedelta(hours=1))
LAYOUTS = (TRADE, QUOTE, BOOK)

GAP = pa.schema(
    {
        "instrument_id": pa.int64(),
        "gap_id": pa.int64(),
        "channel": pa.string(),
        "session_id": pa.int64(),
        "cause": pa.string(),
        "state": pa.string(),
        "reason": pa.string(),
        "last_id": pa.int64(),
        "first_id": pa.int64(),
        "started_at": UTC_US,
        "ended_at": UTC_US,
        "last_ts_event": UTC_US,
        "first_ts_event": UTC_US,
        "revision": pa.int32(),
    }
)
"""Columns of table gap."""


CERTIFICATE = pa.schema({"instrument_id": pa.int64(), "channel": pa.string(), "hour": UTC_US, "grade": pa.string()})
"""Grade of an hour of a stream: the highest revision of its certificate."""


def coded(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column of WORDS from its text; the dictionary is the same in every table."""
    words = WORDS[name]
    codes = pc.index_in(column, words).cast(pa.int8())
    return of_codes(codes, name)


def of_codes(codes: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return a column of WORDS from indices into its dictionary."""
    return pa.chunked_array([pa.DictionaryArray.from_arrays(chunk, WORDS[name]) for chunk in codes.chunks], CODE)
