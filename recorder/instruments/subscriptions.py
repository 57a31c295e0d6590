"""Follows the subscriptions of a recorder: from Postgres while it is available, else from a file.

The table `subscription` decides. A trigger notifies, so that a change takes effect within a second and no other stream
is disturbed. The last streams and subscriptions are kept on disk, so that a recorder starts without a database, and so
that a table without any row of the venue gets the same rows again: the database is new, or somebody emptied it. Before
the first answer of any database the selectors of the settings apply, and they fill the empty table. Patterns are stored
as they are; they are resolved against the current listing of the venue, and again when that listing changes.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from recorder.backoff import Backoff
from recorder.errors import ConfigError, StoreUnavailable
from recorder.events import Stream
from recorder.instruments.catalog import Catalog
from recorder.instruments.patterns import SymbolSelector, Wanted, resolve_streams
from recorder.instruments.subscription_store import SubscriptionFeed
from recorder.process import files
from recorder.process.log import get_logger

_REREAD_S = 60.0  # limits the delay of a change whose notification was lost
_WAIT_S = 0.5

_log = get_logger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """The content of the table when it was read last, and the streams that it selected."""

    streams: tuple[Stream, ...]
    wanted: Wanted | None = None  # None in a file of an earlier version


class Cache:
    """The last streams and subscriptions, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> tuple[Stream, ...] | None:
        """Return the last streams; None before the first write, and when the file is invalid."""
        kept = self.kept()
        return None if kept is None else kept.streams

    def kept(self) -> Kept | None:
        """Return the last content of the table; None before the first write, and when the file is invalid."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=Kept | tuple[Stream, ...])
            return kept if isinstance(kept, Kept) else Kept(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("subscriptions.cache_unreadable", path=str(self._path), error=str(error))
            return None

    def last_wanted(self) -> Wanted | None:
        """Return the last content of the table, or the streams it had; None where nothing is known of it."""
        kept = self.kept()
        if kept is None:
            return None
        wanted = kept.wanted
        if wanted is None:
            wanted = Wanted(tuple(SymbolSelector(stream.symbol, (stream.channel,)) for stream in kept.streams))
        return wanted if wanted.rows else None

    def followed(self) -> frozenset[str]:
        """Return the symbols that the poller chose, and no person."""
        kept = self.kept()
        selectors = () if kept is None or kept.wanted is None else kept.wanted.selectors
        by_hand = {selector.symbol for selector in selectors if selector.origin != "poller"}
        return frozenset(selector.symbol for selector in selectors) - by_hand

    def write(self, streams: Iterable[Stream], wanted: Wanted | None = None) -> None:
        """Replace the streams, whose order is kept, and the subscriptions."""
        files.make_home(self._path.parent)
        files.write(self._path, msgspec.json.encode(Kept(tuple(streams), wanted)))


def follow(
    url: Callable[[], str],
    venue: str,
    first: Sequence[SymbolSelector],
    cache: Cache,
    catalog: Callable[[], Catalog | None],
    apply: Callable[[Sequence[Stream]], None],
) -> Callable[[threading.Event], None]:
    """Return a part that keeps the streams of a recorder as Postgres has them.

    Args:
        url: Returns the address of the database, which may not be known yet.
        venue: Name of the venue.
        first: Selectors that apply until a table was read for the first time, and that fill it if it has no row of the
            venue. Later the rows that were read last do that.
        cache: Receives the streams after each change.
        catalog: Returns the listing of the venue; called when there are patterns. The same object means no change.
        apply: Receives the streams after each change, highest priority first.
    """

    def body(stop: threading.Event) -> None:
        backoff = Backoff(0.5, 15.0, random.Random())
        settling = _Settling(venue, cache, catalog, apply)
        if settling.streams is None:
            settling.settle(Wanted(tuple(first)), of_table=False)
        while not stop.is_set():
            try:
                with SubscriptionFeed(url(), venue) as feed:
                    while not stop.is_set():
                        wanted = feed.wanted()
                        if wanted is None or not wanted.by_hand.rows:
                            wanted = _seed(feed, venue, wanted, cache.last_wanted() or Wanted(tuple(first)))
                        settling.settle(wanted)
                        backoff.reset()
                        feed.wait(stop, _WAIT_S, _REREAD_S)
            except (StoreUnavailable, ConfigError) as error:
                # Recording does not need the table, so it continues with the known streams.
                _log.debug("subscriptions.waiting", venue=venue, error=str(error))
                settling.settle_again()
                stop.wait(backoff.next_s())

    return body


def _seed(feed: SubscriptionFeed, venue: str, stored: Wanted | None, known: Wanted) -> Wanted:
    """Fill a table that has no row that a person keeps, and return its content.

    Args:
        feed: The table.
        venue: Name of the venue.
        stored: Its content: the poller may have been there first. None: no row of the venue.
        known: What the table had before, or the settings.
    """
    missing = known if stored is None else known.by_hand
    if missing.rows:
        _log.info("subscriptions.seeded", venue=venue, rows=missing.rows)
        feed.seed(missing)
    if stored is None:
        return known
    return Wanted((*missing.selectors, *stored.selectors), stored.ended | missing.ended)


class _Settling:
    """Resolves selectors into streams, and applies the streams when they change."""

    def __init__(
        self,
        venue: str,
        cache: Cache,
        catalog: Callable[[], Catalog | None],
        apply: Callable[[Sequence[Stream]], None],
    ) -> None:
        self.streams = cache.read()
        self._venue = venue
        self._cache = cache
        self._catalog = catalog
        self._apply = apply
        self._cached: tuple[tuple[Stream, ...], Wanted | None] | None = None
        self._wanted: Wanted | None = None
        self._of_table = False
        self._resolved: tuple[Wanted, Catalog | None] | None = None  # inputs of the last resolution

    def settle_again(self) -> None:
        """Resolve the same selectors again, because the listing may have changed."""
        if self._wanted is not None:
            self.settle(self._wanted, of_table=self._of_table)

    def settle(self, wanted: Wanted, *, of_table: bool = True) -> None:
        """Resolve the streams, and apply them if they changed.

        Args:
            wanted: Selectors of the venue.
            of_table: Whether they come from the table. Others are not kept for the next start.
        """
        self._wanted, self._of_table = wanted, of_table
        found = self._catalog() if wanted.needs_listings else None
        if self._resolved is not None and self._resolved[0] == wanted and self._resolved[1] is found:
            self._keep()
            return
        self._resolved = wanted, found
        held = {stream.symbol for stream in self.streams or ()}
        resolution = resolve_streams(wanted, found.listings if found else [], held)
        streams = resolution.streams
        if wanted.needs_listings and found is None:
            # Without a listing patterns cannot be resolved, so their last streams continue.
            before = (stream for stream in self.streams or () if stream not in wanted.ended)
            streams = tuple(dict.fromkeys([*streams, *before]))
        if resolution.unmatched or (found is not None and resolution.unlisted):
            _log.warning(
                "subscriptions.unmatched", venue=self._venue, patterns=",".join(resolution.unmatched),
                unlisted=",".join(resolution.unlisted) if found else "",
            )  # fmt: skip
        if streams != self.streams:
            _log.info("subscriptions.changed", venue=self._venue, streams=len(streams))
            self.streams = streams
            self._apply(streams)
        self._keep()

    def _keep(self) -> None:
        if not self._of_table or self.streams is None or (self.streams, self._wanted) == self._cached:
            return
        try:
            self._cache.write(self.streams, self._wanted)
        except OSError as error:  # a full disk must not end the recorder
            _log.warning("subscriptions.not_kept", venue=self._venue, error=str(error))
        else:
            self._cached = self.streams, self._wanted
