"""Finds the times of encoded trades without splitting them: the rows of most batches have one length."""

from array import array
from sys import byteorder

from recorder.pgcopy.decode import split
from recorder.pgcopy.stream import tuple_end

_AT = (
    30  # where ts_event begins in a row of trade or past_trade: after the number of columns, the instrument and the id
)
_MARKS = {1: 8, 5: 8, 17: 8, 29: 8, 41: 8, 53: 8, 65: 8}  # 8 columns, and 8 bytes for each of the first six
_NULL = 0xFF  # each byte of the length of a column without a value, such as the last one


def event_times(data: bytes) -> tuple[int, int]:
    """Return the least and the greatest ts_event of rows of trade or past_trade, as COPY writes them.

    Args:
        data: At least one row, with the columns in their usual order.

    Returns:
        Microseconds since 2000.

    Raises:
        ValueError: The bytes are not such rows.
    """
    length = tuple_end(data, 0)
    marks = {**_MARKS, **dict.fromkeys(range(length - 4, length), _NULL)}
    rows, rest = divmod(len(data), length)
    if not rest and all(data[place::length].count(mark) == rows for place, mark in marks.items()):
        times = bytearray(8 * rows)
        for place in range(8):
            times[place::8] = data[_AT + place :: length]
        found = array("q", bytes(times))
        if byteorder == "little":
            found.byteswap()
        return min(found), max(found)
    some = [int.from_bytes(row[_AT : _AT + 8], "big", signed=True) for row in split(data)]
    return min(some), max(some)
