"""The registry of venues: each name and its class."""

from recorder.errors import ConfigError, nearest
from recorder.venues.base import Venue
from recorder.venues.binance.stream import Binance
from recorder.venues.bitfinex.stream import Bitfinex
from recorder.venues.coinbase.stream import Coinbase
from recorder.venues.coinbase_advanced.stream import CoinbaseAdvanced
from recorder.venues.figure.stream import Figure
from recorder.venues.kraken.stream import Kraken
from recorder.venues.okx.stream import Okx
from recorder.venues.polymarket.stream import Polymarket

VENUES: dict[str, type[Venue]] = {
    "binance": Binance,
    "bitfinex": Bitfinex,
    "coinbase": Coinbase,
    "coinbase_advanced": CoinbaseAdvanced,  # a second dialect of coinbase, with its instruments
    "figure": Figure,
    "kraken": Kraken,
    "okx": Okx,
    "polymarket": Polymarket,
}


def venue_class(name: str) -> type[Venue]:
    """Return the class of a venue by its name.

    Raises:
        ConfigError: No venue has this name; the message lists the known ones.
    """
    try:
        return VENUES[name]
    except KeyError:
        raise ConfigError(f"unknown venue {name!r}{nearest(name, sorted(VENUES))}") from None
