"""Splits binary COPY data into tuples and fields, and renders rows as text for a person. Pure.

encode.py is the writing side.
"""

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.scalars import PG_EPOCH_US

_COUNT = struct.Struct("!h")
_LENGTH = struct.Struct("!i")
_INT8 = struct.Struct("!q")
_FLOAT8 = struct.Struct("!d")
_NULL = _LENGTH.pack(-1)

_LEVELS_SHOWN = 3
_INSTANTS = ("ts_event", "ts_recv")
_NUMBERS = ("instrument_id", "trade_id", "session_id", "frame_seq", "sequence")
_FLOATS = ("price", "size", "bid", "bid_size", "ask", "ask_size")
_SIDES = ("bids", "asks")


def split(data: bytes) -> list[bytes]:
    """Split the bytes of consecutive tuples.

    Raises:
        ValueError: The bytes are not tuples.
    """
    count_at, length_at, size = _COUNT.unpack_from, _LENGTH.unpack_from, len(data)
    found = []
    offset = 0
    try:
        while offset < size:
            (count,) = count_at(data, offset)
            end = offset + 2
            if count < 0:
                raise ValueError(f"a tuple has {count} fields")
            for _ in range(count):
                (length,) = length_at(data, end)
                end += 4
                if length > 0:
                    end += length
                elif length < -1:
                    raise ValueError(f"a field has the length {length}")
            found.append(data[offset:end])
            offset = end
    except struct.error:
        raise ValueError("a tuple is cut short") from None
    if offset > size:
        raise ValueError("a tuple is cut short")
    return found


def fields(row: bytes) -> list[bytes]:
    """Return the fields of a tuple, each with its length in front."""
    found = []
    offset = 2
    while offset < len(row):
        end = offset + 4 + max(_LENGTH.unpack_from(row, offset)[0], 0)
        found.append(row[offset:end])
        offset = end
    return found


def conform(data: bytes, columns: Sequence[str], wanted: Sequence[str]) -> bytes:
    """Return tuples that an older version wrote, with the current columns. A column that they lack is null."""
    if tuple(columns) == tuple(wanted):
        return data
    places = [columns.index(name) if name in columns else None for name in wanted]
    head = struct.pack("!h", len(wanted))
    out = []
    for row in split(data):
        old = fields(row)
        out.append(head + b"".join(_NULL if place is None else old[place] for place in places))
    return b"".join(out)


def number(field: bytes) -> int:
    """Return the value of a bigint field that is not null."""
    return int(_INT8.unpack_from(field, 4)[0])


def is_null(field: bytes) -> bool:
    """Return whether a field is null."""
    return field == _NULL


def readable(table: str, row: bytes, names: Mapping[int, str]) -> dict[str, str]:
    """Return a row of trade, quote or book as text by column, with the symbol of the instrument where it is known."""
    shown = {}
    for column, field in zip(COLUMNS[table], fields(row), strict=True):
        if column == "instrument_id":
            shown["symbol"] = names.get(number(field), str(number(field)))
        else:
            shown[column] = _text(column, field)
    return shown


def _text(column: str, field: bytes) -> str:
    if is_null(field):
        return "-"
    if column in _INSTANTS:
        return instant_text(number(field))
    if column in _NUMBERS:
        return str(number(field))
    if column in _FLOATS:
        return repr(_FLOAT8.unpack_from(field, 4)[0])
    if column in _SIDES:
        return _side(field)
    return field[4:].decode(errors="replace")


def instant_text(field_us: int) -> str:
    """Return a timestamptz field as text, UTC."""
    seconds, rest_us = divmod(field_us + PG_EPOCH_US, 10**6)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_us:06d}Z"


def _side(field: bytes) -> str:
    count = _LENGTH.unpack_from(field, 16)[0] if _LENGTH.unpack_from(field, 4)[0] else 0
    levels = []
    for level in range(min(count, _LEVELS_SHOWN)):
        price, size = (_FLOAT8.unpack_from(field, 32 + 24 * level + 4 + 12 * part)[0] for part in (0, 1))
        levels.append(f"{price!r} x {size!r}")
    more = f" and {count - _LEVELS_SHOWN} more" if count > _LEVELS_SHOWN else ""
    return f"[{', '.join(levels)}{more}]"
