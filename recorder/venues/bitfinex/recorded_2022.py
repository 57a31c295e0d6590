"""Bitfinex frames as other recorders kept them, in 2021 and 2022.

Files of crypto-crawler hold the subscription itself in place of the chanId. With the flag TIMESTAMP, which we do not
set, every data frame ends in the venue's milliseconds.
"""

from collections.abc import Sequence

import msgspec

from recorder.errors import DecodeError
from recorder.events import Book, Output, Quote
from recorder.venues.bitfinex.messages import decode_event, decode_int, decode_parts
from recorder.venues.bitfinex.stream import TIMESTAMP, BitfinexDecoder
from recorder.venues.wire import MALFORMED, event_time_of_ms


class BitfinexRecorded2022Decoder(BitfinexDecoder):
    """Decoder of one connection; it translates each frame into the form that we subscribe to."""

    def __init__(self, length: int = 100) -> None:
        super().__init__(length)
        self._stamped = False
        self._numbers: dict[bytes, bytes] = {}  # chanId that we invented for each subscription

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        time_ms = None
        try:
            if frame.startswith(b"{"):
                frame = self._without_timestamp_flag(frame)
            elif self._stamped:
                *parts, time = decode_parts(frame)
                time_ms = decode_int(time)
                frame = _array(parts)
            if frame.startswith(b"[{"):
                subscription, *parts = decode_parts(frame)
                frame = _array([self._number_of(bytes(subscription)), *parts])
        except MALFORMED as error:
            raise DecodeError(str(error)) from error
        outputs = super().decode(frame, ts_recv_ns)
        if time_ms is not None:
            for output in outputs:
                if isinstance(output, Book | Quote):
                    output.ts_event_ns = event_time_of_ms(time_ms, ts_recv_ns)
        return outputs

    def _without_timestamp_flag(self, frame: bytes) -> bytes:
        event = decode_event(frame)
        if event.event != "conf" or event.status != "OK" or event.flags is None:
            return frame
        self._stamped = bool(event.flags & TIMESTAMP)
        return msgspec.json.encode({"event": "conf", "status": "OK", "flags": event.flags & ~TIMESTAMP})

    def _number_of(self, subscription: bytes) -> bytes:
        number = self._numbers.get(subscription)
        if number is None:
            number = self._numbers[subscription] = b"%d" % (len(self._numbers) + 1)
            self._subscribed(number, decode_event(subscription).stream)
        return number


def _array(parts: Sequence[bytes | msgspec.Raw]) -> bytes:
    return b"[%b]" % b",".join(bytes(part) for part in parts)
