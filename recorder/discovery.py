"""The process that knows what venues list: asks them now and then, keeps their lists on disk and in the database.

Recorders resolve patterns by the lists on disk, and need neither this process nor the database to go on.
"""

import random
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from recorder import postgres
from recorder.backoff import Backoff
from recorder.catalog import Catalog, CatalogFile, fetch_catalog
from recorder.clock import Clock, SystemClock
from recorder.errors import ConfigError, RestError, StoreError
from recorder.health import HealthFile
from recorder.log import get_logger
from recorder.rest import RestClient, client_of
from recorder.service import Crew, Part
from recorder.settings import Settings
from recorder.store_instrument import Changes, store_listings
from recorder.venues import venue_class
from recorder.venues.base import Listing, Venue

_RETRY_CAP_S = 300.0
_LATE_ROUNDS = 3  # without a good round for so many intervals a person should look

_log = get_logger(__name__)


class Source(NamedTuple):
    """Where one list comes from and is kept."""

    venue: Venue
    client: RestClient
    file: CatalogFile


class Discovery:
    """Keeps the list of one venue fresh.

    Args:
        name: The venue, as the table names it.
        sources: Its lists; more than one where it is recorded in two dialects, whose lists differ.
        store: Brings a list into the database.
        interval_s: Between two rounds.
        clock: Tells the age of a list.
        rng: Of the pauses after a failure.
    """

    def __init__(
        self,
        name: str,
        sources: Sequence[Source],
        store: Callable[[str, list[Listing]], Changes],
        interval_s: float,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.name = name
        self.listed = 0
        self.rounds = 0
        self.problem = ""  # what is wrong now
        self._sources = sources
        self._store = store
        self._interval_s = interval_s
        self._clock = clock
        self._backoff = Backoff(5.0, min(_RETRY_CAP_S, interval_s), rng)
        self._good_s = clock.monotonic_s()

    @property
    def late(self) -> bool:
        """Whether it has failed for so long that the list cannot be trusted any more."""
        limit_s = max(_LATE_ROUNDS * self._interval_s, _RETRY_CAP_S)
        return bool(self.problem) and self._clock.monotonic_s() - self._good_s > limit_s

    def run(self, stop: threading.Event) -> None:
        """A part: rounds until told to stop."""
        while not stop.is_set():
            stop.wait(self.round(stop))

    def round(self, stop: threading.Event) -> float:
        """Fetch what is old, and store all of it.

        Returns:
            Seconds until the next.
        """
        try:
            catalogs = [self._fresh(source) for source in self._sources]
            listings = merge([catalog.listings for catalog in catalogs])
            changes = self._store(self.name, listings)
        except (RestError, StoreError, ConfigError) as error:
            if not stop.is_set() and str(error) != self.problem:
                self.problem = str(error)
                _log.warning("discovery.failed", venue=self.name, error=self.problem)
            return self._backoff.next_s()
        self._backoff.reset()
        self._good_s = self._clock.monotonic_s()
        self.problem, self.listed, self.rounds = "", len(listings), self.rounds + 1
        _log.info("discovery.done", venue=self.name, listed=len(listings), **changes._asdict())
        oldest_s = max(catalog.age_s(self._clock.wall_ns()) for catalog in catalogs)
        return max(1.0, self._interval_s - oldest_s)

    def _fresh(self, source: Source) -> Catalog:
        """A list younger than the interval: a restart, or a database that is away, asks the venue nothing anew."""
        kept = source.file.read()
        if kept is not None and kept.age_s(self._clock.wall_ns()) < self._interval_s:
            return kept
        return fetch_catalog(source.client, source.venue, source.file, self._clock)


def merge(lists: Sequence[Sequence[Listing]]) -> list[Listing]:
    """One list of all, each symbol as the first list has it."""
    found: dict[str, Listing] = {}
    for listings in lists:
        for listing in listings:
            found.setdefault(listing.symbol, listing)
    return list(found.values())


def report(discoveries: Sequence[Discovery], settings: Settings) -> Part:
    """A part that writes health once a second."""
    health = HealthFile(settings.home, "discovery")

    def body(stop: threading.Event) -> None:
        while not stop.wait(1.0):
            problems = "; ".join(f"{one.name}: {one.problem}" for one in discoveries if one.problem)
            venues = {
                one.name: {"listed": one.listed, "rounds": one.rounds, "problem": one.problem} for one in discoveries
            }
            late = any(one.late for one in discoveries)
            health.write("degraded" if late else "live", problems, {"venues": venues})
        health.write("stopping")

    return body


def main(settings: Settings) -> int:
    """Keep the lists of all enabled venues until told to stop.

    Raises:
        ConfigError: no venue is enabled, or an unknown one.
    """
    crew = Crew()
    clock = SystemClock()
    sources: dict[str, list[Source]] = {}
    for key, own in settings.venues.items():
        if own.enabled:
            venue = venue_class(key)()
            client = client_of(venue, own.rest_url, settings.websocket.user_agent, crew.stop)
            sources.setdefault(venue.name, []).append(
                Source(venue, client, CatalogFile(settings.home, key, client.url))
            )
    if not sources:
        raise ConfigError(f"{settings.file} enables no venue: there is nothing to discover")

    def store(name: str, listings: list[Listing]) -> Changes:
        return store_listings(postgres.database_url(settings), name, listings)

    discoveries = [
        Discovery(name, own_sources, store, settings.discovery.interval_s, clock, random.Random())
        for name, own_sources in sources.items()
    ]
    crew.listen()
    crew.add("health", report(discoveries, settings))
    for one in discoveries:
        crew.add(f"discovery.{one.name}", one.run)
    return crew.wait(10.0)
