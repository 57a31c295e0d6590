"""The listing of a venue: fetched over REST, with the last answer kept on disk for times without the network."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from recorder.backoff import Backoff
from recorder.clock import Clock
from recorder.errors import DecodeError, RestError, RestInvalidResponse
from recorder.printable import masked_url
from recorder.process import files
from recorder.process.log import get_logger
from recorder.rest.client import Answer, RestClient
from recorder.rest.paging import pages
from recorder.venues.base import Day, Listing, ListingPage, Paged, Ranked, Venue
from recorder.venues.canonical import canonical
from recorder.venues.wire import MALFORMED

OLD_S = 5400.0
"""A recorder fetches a listing older than this itself, because discovery is half an hour late."""
_ODD_NAMED = 3
PAGES_MAX = 2000
"""The most pages of a listing: 100 instruments a page, and Polymarket has more than 100,000."""

_UNREADABLE = (DecodeError, *MALFORMED, OverflowError)  # a listing promises the first; an odd answer finds others

_log = get_logger(__name__)


class Pages(Protocol):
    """The source of the pages of a listing: a `RestClient`, or requests that are journalled."""

    url: str

    def get(self, path: str) -> Answer:
        """Return an answer of status 200 to 299 whose body is JSON.

        Raises:
            RestError: there is none.
        """
        ...


class Catalog(msgspec.Struct, frozen=True):
    """All instruments of a venue, as of one moment."""

    source: str  # REST endpoint; the listing of a simulated venue does not apply to the real one
    fetched_ns: int  # wall clock
    listings: list[Listing]

    def age_s(self, now_ns: int) -> float:
        """Return the seconds since it was fetched."""
        return max(0.0, (now_ns - self.fetched_ns) / 1e9)


class CatalogFile:
    """The last catalog of a venue, on disk.

    Args:
        home: Folder of the appliance's state.
        name: Key of the venue in the settings.
        source: REST endpoint; answers of other endpoints are ignored.
    """

    def __init__(self, home: Path, name: str, source: str) -> None:
        self._path = home / "listings" / f"{name}.json"
        self._source = masked_url(source)
        self._stamp = -1  # of the file when `read_if_changed` read it

    def read(self) -> Catalog | None:
        """Return the last answer of this source; None before the first, and when the file is invalid."""
        try:
            catalog = msgspec.json.decode(self._path.read_bytes(), type=Catalog)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            _log.warning("catalog.unreadable", path=str(self._path), error=str(error))
            return None
        return catalog if catalog.source == self._source else None

    def read_if_changed(self, known: Catalog | None) -> Catalog | None:
        """Return the answer on disk if it differs from `known`, else None. An unchanged file is not read."""
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
        """Replace the catalog. A reader sees the old one or the new one.

        Raises:
            OSError: The file cannot be written.
        """
        files.make_home(self._path.parent)
        files.write(self._path, msgspec.json.encode(catalog))


class Listings:
    """The listing against which a recorder resolves patterns: from disk while it is recent, else fetched."""

    def __init__(self, client: RestClient, venue: Venue, file: CatalogFile, clock: Clock) -> None:
        self._client = client
        self._venue = venue
        self._file = file
        self._clock = clock
        self._known: Catalog | None = None
        self._backoff = Backoff(5.0, 300.0, random.Random())
        self._not_before_s = clock.monotonic_s()

    def __call__(self) -> Catalog | None:
        """Return the current listing; the same object as long as it does not change. None when there is none."""
        kept = self._file.read_if_changed(self._known)
        if kept is not None:
            self._known = kept
        recent = self._known is not None and self._known.age_s(self._clock.wall_ns()) < OLD_S
        if not recent and self._clock.monotonic_s() >= self._not_before_s:
            try:
                self._known = fetch_catalog(self._client, self._venue, self._file, self._clock)
                self._backoff.reset()
            except RestError as error:
                wait_s = self._backoff.next_s()
                self._not_before_s = self._clock.monotonic_s() + wait_s
                _log.warning("catalog.failed", venue=self._venue.name, error=str(error), retry_s=round(wait_s, 1))
            except Exception:  # a list that cannot be read must not end a recorder, whatever is wrong with it
                self._not_before_s = self._clock.monotonic_s() + self._backoff.next_s()
                _log.exception("catalog.fault", venue=self._venue.name)
        return self._known


def fetch_listings(client: Pages, venue: Venue) -> list[Listing]:
    """Fetch every instrument that a venue lists, with its volume of the last 24 hours where the venue publishes it.

    Raises:
        RestError: The listing could not be fetched completely. Missing volumes are no error.
    """
    found: dict[str, Listing] = {}
    for path in venue.listing_paths:
        for page in _pages(client, venue, path):
            # A row may move to a later page while we read, so the first one counts.
            for listing in page:
                found.setdefault(listing.symbol, listing)
    if not found:
        raise RestInvalidResponse(f"{masked_url(client.url)} lists no instruments")
    listings = [_with_name(listing, venue) for listing in found.values()]
    if not isinstance(venue, Ranked):
        return listings
    try:
        days = _volumes(client, venue)
    except RestError as error:
        _log.warning("catalog.volumes_missing", venue=venue.name, error=str(error))
        return listings
    return [_with_day(listing, days.get(listing.rest_symbol or listing.symbol)) for listing in listings]


def fetch_catalog(client: Pages, venue: Venue, file: CatalogFile, clock: Clock) -> Catalog:
    """Fetch a catalog and keep it on disk.

    Raises:
        RestError: As for `fetch_listings`. The file is not changed then.
    """
    catalog = Catalog(masked_url(client.url), clock.wall_ns(), fetch_listings(client, venue))
    if not any(listing.volume is not None for listing in catalog.listings):
        # Volumes of an hour ago rank well enough. Without any, patterns like top:20 would select nothing.
        catalog = _with_volumes_of(file.read(), catalog)
    try:
        file.write(catalog)
    except OSError as error:  # the answer is still valid
        _log.warning("catalog.not_kept", venue=venue.name, error=str(error))
    return catalog


def _pages(client: Pages, venue: Venue, path: str) -> Iterator[list[Listing]]:
    def following(own_path: str, answer: Answer) -> str | None:
        return venue.next_page(own_path, answer.body) if isinstance(venue, Paged) else None

    try:
        for answer in pages(path, client.get, following, PAGES_MAX):
            page = venue.listings(answer.body)
            if isinstance(page, ListingPage) and page.odd:
                names = "; ".join(page.odd[:_ODD_NAMED])
                _log.warning("catalog.odd_rows", venue=venue.name, rows=len(page.odd), examples=names)
            yield page
    except _UNREADABLE as error:
        raise RestInvalidResponse(
            f"{masked_url(client.url)}{path} did not answer with a list of instruments: {error}"
        ) from None


def _volumes(client: Pages, venue: Ranked) -> dict[str, Day]:
    days: dict[str, Day] = {}
    for path in venue.volume_paths:
        try:
            days |= venue.volumes(client.get(path).body)
        except _UNREADABLE as error:
            raise RestInvalidResponse(
                f"{masked_url(client.url)}{path} did not answer with volumes of 24 hours: {error}"
            ) from None
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


def _with_name(listing: Listing, venue: Venue) -> Listing:
    name = canonical(listing, venue.asset_name)
    return listing if name is None else msgspec.structs.replace(listing, canonical=name)


def _with_day(listing: Listing, day: Day | None) -> Listing:
    return listing if day is None else msgspec.structs.replace(listing, price=day.price, volume=day.volume)
