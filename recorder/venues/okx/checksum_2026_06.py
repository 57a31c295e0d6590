"""OKX books until 2026-06-23, when every book message carried a checksum.

Since that day the field is the constant 0, and books are proved by their sequence ids; see okx.md beside this file.
"""

from collections.abc import Sequence

import msgspec

from recorder.events import Book, Output
from recorder.venues.checksums import interleaved_crc32
from recorder.venues.okx.stream import Argument, OkxDecoder
from recorder.venues.orderbook import RankedSide

CHECKED_LEVELS = 25

_Texts = list[tuple[str, str, str, str]]


class _BookData(msgspec.Struct, gc=False):
    """The levels as the venue spelled them, because the checksum covers the text."""

    asks: _Texts
    bids: _Texts
    checksum: int | None = None


class _BookMessage(msgspec.Struct, gc=False):
    arg: Argument
    data: list[_BookData]


_decode_book = msgspec.json.Decoder(_BookMessage).decode


class OkxUntil202606Decoder(OkxDecoder):
    """Decoder of one connection that also verifies the checksums of its books."""

    def __init__(self) -> None:
        super().__init__()
        self._spelled: dict[str, tuple[RankedSide, RankedSide]] = {}  # bids and asks

    def _book(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        message = _decode_book(frame)
        outputs = super()._book(frame, ts_recv_ns)
        symbol = message.arg.inst_id
        rows = [output for output in outputs if isinstance(output, Book)]
        if not rows or symbol not in self._books:  # a keep-alive, or a message that was rejected
            return outputs
        (data,) = message.data
        bids, asks = _ranked(data.bids, -1.0), _ranked(data.asks, 1.0)
        if rows[0].snapshot:
            book = self._spelled[symbol] = RankedSide(bids), RankedSide(asks)
        else:
            book = self._spelled[symbol]
            book[0].apply(bids)
            book[1].apply(asks)
        if not data.checksum:
            return outputs
        checksum = interleaved_crc32(book[0].texts[:CHECKED_LEVELS], book[1].texts[:CHECKED_LEVELS])
        if checksum != data.checksum:
            return self._sync.checksum_failed(rows[0], checksum, data.checksum)
        self._sync.audit(symbol).checksums_passed += 1
        return outputs


def _ranked(rows: _Texts, sign: float) -> list[tuple[float, bytes]]:
    """Return levels as a RankedSide takes them: `price:size` as spelled, b"" where the size is zero."""
    return [(sign * float(price), f"{price}:{size}".encode() if float(size) else b"") for price, size, _, _ in rows]
