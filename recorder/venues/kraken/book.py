"""The top of a Kraken book, with the digits that its checksum covers; both websocket versions share it."""

from zlib import crc32

from recorder.venues.orderbook import RankedSide

CHECKED_LEVELS = 10

Digits = list[tuple[float, bytes]]
"""Levels as a RankedSide takes them: the digits of price and size in the checksum; b"" removes the level."""


class KrakenBook:
    """The top of one book, down to the subscribed depth."""

    __slots__ = ("_ask_digits", "_asks", "_bid_digits", "_bids", "_sum")

    def __init__(self, depth: int, bids: Digits, asks: Digits) -> None:
        # The venue sends no deletion for a level that leaves the window: without the cut, checksums fail.
        self._bids = RankedSide(bids, depth)
        self._asks = RankedSide(asks, depth)
        self._bid_digits: bytes | None = None  # of the best levels as they stand; None after a change among them
        self._ask_digits: bytes | None = None
        self._sum: int | None = None

    def apply(self, bids: Digits, asks: Digits) -> None:
        """Set the levels of one message."""
        if bids and self._bids.apply(bids) < CHECKED_LEVELS:
            self._bid_digits = self._sum = None
        if asks and self._asks.apply(asks) < CHECKED_LEVELS:
            self._ask_digits = self._sum = None

    def checksum(self) -> int:
        """Return the CRC-32 of the ten best asks in rising order, then the ten best bids in falling order."""
        if self._sum is None:
            bids, asks = self._bid_digits, self._ask_digits
            if bids is None:
                bids = self._bid_digits = b"".join(self._bids.texts[:CHECKED_LEVELS])
            if asks is None:
                asks = self._ask_digits = b"".join(self._asks.texts[:CHECKED_LEVELS])
            self._sum = crc32(asks + bids)
        return self._sum
