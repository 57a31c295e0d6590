"""Name of a venue -> its class, and nothing else."""

from recorder.errors import ConfigError
from recorder.venues.base import Venue
from recorder.venues.coinbase import Coinbase
from recorder.venues.kraken import Kraken

VENUES: dict[str, type[Venue]] = {venue.name: venue for venue in (Coinbase, Kraken)}


def venue_class(name: str) -> type[Venue]:
    """The class of a venue by its name.

    Raises:
        ConfigError: no venue has this name; the message lists those there are.
    """
    try:
        return VENUES[name]
    except KeyError:
        raise ConfigError(f"unknown venue {name!r}; known: {', '.join(sorted(VENUES))}") from None
