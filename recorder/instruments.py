"""Identity without coordination: (venue, symbol) -> a stable signed 64-bit instrument_id."""

import hashlib
from functools import cache


@cache
def instrument_id(venue: str, symbol: str) -> int:
    """The id of a thing traded; every process on every host derives the same one.

    BLAKE2b of `venue:symbol`, first 8 bytes, as a signed big-endian integer. Two names with one id are
    found when the instrument is inserted: sql/ refuses them, and the row is quarantined.
    """
    return stable_hash64(f"{venue}:{symbol}")


def stable_hash64(text: str) -> int:
    """Signed 64-bit BLAKE2b of a text: the same on every machine, in every version."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
