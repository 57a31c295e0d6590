"""A venue as the settings describe it, never above the venue's own limits."""

from urllib.parse import urlsplit

import msgspec

from recorder.errors import ConfigError
from recorder.settings import VenueSettings
from recorder.venues import venue_class
from recorder.venues.base import Limits, RestLimits, Venue

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def make_venue(name: str, settings: VenueSettings) -> Venue:
    """Return a venue with the options and the limits of the settings.

    Raises:
        ConfigError: there is no such venue, it has no such option, or a setting is above the venue's limit.
    """
    options = dict(settings.options)
    book_depth = options.pop("book_depth", None)
    if options:
        raise ConfigError(f"venues.{name}.options: unknown {', '.join(sorted(options))}; known: book_depth")
    if book_depth is not None and not isinstance(book_depth, int):
        raise ConfigError(f"venues.{name}.options.book_depth must be a whole number, not {book_depth!r}")
    venue = venue_class(name)(settings.url, book_depth=book_depth)
    venue.limits = _limits(name, venue, settings)
    venue.rest = _rest_limits(name, venue, settings)
    return venue


def _limits(name: str, venue: Venue, settings: VenueSettings) -> Limits:
    limits = venue.limits
    # A simulated venue bans no one, and its tests reconnect more often than any real venue lets us.
    simulated = urlsplit(venue.endpoint).hostname in _LOOPBACK
    connects = settings.connects_per_minute or limits.connects_per_minute
    _refuse_above(
        name, "streams_per_link", settings.streams_per_link, limits.streams_per_link, "streams on a connection"
    )
    if not simulated:
        _refuse_above(name, "connects_per_minute", connects, limits.connects_per_minute, "connects in a minute")
    links = None if settings.max_links is None else settings.max_links * settings.processes
    key = "max_links" if settings.processes == 1 else "max_links x processes"
    most = max(connects, limits.connects_per_minute) if simulated else limits.connects_per_minute
    _refuse_above(name, key, links, most, "connections, as many as it lets open in a minute")
    return msgspec.structs.replace(
        limits, streams_per_link=settings.streams_per_link or limits.streams_per_link, connects_per_minute=connects
    )


def _rest_limits(name: str, venue: Venue, settings: VenueSettings) -> RestLimits:
    rest, limits = settings.rest, venue.rest
    if urlsplit(settings.rest_url or venue.rest_url).hostname not in _LOOPBACK:
        _refuse_above(name, "rest.per_s", rest.per_s, limits.per_s, "units in a second, our share of its limit")
    return msgspec.structs.replace(
        limits,
        per_s=rest.per_s or limits.per_s,
        attempts=1 + rest.retries,
        failures_to_open=rest.failures_to_open,
        open_s=rest.open_s,
    )


def _refuse_above(name: str, key: str, given: float | None, most: float, what: str) -> None:
    if given is not None and given > most:
        raise ConfigError(f"venues.{name}.{key} = {given:g} is above what the venue allows: at most {most:g} {what}")
