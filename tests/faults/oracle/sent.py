"""What the fake venues wrote to whom."""

import itertools
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

Levels = list[tuple[float, float]]


@dataclass(slots=True)
class Item:
    """One trade, quote or book message."""

    number: int  # unique in the log
    venue: str
    symbol: str
    channel: str  # trade, quote, book
    kind: str  # of a book: s snapshot, d delta; else empty
    key: float  # identifies it among the stored rows of its stream: the trade id, or the size with the number
    sequence: int | None  # trade id or update id, where the protocol has one
    at_us: int  # when it was made, by the clock of this machine
    event_us: int | None  # the venue's time, as it stands in the message
    price: float | None = None
    size: float | None = None
    side: str | None = None  # of the taker: b, s
    ask: float | None = None
    ask_size: float | None = None
    bids: Levels = field(default_factory=list)
    asks: Levels = field(default_factory=list)
    readable: bool = True  # False: the frame was spoiled on its way, so that it cannot be stored


@dataclass(slots=True)
class Connection:
    """One connection, from the venue's side."""

    number: int
    venue: str
    opened_us: int
    closed_us: int | None = None


@dataclass(slots=True)
class Delivery:
    """One item written to one connection; the list of deliveries is in the order of writing."""

    item: int
    connection: int


class SentLog:
    """Everything that all fake venues sent. Fakes write on their thread, the checker reads a copy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self.items: dict[int, Item] = {}
        self.deliveries: list[Delivery] = []
        self.connections: dict[int, Connection] = {}
        self.depth: dict[str, list[tuple[int, Levels, Levels]]] = {}  # by symbol: every update with its last id

    def number(self) -> int:
        """Return a number that no other message has."""
        return next(self._numbers)

    def add(self, item: Item) -> Item:
        """Note that a venue made an item."""
        with self._lock:
            self.items[item.number] = item
        return item

    def opened(self, venue: str) -> Connection:
        """Note that a connection was opened."""
        with self._lock:
            connection = Connection(len(self.connections) + 1, venue, now_us())
            self.connections[connection.number] = connection
        return connection

    def delivered(self, items: Iterable[Item], connection: Connection) -> None:
        """Note that items were written to a connection."""
        with self._lock:
            self.deliveries += [Delivery(item.number, connection.number) for item in items]

    def copy(self) -> tuple[list[Item], list[Delivery], list[Connection]]:
        """Return all that was noted so far."""
        with self._lock:
            return list(self.items.values()), list(self.deliveries), list(self.connections.values())


def now_us() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


def size_of(number: int) -> str:
    """Return a number as the text of a size; later numbers give larger sizes."""
    return f"{number / 10_000:.8f}"


def rfc3339(us: int) -> str:
    """Return an instant as RFC 3339 text with microseconds, UTC."""
    seconds, rest = divmod(us, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:06d}Z"
