"""Identity without coordination: (venue, symbol) -> a stable signed 64-bit instrument_id."""

import hashlib
import struct
from functools import cache

_BIG_ENDIAN = struct.Struct(">q")


@cache
def instrument_id(venue: str, symbol: str) -> int:
    """Return the id of an instrument; every process on every host derives the same one.

    The id is the first 8 bytes of BLAKE2b of `venue:symbol` as a signed big-endian integer. Two names with one id
    are detected when the instrument is inserted: the database refuses the second, and its row is quarantined.
    """
    return stable_hash64(f"{venue}:{symbol}")


def stable_hash64(text: str) -> int:
    """Return the signed 64-bit BLAKE2b of a text: the same on every machine, in every version."""
    value: int = _BIG_ENDIAN.unpack(hashlib.blake2b(text.encode(), digest_size=_BIG_ENDIAN.size).digest())[0]
    return value
