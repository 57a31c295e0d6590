"""The hub: who wants what, and what each client gets of a tick. No I/O and no clock; one event loop uses it.

A tick is encoded once. Clients that want the same streams share one frame; nothing is awaited for a client here, so
that one that does not read delays no other.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from recorder.web.live import protocol
from recorder.web.live.outbox import ClientOutbox, ItemKey, TooSlow
from recorder.web.live.protocol import MOST_STREAMS, Refused, Topic


class Limits(NamedTuple):
    """What the hub bounds."""

    clients: int = 2_000
    of_user: int = 5  # sockets of one user
    streams: int = MOST_STREAMS  # of one client
    books: int = 50  # different instruments whose books are rebuilt, of all clients together
    send_s: float = 10.0  # one frame may take so long


class Client:
    """One connection, as the hub sees it.

    Attributes:
        user: Whose it is; empty for a visitor without a login.
        wake: Set when there is something to send, or when the client is to be closed.
        closing: Code and reason with which it is to be closed; None while it is to go on.
    """

    def __init__(self, user: str) -> None:
        self.user = user
        self.outbox = ClientOutbox()
        self.wake = asyncio.Event()
        self.closing: tuple[int, str] | None = None

    def close(self, code: int, reason: str) -> None:
        """Have it closed; the first reason counts."""
        self.closing = self.closing or (code, reason)
        self.wake.set()


_LIMITS = Limits()


class Hub:
    """All clients, and the latest value of everything that one of them wants."""

    def __init__(self, limits: Limits = _LIMITS) -> None:
        self.limits = limits
        self.clients: set[Client] = set()
        self.seq = 0
        self.generation = 0  # of the reading that was published last
        self._current: dict[ItemKey, str] = {}
        self._wanted: Counter[Topic] = Counter()

    def topics(self) -> frozenset[Topic]:
        """Return all that some client wants."""
        return frozenset(self._wanted)

    def join(self, user: str) -> Client:
        """Return a new client.

        Raises:
            Refused: there are too many, of all or of this user.
        """
        if len(self.clients) >= self.limits.clients:
            raise Refused(429, "Too many streams", "this server has no room for another stream; try again later")
        if user and sum(client.user == user for client in self.clients) >= self.limits.of_user:
            raise Refused(
                429, "Too many streams", f"a user has at most {self.limits.of_user} streams; close another one"
            )
        client = Client(user)
        self.clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        """Forget a client."""
        if client in self.clients:
            self.clients.discard(client)
            self._release(client.outbox.topics)
            client.outbox.topics = frozenset()

    def check(self, client: Client, added: Iterable[Topic], about: int) -> None:
        """Check that a client may want more.

        Raises:
            Refused: it has, or all together have, as many as are allowed.
        """
        topics = client.outbox.topics | frozenset(added)
        if len(topics) > self.limits.streams:
            raise Refused(429, "Too many streams", f"a connection has at most {self.limits.streams} streams", about)
        books = {topic for topic in (*self._wanted, *topics) if topic.kind == "book"}
        if len(books) > self.limits.books:
            detail = f"at most {self.limits.books} books are rebuilt at a time; take quotes instead"
            raise Refused(429, "Too many books", detail, about)

    def want(
        self, client: Client, added: Iterable[Topic], about: int, items: Mapping[ItemKey, str], generation: int
    ) -> None:
        """Give a client a snapshot, and from then on what changes.

        Args:
            client: The client.
            added: What it wants in addition.
            about: Number of its message.
            items: The values of these topics now.
            generation: Of the reading that has them; what was published since is newer.
        """
        if client not in self.clients:
            return
        new = frozenset(added)
        self._current.update({key: item for key, item in items.items() if key not in self._current})
        newer = self._of(new, self._current) if self.generation > generation else {}
        for topic in new - client.outbox.topics:
            self._wanted[topic] += 1
        client.outbox.topics |= new
        self._reply(client, protocol.snapshot(about, list({**items, **newer}.values())))

    def unwant(self, client: Client, gone: Iterable[Topic]) -> None:
        """Send a client no more of some topics."""
        removed = frozenset(gone) & client.outbox.topics
        client.outbox.topics -= removed
        client.outbox.forget(removed)
        self._release(removed)

    def refuse(self, client: Client, problem: Refused) -> None:
        """Tell a client why its message is not served."""
        self._reply(client, problem.frame())

    def publish(self, items: Mapping[ItemKey, str], generation: int, ts: datetime, problem: str = "") -> None:
        """Give every client its part of a tick, which may be empty: it shows that the connection lives.

        Args:
            items: What changed, encoded.
            generation: Of the reading that found it.
            ts: Now, UTC.
            problem: Why values may be old; empty where they are not.
        """
        self.seq += 1
        self.generation = max(self.generation, generation)
        for key, item in items.items():
            self._current.pop(key, None)
            self._current[key] = item
        self._forget_old_bars()
        head = protocol.tick_head(self.seq, ts, problem)
        by_topic: dict[Topic, dict[ItemKey, str]] = {}
        for key, item in items.items():
            by_topic.setdefault(key[0], {})[key] = item
        shared: dict[frozenset[Topic], tuple[dict[ItemKey, str], str]] = {}
        for client in self.clients:
            found = shared.get(client.outbox.topics)
            if found is None:
                part: dict[ItemKey, str] = {}
                for topic in client.outbox.topics & by_topic.keys():
                    part.update(by_topic[topic])
                found = shared[client.outbox.topics] = part, protocol.tick(head, part.values())
            client.outbox.tick(head, *found)
            client.wake.set()

    def event(self, topics: Iterable[Topic], key: Hashable, frame: str) -> None:
        """Send an event at once to every client that wants one of these topics.

        Args:
            topics: Such as all gaps, and the gaps of one instrument.
            key: What it is about; a later event about it replaces one that still waits.
            frame: The message.
        """
        about = frozenset(topics)
        for client in self.clients:
            if about & client.outbox.topics:
                try:
                    client.outbox.event(key, frame)
                except TooSlow:
                    client.close(1013, "this client does not read; connect again")
                client.wake.set()

    def _reply(self, client: Client, frame: str) -> None:
        try:
            client.outbox.reply(frame)
        except TooSlow:
            client.close(1013, "this client asks and does not read; connect again")
        client.wake.set()

    def _release(self, topics: Iterable[Topic]) -> None:
        for topic in topics:
            self._wanted[topic] -= 1
            if self._wanted[topic] <= 0:
                del self._wanted[topic]
        for key in [key for key in self._current if key[0] not in self._wanted]:
            del self._current[key]

    def _forget_old_bars(self) -> None:
        newest: dict[Topic, int] = {}
        for topic, start in self._current:
            newest[topic] = max(start, newest.get(topic, start))
        for key in [key for key in self._current if key[1] < newest[key[0]] - key[0].width_s]:
            del self._current[key]

    @staticmethod
    def _of(topics: frozenset[Topic], items: Mapping[ItemKey, str]) -> dict[ItemKey, str]:
        return {key: item for key, item in items.items() if key[0] in topics}
