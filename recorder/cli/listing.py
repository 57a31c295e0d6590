"""What a venue lists, over REST: to show it, and to catch a misspelt symbol before it costs a recording."""

import difflib

import requests

from recorder.cli.common import venue_settings
from recorder.errors import ConfigError, ConnectFailed, DecodeError
from recorder.settings import Settings
from recorder.venues import venue_class
from recorder.venues.base import Listing

TIMEOUT_S = 10.0
BODY_MAX = 64 << 20


def fetch(settings: Settings, venue: str) -> list[Listing]:
    """All instruments of a venue.

    Raises:
        ConfigError: no venue has this name.
        ConnectFailed: the venue does not answer, or not with its list.
    """
    kind = venue_class(venue)
    url = (venue_settings(settings, venue).rest_url or kind.rest_url) + kind.listing_path
    try:
        with requests.get(url, timeout=TIMEOUT_S, stream=True) as answer:
            answer.raise_for_status()
            body = answer.raw.read(BODY_MAX, decode_content=True)
        return kind().listings(body)
    except requests.HTTPError as error:
        raise ConnectFailed(f"{url} answered HTTP {error.response.status_code}") from None
    except (requests.RequestException, OSError) as error:
        raise ConnectFailed(f"{url} does not answer ({type(error).__name__}); is the venue in reach?") from None
    except DecodeError as error:
        raise ConnectFailed(f"{url} did not answer with a list of instruments: {error}") from None


def check(settings: Settings, venue: str, symbols: list[str]) -> str | None:
    """Compare symbols with the venue's list.

    Returns:
        None when all are listed; a sentence when the list could not be had, which need not stop anybody.

    Raises:
        ConfigError: the venue lists no such symbol.
    """
    try:
        known = [listing.symbol for listing in fetch(settings, venue)]
    except ConnectFailed as error:
        return f"the symbols are unchecked: {error}"
    for symbol in symbols:
        if symbol not in known:
            raise ConfigError(f"{venue} lists no symbol {symbol!r}{nearest(symbol, known)}")
    return None


def nearest(symbol: str, known: list[str]) -> str:
    """A hint at the symbol that was probably meant."""
    bare = {name.replace("/", "").replace("-", "").upper(): name for name in known}
    match = difflib.get_close_matches(symbol.replace("/", "").replace("-", "").upper(), bare, n=1)
    return f"; did you mean {bare[match[0]]}?" if match else "; `tapedeck symbols` shows all"
