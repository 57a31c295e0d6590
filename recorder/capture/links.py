"""The links of a recorder: which streams each carries, and the renewal of sessions without a gap."""

import threading
from collections.abc import Callable, Iterable, Sequence

from recorder.capture.link import Link
from recorder.capture.placement import assign_streams
from recorder.events import Stream
from recorder.venues.base import Limits


class Links:
    """The links of a recorder. New streams go where there is room; others stay where they are.

    Attributes:
        max_links: How many connections there may be.
        unplaced: Streams for which no connection has room.
    """

    def __init__(
        self,
        limits: Limits,
        max_links: int,
        make: Callable[[int, Iterable[Stream], Link | None], Link],
        start: Callable[[Link], None],
        on_unplaced: Callable[[Sequence[Stream]], None],
    ) -> None:
        """
        Args:
            limits: Of the venue.
            max_links: How many connections there may be.
            make: Returns a link of that number for these streams, which takes over from another.
            start: Starts the thread of a link.
            on_unplaced: Called with the streams without room whenever they change.
        """
        self.max_links = max_links
        self.unplaced: list[Stream] = []
        self._limits = limits
        self._make = make
        self._start = start
        self._on_unplaced = on_unplaced
        self._lock = threading.Lock()  # a link asks to be renewed from its own thread
        self._links: list[Link] = []

    @property
    def all(self) -> tuple[Link, ...]:
        """Every link, also those that carry nothing now, but none that is being replaced."""
        return tuple(self._links)

    def assign(self, streams: Sequence[Stream]) -> None:
        """Carry exactly these streams, the most important first."""
        with self._lock:
            carried = [link.streams for link in self._links]
            placement = assign_streams(streams, carried, self._limits, self.max_links)
            for link, kept in zip(self._links, placement.links, strict=False):
                if link.streams != kept:
                    link.change(kept)
            for number in range(len(self._links), len(placement.links)):
                link = self._make(number, placement.links[number], None)
                self._links.append(link)
                self._start(link)
            if placement.unplaced != self.unplaced:
                self.unplaced = placement.unplaced
                self._on_unplaced(self.unplaced)

    def renew(self, link: Link) -> None:
        """Start a successor, which takes over the link's streams and then retires it (make before break)."""
        with self._lock:
            if link not in self._links:
                return
            successor = self._make(link.number, link.streams, link)
            self._links[link.number] = successor
            self._start(successor)

    def renew_all(self) -> None:
        """Replace every session by a new one, without a gap."""
        for link in self.all:
            link.supersede()
