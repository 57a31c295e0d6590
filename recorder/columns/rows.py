"""Rows of trades and quotes from the tuples of a journal block, in the order of their receipt. Pure.

A row counts when Postgres would store it: the same columns must have a value, and the same limits hold.
"""

import math
import struct
from collections.abc import Iterator, Sequence

import msgspec

from recorder.columns.layout import BUY, SELL, UNKNOWN
from recorder.pgcopy import decode
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.store.batch import Part

_TRADE = struct.Struct("!h iq iq iq iq id id i")
_FLOAT8 = struct.Struct("!d")
_SIDES = {b"b": BUY, b"s": SELL}
_QUOTE = COLUMNS["quote"]
_INSTRUMENT, _RECV = (_QUOTE.index(name) for name in ("instrument_id", "ts_recv"))
_BID, _BID_SIZE, _ASK, _ASK_SIZE = (_QUOTE.index(name) for name in ("bid", "bid_size", "ask", "ask_size"))
_REQUIRED = [_QUOTE.index(name) for name in ("instrument_id", "ts_recv", "session_id", "frame_seq")]
PAST = "past_trade"


class TradeRow(msgspec.Struct, gc=False):
    """A trade; times in microseconds since 1970."""

    instrument_id: int
    ts_recv_us: int
    trade_id: int
    ts_event_us: int
    price: float
    size: float
    side: int
    textual: bool  # whether the venue's id is a text, of which trade_id is a hash
    past: bool  # whether it was read from the history of the venue


class QuoteRow(msgspec.Struct, gc=False):
    """Best bid and ask, 0 for none; time in microseconds since 1970."""

    instrument_id: int
    ts_recv_us: int
    bid: float
    ask: float


class Refused(msgspec.Struct, gc=False):
    """A row that Postgres does not store."""


Decoded = TradeRow | QuoteRow | Refused


def rows_of(parts: Sequence[Part]) -> list[Decoded]:
    """Return the rows of a block by the time of their receipt, quotes before trades of the same time."""
    found: list[tuple[int, int, Decoded]] = []
    for part in parts:
        if part.table == "quote":
            found += [(_received_us(row), 0, row) for row in _quotes(part)]
        elif part.table in ("trade", PAST):
            found += [(_received_us(row), 1, row) for row in _trades(part, past=part.table == PAST)]
    found.sort(key=lambda one: one[:2])
    return [row for _, _, row in found]


def instruments_of(parts: Sequence[Part]) -> Iterator[tuple[int, str, str]]:
    """Yield id, venue and symbol of the instruments that a block names."""
    for part in parts:
        if part.table == "instrument":
            for row in _split(part):
                fields = decode.fields(row)
                yield decode.number(fields[0]), fields[1][4:].decode(), fields[2][4:].decode()


def _received_us(row: Decoded) -> int:
    return 0 if isinstance(row, Refused) else row.ts_recv_us


def _split(part: Part) -> list[bytes]:
    """Return the tuples of a part up to the first that is broken, as the writer does."""
    try:
        return decode.split(decode.conform(part.data, part.columns, COLUMNS[part.table]))
    except ValueError:
        return []


def _trades(part: Part, *, past: bool) -> Iterator[TradeRow | Refused]:
    for row in _split(part):
        yield _trade(row, past=past)


def _trade(row: bytes, *, past: bool) -> TradeRow | Refused:
    if len(row) < _TRADE.size:
        return Refused()
    _, *values, side_length = _TRADE.unpack_from(row)
    if any(length != 8 for length in values[::2]):
        return Refused()  # a column that must have a value is null
    instrument, trade_id, event, received, price, size = values[1::2]
    end = _TRADE.size + max(side_length, 0)
    side = UNKNOWN if side_length < 0 else _SIDES.get(row[_TRADE.size : end], -1)
    if not (math.isfinite(price) and 0 < size < math.inf) or side < 0:
        return Refused()
    textual = row[end : end + 4] != b"\xff\xff\xff\xff"
    return TradeRow(instrument, received + PG_EPOCH_US, trade_id, event + PG_EPOCH_US, price, size, side, textual, past)


def _quotes(part: Part) -> Iterator[QuoteRow | Refused]:
    for row in _split(part):
        fields = decode.fields(row)
        sizes = (_float(fields[_BID_SIZE]), _float(fields[_ASK_SIZE]))
        if any(decode.is_null(fields[place]) for place in _REQUIRED) or any(size < 0 for size in sizes):
            yield Refused()
            continue
        received_us = decode.number(fields[_RECV]) + PG_EPOCH_US
        yield QuoteRow(decode.number(fields[_INSTRUMENT]), received_us, _float(fields[_BID]), _float(fields[_ASK]))


def _float(field: bytes) -> float:
    return 0.0 if decode.is_null(field) else float(_FLOAT8.unpack_from(field, 4)[0])
