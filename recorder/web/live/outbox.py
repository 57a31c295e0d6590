"""What one client is still to be sent. Pure: the hub fills it, the client's own task empties it.

Nothing queues behind a slow client. Answers and events are few and bounded; of ticks there is one slot, into which a
later tick merges: of each stream the latest value wins.
"""

from collections import deque
from collections.abc import Hashable, Mapping

from recorder.web.live import protocol
from recorder.web.live.protocol import Topic

MOST_REPLIES = 64
"""Answers that wait; more only has a client that asks and does not read."""
MOST_EVENTS = 1_000
"""Gaps and alerts that wait, each in its latest state."""

ItemKey = tuple[Topic, int]
"""A topic and, of bars, the start of the bar: each is a value of its own."""


class TooSlow(Exception):
    """A client does not read what it asked for."""


class ClientOutbox:
    """The messages that wait for one client."""

    def __init__(self) -> None:
        self.topics: frozenset[Topic] = frozenset()
        self._replies: deque[str] = deque()
        self._events: dict[Hashable, str] = {}
        self._head = ""
        self._items: dict[ItemKey, str] = {}
        self._whole: str | None = None  # the tick, ready to be sent, where no earlier one was merged into it

    @property
    def waiting(self) -> bool:
        """Whether there is something to send."""
        return bool(self._replies or self._events or self._head)

    def reply(self, frame: str) -> None:
        """Add an answer, which keeps its place in the order.

        Raises:
            TooSlow: there are too many already.
        """
        if len(self._replies) >= MOST_REPLIES:
            raise TooSlow
        self._replies.append(frame)

    def event(self, key: Hashable, frame: str) -> None:
        """Add a gap, an alert or a status; a later one with the same key replaces one that still waits.

        Raises:
            TooSlow: there are too many already.
        """
        if key not in self._events and len(self._events) >= MOST_EVENTS:
            raise TooSlow
        self._events.pop(key, None)
        self._events[key] = frame

    def tick(self, head: str, items: Mapping[ItemKey, str], whole: str) -> None:
        """Put a tick into the slot.

        Args:
            head: Its part before the items.
            items: The changed values of the topics of this client.
            whole: The same, ready to be sent; clients with the same topics share it.
        """
        self._whole = None if self._head else whole
        self._head = head
        for key, item in items.items():
            self._items.pop(key, None)
            self._items[key] = item

    def forget(self, gone: frozenset[Topic]) -> None:
        """Leave out what waits of topics that the client does not want any more."""
        for key in [key for key in self._items if key[0] in gone]:
            del self._items[key]
            self._whole = None

    def take(self) -> list[str]:
        """Return and remove what is to be sent now: answers, events, the tick."""
        frames = [*self._replies, *self._events.values()]
        self._replies.clear()
        self._events.clear()
        if self._head:
            frames.append(protocol.tick(self._head, self._items.values()) if self._whole is None else self._whole)
            self._head, self._whole = "", None
            self._items.clear()
        return frames
