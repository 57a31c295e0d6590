"""The job `discovery`: fetches what venues list, and keeps it on disk and in the database.

Recorders resolve patterns against the listings on disk, and need neither this job nor the database. A listing is stored
as a change of table instrument and not through the journal; the answers are journalled as those of every job.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from recorder.clock import Clock
from recorder.errors import ConfigError, RestError, RestUnavailable, StoreError, StoreUnavailable
from recorder.instruments.catalog import Catalog, CatalogFile, fetch_catalog
from recorder.instruments.catalog_store import Changes
from recorder.poller.job import Kept, Outcome, Round
from recorder.process.log import get_logger
from recorder.rest.client import Answer
from recorder.venues.base import Listing, Venue

_FRESH = 0.5
"""A listing younger than this part of the period is not fetched again: not at a restart, nor by a round soon after."""
_WAIT_S = 0.2
_REASON_CHARS = 120

_log = get_logger(__name__)

T = TypeVar("T")

Store = Callable[[str, list[Listing]], Changes]
"""Stores the complete list of a venue."""


class Source(NamedTuple):
    """The origin of one listing, and the file that keeps it."""

    venue: Venue
    service: str
    url: str
    file: CatalogFile


class Discovery:
    """Keeps the listings of all venues current.

    Args:
        venues: The listings of each venue; several where it is recorded in two dialects, whose listings differ.
        store: Stores a listing in the database.
        period_s: Time between two rounds.
        clock: Gives the age of a listing.
    """

    def __init__(self, venues: Mapping[str, Sequence[Source]], store: Store, period_s: float, clock: Clock) -> None:
        self._venues = venues
        self._store = store
        self._period_s = period_s
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Fetch the listings that are old, and store all of them.

        Raises:
            RestUnavailable: some could not be fetched; the others are stored.
            StoreUnavailable: some could not be stored; they are on disk.
        """
        unfetched: list[str] = []
        unstored: list[str] = []
        for name, sources in self._venues.items():
            if round.stop.is_set():
                raise RestUnavailable("the program stops")
            try:
                catalogs = [self._current(round, source) for source in sources]
                listings = merge([catalog.listings for catalog in catalogs])
                changes = waited_for(lambda n=name, rows=listings: self._store(n, rows), round.stop)  # type: ignore[misc]
                _log.info("discovery.done", venue=name, listed=len(listings), **changes._asdict())
            except RestError as error:
                unfetched.append(f"{name}: {str(error)[:_REASON_CHARS]}")
            except (StoreError, ConfigError) as error:
                unstored.append(f"{name}: {str(error)[:_REASON_CHARS]}")
        if unfetched:
            raise RestUnavailable("; ".join(unfetched + unstored))
        if unstored:
            raise StoreUnavailable("; ".join(unstored))
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: a listing has many pages, and the next round fetches it completely."""

    def _current(self, round: Round, source: Source) -> Catalog:
        kept = source.file.read()
        if kept is not None and kept.age_s(self._clock.wall_ns()) < self._period_s * _FRESH:
            return kept
        return fetch_catalog(_Pages(round, source), source.venue, source.file, self._clock)


class _Pages:
    """The requests for one listing within a round."""

    def __init__(self, round: Round, source: Source) -> None:
        self.url = source.url
        self._round = round
        self._service = source.service

    def get(self, path: str) -> Answer:
        kept = self._round.get(self._service, path)
        if not 200 <= kept.status <= 299:
            raise RestUnavailable(f"{self.url}{path} answers HTTP {kept.status}")
        return Answer(kept.status, kept.body)


def merge(lists: Sequence[Sequence[Listing]]) -> list[Listing]:
    """Merge listings. Each symbol is taken from the first listing that has it."""
    found: dict[str, Listing] = {}
    for listings in lists:
        for listing in listings:
            found.setdefault(listing.symbol, listing)
    return list(found.values())


def waited_for(work: Callable[[], T], stop: threading.Event) -> T:
    """Return the result of a call to the database, or leave it behind when the program stops.

    A server may hang. What is left behind is a transaction there, which is complete or did not happen.

    Raises:
        StoreUnavailable: the program stops.
        Exception: whatever the call raises.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def body() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=body, name="poll-database", daemon=True).start()
    while not done.wait(_WAIT_S):
        if stop.is_set():
            raise StoreUnavailable("the database does not answer, and the program stops")
    if errors:
        raise errors[0]
    return results[0]
