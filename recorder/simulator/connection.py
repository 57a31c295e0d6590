"""One client of a fake venue: its socket, what is queued for it, and how much of that the kernel took."""

import contextlib
import random
import socket
import struct
from collections import deque

import msgspec

from recorder.simulator import wire

_CHUNK = 1 << 20


class Pace(msgspec.Struct):
    """A slow sender: at most `chunk` bytes every `every_s`."""

    chunk: int
    every_s: float
    next_s: float = 0.0


class Connection:
    """Queue of bytes with marks on it: a mark is an item's number at the end of its frame."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.received = bytearray()
        self.parts: list[bytes] = []
        self.websocket = False
        self.agent = ""
        self.opened_s = 0.0
        self.half_open = False  # neither read nor written any more, yet not closed
        self.ending = False  # close once the queue is empty
        self.over = False
        self.pace: Pace | None = None
        self.cut_at: int | None = None  # largest fragment of a message; None sends messages whole
        self.cut_pings = False
        self.written: list[tuple[int, int]] = []  # items wholly written, not yet logged
        self.controls = 0  # pings and pongs of the client so far
        self.pong = b""  # payload of its last pong
        self._rng = random.Random(number)
        self._waiting: list[bytes] = []
        self._current = memoryview(b"")
        self._queued = 0  # bytes ever queued
        self._taken = 0  # bytes the kernel took
        self._marks: deque[tuple[int, int, int]] = deque()

    @property
    def pending(self) -> int:
        """Bytes queued and not yet taken by the kernel."""
        return self._queued - self._taken

    @property
    def queued(self) -> int:
        """Bytes ever queued."""
        return self._queued

    @property
    def unsent(self) -> int:
        """Items queued and not wholly written."""
        return sum(last - first + 1 for _, first, last in self._marks)

    def raw(self, data: bytes) -> None:
        """Queue bytes as they are."""
        self._waiting.append(data)
        self._queued += len(data)

    def text(self, payload: bytes, framed: bytes | None = None, items: tuple[int, int] | None = None) -> None:
        """Queue one text message carrying the items first..last; `framed` saves framing it per client."""
        if self.half_open or self.ending or self.over:
            return
        if self.cut_at is not None and len(payload) > 1:
            data = self._fragmented(payload)
        else:
            data = framed if framed is not None else wire.frame(payload)
        self._waiting.append(data)
        self._queued += len(data)
        if items is not None:
            self._marks.append((self._queued, *items))

    def _fragmented(self, payload: bytes) -> bytes:
        cuts = []
        at = 0
        while (at := at + self._rng.randint(1, self.cut_at or 1)) < len(payload):
            cuts.append(at)
        return wire.fragmented(payload, cuts, b"between" if self.cut_pings else None)

    def flush(self, now_s: float) -> bool:
        """Write what the kernel takes.

        Returns:
            True if the kernel takes no more for now, so that the caller waits for writability.

        Raises:
            OSError: the connection is gone.
        """
        if self.half_open:
            return False
        if self.pace is not None and now_s < self.pace.next_s:
            return False
        try:
            return self._push(now_s)
        finally:
            self._note_written()

    def _push(self, now_s: float) -> bool:
        while self._current or self._waiting:
            if not self._current:
                self._current = memoryview(b"".join(self._waiting))
                self._waiting.clear()
            limit = _CHUNK if self.pace is None else self.pace.chunk
            try:
                taken = self.sock.send(self._current[:limit])
            except BlockingIOError:
                return True
            self._current = self._current[taken:]
            self._taken += taken
            if self.pace is not None:
                self.pace.next_s = now_s + self.pace.every_s
                return False
        return False

    def _note_written(self) -> None:
        while self._marks and self._marks[0][0] <= self._taken:
            _, first, last = self._marks.popleft()
            if self.written and self.written[-1][1] + 1 == first:
                self.written[-1] = (self.written[-1][0], last)
            else:
                self.written.append((first, last))

    def abort(self) -> None:
        """End with a TCP reset."""
        # The receiver may already have reset the connection: there is nothing left to abort then.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.over = True

    def finish(self) -> None:
        """End with a TCP FIN, without a websocket close frame; what is queued is dropped."""
        self.part()
        self.sock.close()

    def part(self) -> None:
        """Say with a TCP FIN that nothing follows; what the client still says can be read."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.over = True

    def goodbye(self, code: int, reason: str = "") -> None:
        """Queue a websocket close frame; the connection ends when it is written."""
        self.raw(wire.frame(struct.pack("!H", code) + reason.encode(), wire.CLOSE))
        self.ending = True

    def tear(self) -> None:
        """Write half a frame, then end with a FIN."""
        with contextlib.suppress(OSError):
            self.sock.send(wire.frame(b"x" * 64)[:33])
        self.finish()
