"""One client of a simulated venue: its socket, the bytes queued for it, and the items written to it."""

import contextlib
import random
import socket
import struct
from collections import deque

import msgspec

from recorder.simulator import wire

_CHUNK = 1 << 20


class Pace(msgspec.Struct):
    """The pace of a slow sender: at most `chunk` bytes every `every_s`."""

    chunk: int
    every_s: float
    next_s: float = 0.0


class Connection:
    """A socket and its queue of bytes. Marks in the queue give the byte at which the frame of an item ends."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.received = bytearray()
        self.parts: list[bytes] = []
        self.websocket = False
        self.agent = ""
        self.opened_s = 0.0
        self.half_open = False  # no longer read or written, yet not closed
        self.ending = False  # to be closed once the queue is empty
        self.over = False
        self.pace: Pace | None = None
        self.cut_at: int | None = None  # largest fragment of a message; None does not fragment
        self.cut_pings = False  # send a ping between the fragments
        self.written: list[tuple[int, int]] = []  # ranges of items that are written completely, not yet logged
        self.controls = 0  # pings and pongs of the client so far
        self.pong = b""  # payload of its last pong
        self._rng = random.Random(number)
        self._waiting: list[bytes] = []
        self._current = memoryview(b"")
        self._queued = 0  # bytes ever queued
        self._written = 0  # bytes that the kernel accepted
        self._marks: deque[tuple[int, int, int]] = deque()  # end of the frame, first and last item in it

    @property
    def pending(self) -> int:
        """Return the number of bytes that the kernel has not accepted yet."""
        return self._queued - self._written

    @property
    def queued(self) -> int:
        """Return the number of bytes ever queued."""
        return self._queued

    @property
    def unsent(self) -> int:
        """Return the number of items queued and not written completely."""
        return sum(last - first + 1 for _, first, last in self._marks)

    def raw(self, data: bytes) -> None:
        """Queue bytes without framing them."""
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
        """Write as much as the kernel accepts.

        Returns:
            True if the kernel accepts no more for now, so that the caller waits for writability.

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
                count = self.sock.send(self._current[:limit])
            except BlockingIOError:
                return True
            self._current = self._current[count:]
            self._written += count
            if self.pace is not None:
                self.pace.next_s = now_s + self.pace.every_s
                return False
        return False

    def _note_written(self) -> None:
        while self._marks and self._marks[0][0] <= self._written:
            _, first, last = self._marks.popleft()
            if self.written and self.written[-1][1] + 1 == first:
                self.written[-1] = (self.written[-1][0], last)
            else:
                self.written.append((first, last))

    def abort(self) -> None:
        """End with a TCP reset."""
        # The receiver may have reset the connection already; then nothing is left to abort.
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
        self.over = True

    def finish(self) -> None:
        """End with a TCP FIN, without a websocket close frame; the queue is dropped."""
        self.part()
        self.sock.close()

    def part(self) -> None:
        """End our direction with a TCP FIN; the client can still send."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.over = True

    def goodbye(self, code: int, reason: str = "") -> None:
        """Queue a websocket close frame; the connection ends once it is written."""
        self.raw(wire.frame(struct.pack("!H", code) + reason.encode(), wire.CLOSE))
        self.ending = True

    def tear(self) -> None:
        """Write half a frame, then end with a FIN."""
        with contextlib.suppress(OSError):
            self.sock.send(wire.frame(b"x" * 64)[:33])
        self.finish()
