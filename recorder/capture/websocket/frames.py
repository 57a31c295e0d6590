"""The buffered WebSocket frame reader: bytes in, messages out, no socket inside.

websocket-client opens the connection and writes frames. Reading is the hot path, and cutting frames from one large
buffer costs a tenth of websocket-client's `recv` (tests/bench). The source is RFC 6455 section 5.
"""

import struct

from recorder.errors import LinkError

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FIN = 0x80
_UNFRAGMENTED_TEXT = _FIN | TEXT
_HEAD = struct.Struct("!HH")  # of a frame with a length of 16 bits
_USUAL_HEAD = _UNFRAGMENTED_TEXT << 8 | 126
_MAX_HEADER = 10
_CHUNK = 1 << 17  # of two sizes measured, the one that costs a recorder a twentieth less CPU on a busy feed
_SAMPLE = 1024


class ProtocolError(LinkError):
    """The other side violated RFC 6455: the rest of this connection cannot be read."""


class Oversized:
    """A message longer than the limit. It is skipped, so that it costs neither memory nor the connection."""

    __slots__ = ("length", "sample")

    def __init__(self, length: int, sample: bytes) -> None:
        self.length = length
        self.sample = sample


class FrameReader:
    """Cuts a byte stream into messages.

    Use: receive into `room()`, then call `received(n)` with the number of bytes.
    """

    def __init__(self, limit: int) -> None:
        """
        Args:
            limit: Bytes of the longest message accepted; a longer one is returned as Oversized.
        """
        self._limit = limit
        self._buffer = bytearray(_CHUNK + _MAX_HEADER)
        self._start = 0  # first byte not yet consumed
        self._end = 0  # first byte not yet received
        self._needed = 0  # bytes of the frame at `_start`, once its header has come
        self._parts: list[bytes] = []  # of a fragmented message
        self._parts_size = 0
        self._fragmented = False
        self._skip = 0  # payload bytes of an oversized frame still to skip
        self._oversized: Oversized | None = None  # the oversized message being skipped

    def room(self) -> memoryview:
        """Return the memory to receive into; never empty, and valid until the next call of `received`."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > 4 * _CHUNK:  # grown for one long message, such as a snapshot
                self._buffer = bytearray(_CHUNK + _MAX_HEADER)
        elif len(self._buffer) - _MAX_HEADER - self._end < _CHUNK // 4:
            self._make_room()
        # The spare bytes at the end let a header be indexed that the end of a chunk has cut.
        return memoryview(self._buffer)[self._end : len(self._buffer) - _MAX_HEADER]

    def _make_room(self) -> None:
        held = self._buffer[self._start : self._end]
        if len(held) > len(self._buffer) // 2:  # one message larger than the buffer: grow, up to the limit
            self._buffer = bytearray(min(4 * len(self._buffer), self._limit + _CHUNK) + 2 * _MAX_HEADER)
        elif len(self._buffer) > 4 * _CHUNK and len(held) < _CHUNK // 2:
            self._buffer = bytearray(_CHUNK + _MAX_HEADER)
        self._buffer[: len(held)] = held
        self._start, self._end = 0, len(held)

    def received(self, count: int) -> tuple[list[bytes | Oversized], list[tuple[int, bytes]]]:
        """Account for `count` received bytes.

        Returns:
            Complete data messages in order, and (opcode, payload) of control frames in order.

        Raises:
            ProtocolError: RFC 6455 is broken.
        """
        self._end += count
        messages: list[bytes | Oversized] = []
        controls: list[tuple[int, bytes]] = []
        if self._end - self._start < self._needed:  # the rest of one long frame is still on its way
            return messages, controls
        # One copy, then slices of it: half the cost of copying message by message.
        data = bytes(memoryview(self._buffer)[self._start : self._end])
        start, end, plain = 0, len(data), not self._fragmented
        limit, append, unpack_head = self._limit, messages.append, _HEAD.unpack_from
        self._needed = 0
        while True:
            if self._skip:
                step = min(self._skip, end - start)
                start += step
                self._skip -= step
                if self._skip:
                    break
                self._finish_oversized(messages)
                plain = not self._fragmented
            # The usual frame, an unfragmented text of 126 bytes to 64 KiB, is cut here; all others below.
            while plain and end - start > 4:
                head, length = unpack_head(data, start)
                body = start + 4
                stop = body + length
                if head != _USUAL_HEAD or stop > end or length > limit:
                    break
                append(data[body:stop])
                start = stop
            if end - start < 2:
                break
            head, length = data[start], data[start + 1]
            body = start + 2
            if length == 126:
                body += 2
                if body > end:
                    break
                length = (data[start + 2] << 8) | data[start + 3]
            elif length == 127:
                body += 8
                if body > end:
                    break
                length = int.from_bytes(data[start + 2 : body], "big")
                if length >> 63:
                    raise ProtocolError("a length must leave its highest bit clear")
            elif length > 127:
                raise ProtocolError("a server must not mask its frames")
            if length > 125 and head & 0x08:  # before waiting for its bytes, of which it may claim any number
                raise ProtocolError("a control frame must not be fragmented nor exceed 125 bytes")
            if length > limit and not head & 0x08:
                self._begin_oversized(head, length, data[body : min(end, body + _SAMPLE)])
                start = body
                continue
            stop = body + length
            if stop > end:
                self._needed = stop - start
                break
            if head == _UNFRAGMENTED_TEXT and plain:
                append(data[body:stop])
            else:
                self._uncommon(head, data[body:stop], messages, controls)
                plain = not self._fragmented
            start = stop
        self._start += start
        return messages, controls

    def _uncommon(
        self,
        head: int,
        payload: bytes,
        messages: list[bytes | Oversized],
        controls: list[tuple[int, bytes]],
    ) -> None:
        opcode, final = head & 0x0F, bool(head & _FIN)
        if head & 0x70:
            raise ProtocolError("reserved bits set, but no extension was negotiated")
        if opcode in (CLOSE, PING, PONG):
            if not final or len(payload) > 125:
                raise ProtocolError("a control frame must not be fragmented nor exceed 125 bytes")
            controls.append((opcode, payload))
        elif opcode in (TEXT, BINARY):
            self._check_first()
            if final:
                messages.append(payload)
            else:
                self._fragmented = True
                self._parts, self._parts_size = [payload], len(payload)
        elif opcode == _CONTINUATION:
            self._check_continuation()
            if self._oversized is not None:
                self._oversized.length += len(payload)
            elif self._parts_size + len(payload) > self._limit:
                sample = b"".join(self._parts)[:_SAMPLE]
                self._oversized = Oversized(self._parts_size + len(payload), sample)
                self._parts = []
            else:
                self._parts.append(payload)
                self._parts_size += len(payload)
            if final:
                messages.append(self._oversized or b"".join(self._parts))
                self._reset_message()
        else:
            raise ProtocolError(f"unknown opcode {opcode}")

    def _begin_oversized(self, head: int, length: int, sample: bytes) -> None:
        if head & 0x70:
            raise ProtocolError("reserved bits set, but no extension was negotiated")
        opcode = head & 0x0F
        if opcode == _CONTINUATION:
            self._check_continuation()
            sample = b"".join([*self._parts, sample])[:_SAMPLE]
        elif opcode in (TEXT, BINARY):
            self._check_first()
        else:
            raise ProtocolError(f"unknown opcode {opcode}")
        if self._oversized is None:
            self._oversized = Oversized(self._parts_size, sample)
        self._oversized.length += length
        self._parts = []
        self._skip = length
        self._fragmented = not head & _FIN

    def _finish_oversized(self, messages: list[bytes | Oversized]) -> None:
        if not self._fragmented and self._oversized is not None:
            messages.append(self._oversized)
            self._reset_message()

    def _check_first(self) -> None:
        if self._fragmented:
            raise ProtocolError("a new message began inside a fragmented one")

    def _check_continuation(self) -> None:
        if not self._fragmented:
            raise ProtocolError("a continuation without a beginning")

    def _reset_message(self) -> None:
        self._parts, self._parts_size, self._fragmented, self._oversized = [], 0, False, None
