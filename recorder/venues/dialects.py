"""The dialects a file of frames may be written in, where nothing but its frames tells which.

A recorder knows its dialect: it chose the endpoint. What a person has may be older, or from another endpoint.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recorder.errors import DecodeError
from recorder.events import Channel
from recorder.venues import venue_class
from recorder.venues.base import Session
from recorder.venues.coinbase_advanced import CoinbaseAdvanced
from recorder.venues.kraken_v1 import KrakenV1Session


class Dialect(NamedTuple):
    """One way a venue speaks."""

    name: str
    session: Callable[[], Session]
    contiguous: frozenset[Channel]  # channels whose ids rise by exactly one per symbol


_OTHERS: dict[str, tuple[Dialect, ...]] = {
    "coinbase": (
        Dialect("coinbase_advanced", lambda: CoinbaseAdvanced().session(), CoinbaseAdvanced.contiguous),
    ),
    "kraken": (Dialect("kraken_v1", KrakenV1Session, frozenset()),),
}  # fmt: skip


def dialects_of(name: str) -> tuple[Dialect, ...]:
    """All dialects of a venue, the one recorded today first.

    Raises:
        ConfigError: no venue has this name.
    """
    kind = venue_class(name)
    return Dialect(name, lambda: kind().session(), kind.contiguous), *_OTHERS.get(name, ())


def spoken(dialects: Sequence[Dialect], frames: Sequence[bytes], ts_recv_ns: int) -> Dialect:
    """The dialect that understands most of some frames; the first of equals."""
    return max(dialects, key=lambda dialect: _understood(dialect.session(), frames, ts_recv_ns))


def _understood(session: Session, frames: Sequence[bytes], ts_recv_ns: int) -> int:
    count = 0
    for frame in frames:
        try:
            session.decode(frame, ts_recv_ns)
        except DecodeError:
            continue
        count += 1
    return count
