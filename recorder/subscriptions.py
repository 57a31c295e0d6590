"""What a recorder shall record: from Postgres while it is there, from a file when it is not.

The table `subscription` decides; a trigger notifies, so a change is followed within a second and no other
stream is disturbed. The last answer is kept on disk, so a recorder starts without a database. The very first
answer is what the settings list, and it fills the table.
"""

import os
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from recorder.backoff import Backoff
from recorder.errors import ConfigError, StoreUnavailable
from recorder.events import Stream
from recorder.log import get_logger
from recorder.store_subscription import SubscriptionFeed

_LOOK_AGAIN_S = 60.0  # a lost notification is made good after this long
_WAIT_S = 0.5

_log = get_logger(__name__)


class Cache:
    """The last answer, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Stream] | None:
        """The streams of the last answer; None before the first, or where the file is of no use."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Stream])
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("subscriptions.cache_unreadable", path=str(self._path), error=str(error))
            return None

    def write(self, streams: Iterable[Stream]) -> None:
        """Replace the answer."""
        temporary = self._path.with_suffix(f".{os.getpid()}.new")  # several processes may record one venue
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(sorted(streams, key=lambda stream: (stream.symbol, stream.channel))))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)


def follow(
    url: Callable[[], str],
    venue: str,
    first: Iterable[Stream],
    cache: Cache,
    apply: Callable[[frozenset[Stream]], None],
) -> Callable[[threading.Event], None]:
    """A part that keeps a recorder's streams as Postgres says.

    Args:
        url: Gives the database's address; it may not be known yet.
        venue: Whose subscriptions.
        first: Fills the table where it has nothing of this venue.
        cache: Gets every answer.
        apply: Told of every answer that differs from the one before.
    """
    first = tuple(first)

    def body(stop: threading.Event) -> None:
        backoff = Backoff(0.5, 15.0, random.Random())
        known: frozenset[Stream] | None = None
        while not stop.is_set():
            try:
                with SubscriptionFeed(url(), venue) as feed:
                    feed.seed(first)
                    while not stop.is_set():
                        answer = feed.streams()
                        backoff.reset()
                        if answer != known:
                            _log.info("subscriptions.changed", venue=venue, streams=len(answer))
                            cache.write(answer)
                            apply(answer)
                            known = answer
                        feed.wait(stop, _WAIT_S, _LOOK_AGAIN_S)
            except (StoreUnavailable, ConfigError) as error:
                # Recording does not need the table: go on with what is known, and say so quietly.
                _log.debug("subscriptions.waiting", venue=venue, error=str(error))
                stop.wait(backoff.next_s())

    return body
