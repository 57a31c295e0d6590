"""One connection to the simulated Bitfinex: its flags, its sequence, its chanIds."""

from recorder.simulator.connection import Connection
from recorder.simulator.venue import Topic

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 1 << 15, 1 << 16, 1 << 17


class Peer:
    """The state of a connection: its flags, its sequence, its chanIds."""

    __slots__ = ("chans", "connection", "flags", "idle_since_s", "next_hb_s", "numbers", "sequence", "waiting")

    def __init__(self, connection: Connection, now_s: float) -> None:
        self.connection = connection
        self.flags = 0
        self.sequence = 0
        self.chans: dict[Topic, int] = {}
        self.waiting: dict[Topic, int] = {}  # requested and not yet answered
        self.numbers: set[int] = set()  # chanIds ever used
        self.next_hb_s: dict[Topic, float] = {}
        self.idle_since_s = now_s

    def array(self, channel_id: int, payload: bytes, ms: int) -> bytes:
        """Return a frame of a channel, with the sequence and the time that the flags request."""
        tail = b""
        if self.flags & SEQ_ALL:
            self.sequence += 1
            tail = b",%d" % self.sequence
        if self.flags & TIMESTAMP:
            tail += b",%d" % ms
        return b"[%d,%b%b]" % (channel_id, payload, tail)

    def heartbeats(self, now_s: float, every_s: float, ms: int) -> None:
        """Send the heartbeats whose time has come; the first follows an interval after the subscription."""
        for topic, channel_id in self.chans.items():
            due_s = self.next_hb_s.setdefault(topic, now_s + every_s)
            if now_s >= due_s:
                self.next_hb_s[topic] = now_s + every_s
                self.connection.text(self.array(channel_id, b'"hb"', ms))
