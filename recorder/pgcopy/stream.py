"""The framing of a binary COPY stream: header, tuples, trailer."""

import io
import struct
from collections.abc import Iterator, Sequence

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
COPY_TRAILER = struct.pack("!h", -1)
_CHUNK = 1 << 18  # libpq's buffer grows to the largest piece and never shrinks
_COUNT = struct.Struct("!h")
_LENGTH = struct.Struct("!i")


def copy_stream(tuples: "Iterator[bytes] | Sequence[bytes]") -> Iterator[bytes]:
    """Yield tuples with the header and trailer of COPY BINARY, in pieces of a bounded size."""
    yield COPY_HEADER
    for data in tuples:
        if len(data) <= _CHUNK:
            if data:
                yield data
        else:
            for offset in range(0, len(data), _CHUNK):
                yield data[offset : offset + _CHUNK]
    yield COPY_TRAILER


class CopyReader(io.RawIOBase):
    """The file from which psycopg2 reads a COPY. It returns pieces as they are, without joining them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self.failure: Exception | None = None  # psycopg2 would report it as a cancelled statement

    def read(self, _size: int = -1) -> bytes:
        """Return the next piece, whatever its size; b"" at the end."""
        try:
            return next(self._pieces, b"")
        except Exception as error:
            self.failure = error
            raise


def tuple_end(data: bytes, offset: int) -> int:
    """Return where the tuple that begins at `offset` ends.

    Raises:
        ValueError: The bytes are not a tuple.
    """
    if offset + 2 > len(data):
        raise ValueError("a tuple is cut short")
    (fields,) = _COUNT.unpack_from(data, offset)
    if fields < 0:
        raise ValueError(f"a tuple has {fields} fields")
    offset += 2
    for _ in range(fields):
        if offset + 4 > len(data):
            raise ValueError("a tuple is cut short")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += 4 + max(length, 0)
        if length < -1:
            raise ValueError(f"a field has the length {length}")
    if offset > len(data):
        raise ValueError("a tuple is cut short")
    return offset


def int8_field(data: bytes, columns: tuple[str, ...], name: str) -> int | None:
    """Return a bigint of a tuple by its column; None when the tuple has none."""
    if name not in columns:
        return None
    offset = 2
    for _ in range(columns.index(name)):
        if offset + 4 > len(data):
            return None
        offset += 4 + max(_LENGTH.unpack_from(data, offset)[0], 0)
    field = data[offset : offset + 12]
    if len(field) < 12 or _LENGTH.unpack_from(field)[0] != 8:
        return None
    return int.from_bytes(field[4:], "big", signed=True)
