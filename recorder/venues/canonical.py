"""One spelling of a pair for all venues, BASE-QUOTE: the name `BTC-USD` of Kraken's BTC/USD and Bitfinex's tBTCUSD.

The venue's own symbol stays the identity of an instrument. The canonical name is what a person may write instead of it,
where one instrument of the venue has that name: a spot pair and a perpetual of the same assets share it.
"""

from collections.abc import Callable, Iterable, Mapping

from recorder.venues.base import Listing

_NO_PAIR = frozenset({"outcome", "option"})  # their price is not that of base in quote
_SEPARATORS = "-/:_"
_LONGEST = 40  # characters of an asset
_PLAIN = str.maketrans("", "", _SEPARATORS)


def canonical(listing: Listing, asset_name: Callable[[str], str]) -> str | None:
    """Return BASE-QUOTE in the common names of the assets; None where the instrument is no pair of assets.

    Args:
        listing: The instrument.
        asset_name: Returns the common name of an asset that the venue names.
    """
    if listing.kind in _NO_PAIR:
        return None
    if listing.quote_unit is not None and listing.quote == listing.quote_unit:
        return None  # the venue names only the unit in which it settles
    base, quote = asset_name(listing.base), asset_name(listing.quote)
    return f"{base}-{quote}" if _is_asset(base) and _is_asset(quote) else None


def called(name: str, listings: Iterable[Listing]) -> list[Listing]:
    """Return the instruments with a canonical name: those that trade, or if none does, the others."""
    found = [one for one in listings if one.canonical == name]
    return [one for one in found if one.trades] or found


def meant(text: str, listings: Iterable[Listing], aliases: Mapping[str, str]) -> list[Listing]:
    """Return the instruments that another spelling stands for: other separators, lower case, the venue's old codes.

    Args:
        text: What a person wrote, such as XBT/USD or btcusd.
        listings: All instruments of the venue.
        aliases: Common names by the venue's own codes of assets.
    """
    plain = text.translate(_PLAIN).upper()
    spellings = {plain}
    for code, name in aliases.items():
        if plain.startswith(code):
            spellings.add(name + plain.removeprefix(code))
        if plain.endswith(code):
            spellings.add(plain.removesuffix(code) + name)
    found = [one for one in listings if one.canonical and one.canonical.translate(_PLAIN).upper() in spellings]
    return [one for one in found if one.trades] or found


def _is_asset(name: str) -> bool:
    return 0 < len(name) <= _LONGEST and name.isprintable() and not any(c in _SEPARATORS or c == " " for c in name)
