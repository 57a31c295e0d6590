"""Reads rows of table book from binary COPY tuples. Only those of some instruments are decoded."""

import struct
from collections.abc import Container, Iterator
from functools import lru_cache

from recorder.events import Levels
from recorder.pgcopy.scalars import PG_EPOCH_US
from recorder.poller.polymarket.own_book.books import Message

_FIELDS = 9
_HEAD = struct.Struct("!hiqiqi")  # fields, instrument_id, ts_recv, the length of ts_event
_MIDDLE = struct.Struct("!iqiqici")  # session_id, frame_seq, kind, the length of sequence
_INT8 = struct.Struct("!q")
_LENGTH = struct.Struct("!i")
_LEVELS_AT = 28  # in an array that is not empty: after its dimensions
_LEVEL = 24


def messages(data: bytes, wanted: Container[int]) -> Iterator[Message]:
    """Yield the rows of some instruments, in their order.

    Raises:
        ValueError: the bytes are no such tuples.
    """
    offset, size = 0, len(data)
    try:
        while offset < size:
            fields, _, instrument_id, _, received_us, length = _HEAD.unpack_from(data, offset)
            if fields != _FIELDS:
                raise ValueError(f"a row of book with {fields} fields")
            offset += _HEAD.size
            stamp_ns = None
            if length == 8:
                stamp_ns = (_INT8.unpack_from(data, offset)[0] + PG_EPOCH_US) * 1000
                offset += 8
            _, session_id, _, _, _, kind, length = _MIDDLE.unpack_from(data, offset)
            offset += _MIDDLE.size + max(length, 0)
            bids = offset + 4
            asks = bids + _size(data, offset) + 4
            offset = asks + _size(data, asks - 4)
            if instrument_id in wanted:
                yield Message(
                    instrument_id, (received_us + PG_EPOCH_US) * 1000, stamp_ns, session_id, kind == b"s",
                    _levels(data, bids, asks - 4), _levels(data, asks, offset),
                )  # fmt: skip
    except struct.error as error:
        raise ValueError(f"a row of book: {error}") from error


def _size(data: bytes, offset: int) -> int:
    size: int = _LENGTH.unpack_from(data, offset)[0]
    if size < 0:
        raise ValueError("a row of book without a side")
    return size


def _levels(data: bytes, offset: int, end: int) -> Levels:
    count = (end - offset - _LEVELS_AT) // _LEVEL
    if count <= 0:
        return []
    if offset + _LEVELS_AT + count * _LEVEL != end:
        raise ValueError("a side of a row of book is no array of pairs")
    numbers = _numbers(count).unpack_from(data, offset + _LEVELS_AT)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@lru_cache(maxsize=512)
def _numbers(levels: int) -> struct.Struct:
    """Return the format of the numbers of some levels, each behind its length."""
    return struct.Struct("!" + "4xd" * (2 * levels))
