"""A Binance book, and the messages that it is made of."""

from collections import deque

import msgspec

from recorder.events import Book, Levels
from recorder.venues.orderbook import Side
from recorder.venues.wire import Amount, Int64

MAX_HELD = 6000  # deltas kept while a snapshot is requested: ten minutes of a busy symbol
MAX_PASSED = 1000  # deltas kept that a book may contain already
QUIET_NS = 10**9  # without a delta between two answers this far apart, no delta is on its way


class Depth(msgspec.Struct, gc=False):
    """A delta: absolute sizes, with the first (U) and the last (u) of its update ids."""

    E: Int64
    s: str
    U: Int64
    u: Int64
    b: list[tuple[Amount, Amount]]
    a: list[tuple[Amount, Amount]]


class Snapshot(msgspec.Struct, rename="camel", gc=False):
    """A book as REST answers it."""

    last_update_id: Int64
    bids: list[tuple[Amount, Amount]]
    asks: list[tuple[Amount, Amount]]


class BinanceBook:
    """A book that is proved up to one update id.

    Attributes:
        last_id: That id.
        time: `E` of the last delta applied to it; None before the first.
        received_ns: Receipt of its snapshot.
    """

    __slots__ = ("_passed", "_passed_at", "asks", "bids", "last_id", "received_ns", "time")

    def __init__(self, last_id: int, bids: Levels, asks: Levels, received_ns: int) -> None:
        self.last_id = last_id
        self.bids = Side(bids)
        self.asks = Side(asks)
        self.received_ns = received_ns
        self.time: int | None = None
        self._passed: list[tuple[Depth, Book]] = []  # deltas at or below the last id since it last rose
        self._passed_at = last_id

    @property
    def crossed(self) -> bool:
        """Whether its best bid is at or above its best ask."""
        bids, asks = self.bids.prices, self.asks.prices
        return bool(bids and asks and bids[-1] >= asks[0])

    def apply(self, delta: Depth) -> None:
        """Set the levels of a delta."""
        self.bids.apply(delta.b)
        self.asks.apply(delta.a)
        self.last_id = delta.u
        self.time = delta.E

    def passed(self, delta: Depth, row: Book) -> list[tuple[Depth, Book]]:
        """Keep a delta whose ids the book already contains, and return all of them since the last id rose."""
        if self._passed_at != self.last_id:
            self._passed_at = self.last_id
            self._passed = []
        if len(self._passed) < MAX_PASSED:
            self._passed.append((delta, row))
        return self._passed

    def row(self, symbol: str, time_ns: int | None, ts_recv_ns: int) -> Book:
        """Return the book as a snapshot row, best prices first."""
        bids, asks = self.bids, self.asks
        return Book(
            symbol, time_ns, ts_recv_ns, True, self.last_id,
            [(price, bids.values[price]) for price in reversed(bids.prices)],
            [(price, asks.values[price]) for price in asks.prices],
        )  # fmt: skip


class Join:
    """What is kept of a symbol while a snapshot of its book is requested: the latest deltas, without a break.

    Attributes:
        deltas: Since the request, or since the last missing delta.
        silent: Whether no delta came since an answer that was ahead.
    """

    __slots__ = ("_after", "_ahead", "_asked_ns", "deltas", "silent")

    def __init__(self, after: int) -> None:
        """
        Args:
            after: Id of the last update before the first delta that may come.
        """
        self.deltas: deque[Depth] = deque(maxlen=MAX_HELD)
        self._after = after
        self._ahead: BinanceBook | None = None  # an answer newer than all deltas
        self.silent = True
        self._asked_ns = 0  # when the first answer ahead came in this silence

    @property
    def _last(self) -> int:
        return self.deltas[-1].u if self.deltas else self._after

    def add(self, m: Depth) -> BinanceBook | None:
        """Keep a delta, and return the book if it reaches an answer that was ahead."""
        self.silent = False
        deltas = self.deltas
        if deltas and deltas[-1].u + 1 != m.U:
            if m.u <= deltas[-1].u and m.E <= deltas[-1].E:
                return None  # a repeat, or overtaken
            deltas.clear()  # deltas before a missing one can be joined to nothing
        deltas.append(m)
        ahead = self._ahead
        if ahead is None or ahead.last_id > m.u:
            return None
        self._ahead = None
        return None if self.precedes(ahead) else self._joined(ahead)

    def precedes(self, answer: BinanceBook) -> bool:
        """Return whether updates between an answer and the first delta are missing."""
        return answer.last_id < (self.deltas[0].U - 1 if self.deltas else self._after)

    def join(self, answer: BinanceBook) -> BinanceBook | None:
        """Return the book of an answer that does not precede the deltas; None while the deltas have not reached it.

        Only the deltas prove that the answer counts its updates as they do. Of several answers ahead of them the oldest
        is reached first, and one of another count of updates may never be.
        """
        if answer.last_id <= self._last:
            return self._joined(answer)
        ahead = self._ahead
        if ahead is not None and self.silent and answer.received_ns - self._asked_ns >= QUIET_NS:
            return answer  # nothing was sent between two answers, so nothing contradicts the later one
        if ahead is None or not self.silent:
            self.silent, self._asked_ns = True, answer.received_ns
        if ahead is None or answer.last_id < ahead.last_id:
            self._ahead = answer
        return None

    def _joined(self, answer: BinanceBook) -> BinanceBook:
        last_id = answer.last_id
        for delta in self.deltas:
            if delta.u > last_id:
                answer.apply(delta)
        return answer
