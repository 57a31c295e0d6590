"""Encodes single fields of Postgres' binary COPY format.

Format: https://www.postgresql.org/docs/current/sql-copy.html (Binary Format). A field is a 32-bit length (-1 is null)
and its big-endian bytes. Timestamps are microseconds since 2000-01-01; nanoseconds are truncated, never rounded.
"""

import re
import struct
from collections.abc import Sequence

PG_EPOCH_US = 946_684_800 * 10**6
_TEXT_OID = 25
_ESCAPED_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


def tuple_of(*fields: bytes) -> bytes:
    """Return one tuple from its encoded fields."""
    return struct.pack("!h", len(fields)) + b"".join(fields)


_NULL = struct.pack("!i", -1)


def int8(value: int | None) -> bytes:
    """Return a bigint field."""
    return _NULL if value is None else struct.pack("!iq", 8, value)


def int4(value: int) -> bytes:
    """Return an integer field."""
    return struct.pack("!ii", 4, value)


def float8(value: float | None) -> bytes:
    """Return a double precision field."""
    return _NULL if value is None else struct.pack("!id", 8, value)


def text(value: str | None) -> bytes:
    """Return a text or "char" field. Postgres cannot store NUL, so it becomes U+2400."""
    return _NULL if value is None else binary(value.replace("\0", "\u2400").encode(errors="replace"))


def binary(value: bytes) -> bytes:
    """Return a bytea field."""
    return struct.pack("!i", len(value)) + value


def instant(time_ns: int | None) -> bytes:
    """Return a timestamptz field."""
    return _NULL if time_ns is None else struct.pack("!iq", 8, time_ns // 1000 - PG_EPOCH_US)


def boolean(value: bool | None) -> bytes:
    """Return a boolean field."""
    return _NULL if value is None else struct.pack("!i?", 1, value)


def jsonb(value: bytes | None) -> bytes:
    r"""Return a jsonb field of JSON in UTF-8.

    Its text follows a version, 1 (src/backend/utils/adt/jsonb.c, jsonb_recv). Postgres cannot store \u0000 in jsonb.
    """
    if value is None:
        return _NULL
    if b"\\u0000" in value:
        value = _ESCAPED_NUL.sub(rb"\1\\u2400", value)
    return binary(b"\x01" + value)


def text_array(values: Sequence[str] | None) -> bytes:
    """Return a text[] field (src/backend/utils/adt/arrayfuncs.c, array_send)."""
    if values is None:
        return _NULL
    if not values:
        return binary(struct.pack("!3i", 0, 0, _TEXT_OID))
    return binary(struct.pack("!5i", 1, 0, _TEXT_OID, len(values), 1) + b"".join(map(text, values)))
