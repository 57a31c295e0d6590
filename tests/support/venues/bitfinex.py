"""Frames of Bitfinex written by hand, decoders whose channels are acknowledged, and an independent book."""

import json
import zlib
from collections.abc import Sequence

from recorder.events import Output, Stream
from recorder.venues.bitfinex.stream import Bitfinex, BitfinexDecoder
from support.venues.contract import NOW_NS

SEQ_ALL, OB_CHECKSUM, TIMESTAMP = 65536, 131072, 32768
MS = 1_772_719_200_000
BOOK = Stream("book", "tAAAUSD")
CHANNELS = {11: "trades", 12: "ticker", 13: "book"}


def subscribed(number: int, **more: object) -> bytes:
    body = {"event": "subscribed", "channel": CHANNELS[number], "chanId": number, "symbol": "tAAAUSD", **more}
    return json.dumps(body).encode()


def acknowledged(flags: int = SEQ_ALL | OB_CHECKSUM, decoder: BitfinexDecoder | None = None) -> BitfinexDecoder:
    """Return a decoder whose three channels were acknowledged."""
    decoder = decoder or Bitfinex(book_depth=25).decoder()
    decoder.subscribe([])
    decoder.decode(b'{"event":"conf","status":"OK","flags":%d}' % flags, NOW_NS)
    for number in CHANNELS:
        decoder.decode(subscribed(number, prec="P0"), NOW_NS)
    return decoder


def frame(number: int, payload: str, *suffixes: int) -> bytes:
    return f"[{','.join([str(number), payload, *map(str, suffixes)])}]".encode()


def update(price: str, count: int = 1, amount: str = "2", *suffixes: int) -> bytes:
    return frame(13, f"[{price},{count},{amount}]", *suffixes)


def snapshot(*suffixes: int) -> bytes:
    return frame(13, "[[0.5,1,2],[0.4,1,3],[0.6,1,-4]]", *suffixes)


def decoded(decoder: BitfinexDecoder, *frames: bytes) -> list[Output]:
    return [output for one in frames for output in decoder.decode(one, NOW_NS)]


class NaiveBook:
    """The checksum of the protocol page, from texts alone, with levels sorted each time."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self.levels: dict[tuple[bool, float], tuple[str, str]] = {}
        for row in rows:
            self.apply(row)

    def apply(self, row: Sequence[str]) -> None:
        price, count, amount = row
        key = (not amount.startswith("-"), float(price))
        if int(count):
            self.levels[key] = (price, amount)
        else:
            assert amount in ("1", "-1")
            del self.levels[key]  # every deletion finds its level

    def checksum(self) -> int:
        bids = [self.levels[key] for key in sorted(self.levels, key=lambda key: -key[1]) if key[0]][:25]
        asks = [self.levels[key] for key in sorted(self.levels, key=lambda key: key[1]) if not key[0]][:25]
        texts: list[str] = []
        for rank in range(25):
            for side in (bids, asks):
                texts += side[rank] if rank < len(side) else ()
        return int.from_bytes(zlib.crc32(":".join(texts).encode()).to_bytes(4, "big"), "big", signed=True)
