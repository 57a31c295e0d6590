"""Name of a venue -> its class, and nothing else."""

from recorder.errors import ConfigError
from recorder.venues.base import Venue
from recorder.venues.binance import Binance
from recorder.venues.bitfinex import Bitfinex
from recorder.venues.coinbase import Coinbase
from recorder.venues.coinbase_advanced import CoinbaseAdvanced
from recorder.venues.figure import Figure
from recorder.venues.kraken import Kraken
from recorder.venues.okx import Okx
from recorder.venues.polymarket import Polymarket

VENUES: dict[str, type[Venue]] = {
    "binance": Binance,
    "bitfinex": Bitfinex,
    "coinbase": Coinbase,
    "coinbase_advanced": CoinbaseAdvanced,  # a second dialect: its instruments are coinbase's
    "figure": Figure,
    "kraken": Kraken,
    "okx": Okx,
    "polymarket": Polymarket,
}


def venue_class(name: str) -> type[Venue]:
    """The class of a venue by its name.

    Raises:
        ConfigError: no venue has this name; the message lists those there are.
    """
    try:
        return VENUES[name]
    except KeyError:
        raise ConfigError(f"unknown venue {name!r}; known: {', '.join(sorted(VENUES))}") from None
