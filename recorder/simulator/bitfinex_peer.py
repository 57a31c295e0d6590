"""One connection to the simulated Bitfinex: its flags, its count, its chanIds."""

from recorder.simulator.connection import Connection
from recorder.simulator.venue import Topic

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 1 << 15, 1 << 16, 1 << 17


class Peer:
    """What a connection has: its flags, its count, its chanIds."""

    __slots__ = ("chans", "connection", "flags", "idle_since_s", "next_hb_s", "numbers", "sequence", "waiting")

    def __init__(self, connection: Connection, now_s: float) -> None:
        self.connection = connection
        self.flags = 0
        self.sequence = 0
        self.chans: dict[Topic, int] = {}
        self.waiting: dict[Topic, int] = {}  # asked for, not yet answered
        self.numbers: set[int] = set()  # chanIds ever given
        self.next_hb_s: dict[Topic, float] = {}
        self.idle_since_s = now_s

    def array(self, number_of_it: int, payload: bytes, ms: int) -> bytes:
        """A frame of a channel, with what the flags ask for behind it."""
        tail = b""
        if self.flags & SEQ_ALL:
            self.sequence += 1
            tail = b",%d" % self.sequence
        if self.flags & TIMESTAMP:
            tail += b",%d" % ms
        return b"[%d,%b%b]" % (number_of_it, payload, tail)

    def heartbeats(self, now_s: float, every_s: float, ms: int) -> None:
        """Send those that are due; the first an interval after the subscription."""
        for topic, number_of_it in self.chans.items():
            due_s = self.next_hb_s.setdefault(topic, now_s + every_s)
            if now_s >= due_s:
                self.next_hb_s[topic] = now_s + every_s
                self.connection.text(self.array(number_of_it, b'"hb"', ms))
