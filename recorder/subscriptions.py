"""What a recorder shall record: from Postgres while it is there, from a file when it is not.

The table `subscription` decides; a trigger notifies, so a change is followed within a second and no other
stream is disturbed. The last answer is kept on disk, so a recorder starts without a database. The very first
answer is what the settings list, and it fills the table. Patterns stand in the table as they are; what they come to
is found by the venue's list of now, and found again when that changes.
"""

import os
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from recorder.backoff import Backoff
from recorder.catalog import Catalog
from recorder.errors import ConfigError, StoreUnavailable
from recorder.events import Stream
from recorder.log import get_logger
from recorder.patterns import Wanted, Wish, resolve_streams
from recorder.store_subscription import SubscriptionFeed

_LOOK_AGAIN_S = 60.0  # a lost notification is made good after this long
_WAIT_S = 0.5

_log = get_logger(__name__)


class Cache:
    """The last answer, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Stream, ...] | None:
        """The streams of the last answer; None before the first, or where the file is of no use."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=tuple[Stream, ...])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("subscriptions.cache_unreadable", path=str(self._path), error=str(error))
            return None

    def write(self, streams: Iterable[Stream]) -> None:
        """Replace the answer; the order is kept."""
        temporary = self._path.with_suffix(f".{os.getpid()}.new")  # several processes may record one venue
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(list(streams)))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


def follow(
    url: Callable[[], str],
    venue: str,
    first: Sequence[Wish],
    cache: Cache,
    catalog: Callable[[], Catalog | None],
    apply: Callable[[Sequence[Stream]], None],
) -> Callable[[threading.Event], None]:
    """A part that keeps a recorder's streams as Postgres says.

    Args:
        url: Gives the database's address; it may not be known yet.
        venue: Whose subscriptions.
        first: Fills the table where it has nothing of this venue, and holds until it can be read for the first time.
        cache: Gets every answer.
        catalog: What the venue lists; asked where there are patterns. The same object means that nothing changed.
        apply: Told of every answer that differs from the one before, the most wanted first.
    """

    def body(stop: threading.Event) -> None:
        backoff = Backoff(0.5, 15.0, random.Random())
        settling = _Settling(venue, cache, catalog, apply)
        if settling.streams is None:
            settling.settle(Wanted(tuple(first)), of_table=False)
        while not stop.is_set():
            try:
                with SubscriptionFeed(url(), venue) as feed:
                    feed.seed(first)
                    while not stop.is_set():
                        settling.settle(feed.wanted())
                        backoff.reset()
                        feed.wait(stop, _WAIT_S, _LOOK_AGAIN_S)
            except (StoreUnavailable, ConfigError) as error:
                # Recording does not need the table: go on with what is known, and say so quietly.
                _log.debug("subscriptions.waiting", venue=venue, error=str(error))
                settling.settle_again()
                stop.wait(backoff.next_s())

    return body


class _Settling:
    """Turns what is wanted into streams, and tells when these change."""

    def __init__(
        self,
        venue: str,
        cache: Cache,
        catalog: Callable[[], Catalog | None],
        apply: Callable[[Sequence[Stream]], None],
    ) -> None:
        self.streams = cache.read()  # the last answer
        self._venue = venue
        self._cache = cache
        self._catalog = catalog
        self._apply = apply
        self._cached = self.streams
        self._wanted: Wanted | None = None
        self._of_table = False
        self._by: tuple[Wanted, Catalog | None] | None = None  # what the last answer was found by

    def settle_again(self) -> None:
        """What is wanted is not known anew, but what the venue lists may be."""
        if self._wanted is not None:
            self.settle(self._wanted, of_table=self._of_table)

    def settle(self, wanted: Wanted, *, of_table: bool = True) -> None:
        """Find the streams, and apply them where they are others than before.

        Args:
            wanted: By whomever.
            of_table: Whether the table says so; else it is not kept for the next start.
        """
        self._wanted, self._of_table = wanted, of_table
        found = self._catalog() if wanted.needs_listings else None
        if self._by is not None and self._by[0] == wanted and self._by[1] is found:
            self._keep()
            return
        self._by = wanted, found
        held = {stream.symbol for stream in self.streams or ()}
        answer = resolve_streams(wanted, found.listings if found else [], held)
        streams = answer.streams
        if wanted.needs_listings and found is None:
            # Nobody can say what patterns stand for now: what they stood for goes on.
            before = (stream for stream in self.streams or () if stream not in wanted.ended)
            streams = tuple(dict.fromkeys([*streams, *before]))
        if answer.unmatched or (found is not None and answer.unlisted):
            _log.warning(
                "subscriptions.unmatched", venue=self._venue, patterns=",".join(answer.unmatched),
                unlisted=",".join(answer.unlisted) if found else "",
            )  # fmt: skip
        if streams != self.streams:
            _log.info("subscriptions.changed", venue=self._venue, streams=len(streams))
            self.streams = streams
            self._apply(streams)
        self._keep()

    def _keep(self) -> None:
        if not self._of_table or self.streams is None or self.streams == self._cached:
            return
        try:
            self._cache.write(self.streams)
        except OSError as error:  # a full disk must not end the recorder that says so
            _log.warning("subscriptions.not_kept", venue=self._venue, error=str(error))
        else:
            self._cached = self.streams
