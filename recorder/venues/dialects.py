"""The wire dialects of a venue, for files of frames that do not name theirs.

A recorder knows its dialect, because it chose the endpoint. A file may be older, or from another endpoint. A changed
wire format becomes a second decoder, in a module of the venue's folder with the date of the change in its name.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recorder.errors import DecodeError
from recorder.events import Channel
from recorder.venues import venue_class
from recorder.venues.base import Decoder
from recorder.venues.bitfinex.recorded_2022 import BitfinexRecorded2022Decoder
from recorder.venues.bitfinex.stream import Bitfinex
from recorder.venues.coinbase_advanced.stream import CoinbaseAdvanced
from recorder.venues.kraken.v1 import KrakenV1Decoder
from recorder.venues.okx.checksum_2026_06 import OkxUntil202606Decoder
from recorder.venues.okx.stream import Okx
from recorder.venues.polymarket.changes_2025_09 import PolymarketUntil202509Decoder
from recorder.venues.polymarket.stream import Polymarket


class Dialect(NamedTuple):
    """One wire format of a venue."""

    name: str
    decoder: Callable[[], Decoder]
    contiguous: frozenset[Channel]  # channels whose ids rise by exactly one per symbol


_OTHERS: dict[str, tuple[Dialect, ...]] = {
    "bitfinex": (Dialect("bitfinex_recorded_2022", BitfinexRecorded2022Decoder, Bitfinex.contiguous),),
    "coinbase": (
        Dialect("coinbase_advanced", lambda: CoinbaseAdvanced().decoder(), CoinbaseAdvanced.contiguous),
    ),
    "kraken": (Dialect("kraken_v1", KrakenV1Decoder, frozenset()),),
    "okx": (Dialect("okx_until_2026_06", OkxUntil202606Decoder, Okx.contiguous),),
    "polymarket": (Dialect("polymarket_until_2025_09", PolymarketUntil202509Decoder, Polymarket.contiguous),),
}  # fmt: skip


def dialects_of(name: str) -> tuple[Dialect, ...]:
    """Return all dialects of a venue, the one recorded today first.

    Raises:
        ConfigError: No venue has this name.
    """
    kind = venue_class(name)
    return Dialect(name, lambda: kind().decoder(), kind.contiguous), *_OTHERS.get(name, ())


def match_dialect(dialects: Sequence[Dialect], frames: Sequence[bytes], ts_recv_ns: int) -> Dialect:
    """Return the dialect that understands most of some frames; of equals the one that proves most checksums."""
    return max(dialects, key=lambda dialect: _score(dialect.decoder(), frames, ts_recv_ns))


def _score(decoder: Decoder, frames: Sequence[bytes], ts_recv_ns: int) -> tuple[int, int]:
    """Return how many frames were understood, and how many checksums were right."""
    understood = 0
    for frame in frames:
        try:
            decoder.decode(frame, ts_recv_ns)
        except DecodeError:
            continue
        understood += 1
    return understood, sum(audit.checksums_passed for audit in decoder.audits.values())
