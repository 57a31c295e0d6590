"""What a venue lists: asked for over REST, the last answer kept on disk for times without the network."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec

from recorder.backoff import Backoff
from recorder.clock import Clock
from recorder.errors import DecodeError, RestError, RestGarbled
from recorder.log import get_logger
from recorder.rest import RestClient
from recorder.venues.base import Day, Listing, Paged, Ranked, Venue

OLD_S = 5400.0
"""A list older than this is not left to discovery, which would have renewed it half an hour ago."""
PAGES_MAX = 2000
"""A venue that lists more pages of itself than this has lost its place, or we have."""

_log = get_logger(__name__)


class Catalog(msgspec.Struct, frozen=True):
    """All instruments of a venue, as of one moment."""

    source: str  # REST endpoint they come from: a simulated venue's list is no use for the real one
    fetched_ns: int  # wall clock
    listings: list[Listing]

    def age_s(self, now_ns: int) -> float:
        """Seconds since it was fetched."""
        return max(0.0, (now_ns - self.fetched_ns) / 1e9)


class CatalogFile:
    """The last catalog of a venue, on disk.

    Args:
        home: State of the appliance.
        name: Key of the venue in the settings.
        source: REST endpoint; what another one answered is not taken for an answer.
    """

    def __init__(self, home: Path, name: str, source: str) -> None:
        self._path = home / "listings" / f"{name}.json"
        self._source = source
        self._stamp = -1  # of the file when `read_if_changed` read it

    def read(self) -> Catalog | None:
        """The last answer of this source; None before the first, or where the file is of no use."""
        try:
            catalog = msgspec.json.decode(self._path.read_bytes(), type=Catalog)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            _log.warning("catalog.unreadable", path=str(self._path), error=str(error))
            return None
        return catalog if catalog.source == self._source else None

    def read_if_changed(self, known: Catalog | None) -> Catalog | None:
        """The answer on disk, where that is not the `known` one; else None. Next to free while nothing changes."""
        try:
            stamp = self._path.stat().st_mtime_ns
        except OSError:
            return None
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        found = self.read()
        return None if found is None or (known is not None and found.fetched_ns == known.fetched_ns) else found

    def write(self, catalog: Catalog) -> None:
        """Replace it; a reader sees the old one or the new one.

        Raises:
            OSError: the disk does not take it.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}.new")
        with open(draft, "wb") as file:
            file.write(msgspec.json.encode(catalog))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self._path)


class Listings:
    """The list a recorder resolves patterns by: the one on disk while discovery keeps it young, else asked for."""

    def __init__(self, client: RestClient, venue: Venue, file: CatalogFile, clock: Clock) -> None:
        self._client = client
        self._venue = venue
        self._file = file
        self._clock = clock
        self._known: Catalog | None = None
        self._backoff = Backoff(5.0, 300.0, random.Random())
        self._not_before_s = clock.monotonic_s()

    def __call__(self) -> Catalog | None:
        """The list as it is known now; the same object as long as it is the same list. None where there is none."""
        kept = self._file.read_if_changed(self._known)
        if kept is not None:
            self._known = kept
        young = self._known is not None and self._known.age_s(self._clock.wall_ns()) < OLD_S
        if not young and self._clock.monotonic_s() >= self._not_before_s:
            try:
                self._known = fetch_catalog(self._client, self._venue, self._file, self._clock)
                self._backoff.reset()
            except RestError as error:
                wait_s = self._backoff.next_s()
                self._not_before_s = self._clock.monotonic_s() + wait_s
                _log.warning("catalog.failed", venue=self._venue.name, error=str(error), retry_s=round(wait_s, 1))
        return self._known


def fetch_listings(client: RestClient, venue: Venue) -> list[Listing]:
    """Every instrument a venue lists, with the trading of its last 24 hours where the venue tells.

    Raises:
        RestError: the list could not be had, or not all of it. Without the figures of 24 hours it is had.
    """
    found: dict[str, Listing] = {}
    for path in venue.listing_paths:
        for page in _pages(client, venue, path):
            # A row may move to a later page while we read: the first one counts.
            for listing in page:
                found.setdefault(listing.symbol, listing)
    if not found:
        raise RestGarbled(f"{client.url} lists no instrument at all")
    if not isinstance(venue, Ranked):
        return list(found.values())
    try:
        days = _volumes(client, venue)
    except RestError as error:
        _log.warning("catalog.volumes_missing", venue=venue.name, error=str(error))
        return list(found.values())
    return [_with_day(listing, days.get(listing.rest_symbol or listing.symbol)) for listing in found.values()]


def fetch_catalog(client: RestClient, venue: Venue, file: CatalogFile, clock: Clock) -> Catalog:
    """Fetch a catalog and keep it.

    Raises:
        RestError: what `fetch_listings` raises; the file stays as it is.
    """
    catalog = Catalog(client.url, clock.wall_ns(), fetch_listings(client, venue))
    if not any(listing.volume is not None for listing in catalog.listings):
        # Volumes of an hour ago rank as well; none at all would end what is recorded as the busiest.
        catalog = _with_volumes_of(file.read(), catalog)
    try:
        file.write(catalog)
    except OSError as error:  # the answer is good all the same
        _log.warning("catalog.not_kept", venue=venue.name, error=str(error))
    return catalog


def _pages(client: RestClient, venue: Venue, path: str) -> Iterator[list[Listing]]:
    seen: set[str] = set()
    following: str | None = path
    while following is not None:
        if following in seen or len(seen) >= PAGES_MAX:
            raise RestGarbled(f"{client.url}{path} has no last page: {len(seen)} were read")
        seen.add(following)
        body = client.get(following).body
        try:
            yield venue.listings(body)
            following = venue.next_page(following, body) if isinstance(venue, Paged) else None
        except DecodeError as error:
            raise RestGarbled(f"{client.url}{path} did not answer with a list of instruments: {error}") from None


def _volumes(client: RestClient, venue: Ranked) -> dict[str, Day]:
    days: dict[str, Day] = {}
    for path in venue.volume_paths:
        try:
            days |= venue.volumes(client.get(path).body)
        except DecodeError as error:
            raise RestGarbled(f"{client.url}{path} did not answer with figures of 24 hours: {error}") from None
    return days


def _with_volumes_of(before: Catalog | None, catalog: Catalog) -> Catalog:
    known = {listing.symbol: listing for listing in before.listings} if before else {}
    listings = [
        msgspec.structs.replace(one, price=known[one.symbol].price, volume=known[one.symbol].volume)
        if one.symbol in known
        else one
        for one in catalog.listings
    ]
    return msgspec.structs.replace(catalog, listings=listings)


def _with_day(listing: Listing, day: Day | None) -> Listing:
    return listing if day is None else msgspec.structs.replace(listing, price=day.price, volume=day.volume)
