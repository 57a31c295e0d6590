"""What a venue lists: asked for over REST, the last answer kept on disk for times without the network."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from recorder.clock import Clock
from recorder.errors import DecodeError, RestError, RestGarbled
from recorder.log import get_logger
from recorder.rest import RestClient
from recorder.venues.base import Day, Listing, Paged, Ranked, Venue

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


def _with_day(listing: Listing, day: Day | None) -> Listing:
    return listing if day is None else msgspec.structs.replace(listing, price=day.price, volume=day.volume)
