"""Wishes for symbols, resolved against what a venue lists. Pure.

A wish is a symbol in the venue's own spelling; a glob such as `*-USD` or `BTC*`; or `top:20`, the twenty of most
trading in the last 24 hours, `top:20:*-USD` the twenty of most among those the glob finds. Globs mind the case, as
venues do. An outcome of a prediction market is found by the name of its market too: its symbol is a long number.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Stream
from recorder.venues.base import Listing

_GLOB = re.compile(r"[*?\[]")


class Pattern(msgspec.Struct, frozen=True):
    """One wish, taken apart."""

    text: str  # as it was written
    glob: str | None  # None: the text is a symbol
    top: int | None = None  # this many, by volume

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """
        Raises:
            ConfigError: `top:` without a number above 0.
        """
        if not text.startswith("top:"):
            return cls(text, text if _GLOB.search(text) else None)
        number, _, glob = text.removeprefix("top:").partition(":")
        if not re.fullmatch(r"0*[1-9][0-9]{0,5}", number):
            raise ConfigError(f"{text!r} names no number of symbols; write top:20, or top:20:*-USD")
        return cls(text, glob or "*", int(number))

    @property
    def is_symbol(self) -> bool:
        """Whether it names one symbol, listed or not."""
        return self.glob is None

    def finds(self, listing: Listing) -> bool:
        """Whether a listing fits."""
        return any(fnmatchcase(name, self.glob) if self.glob else name == self.text for name in names_of(listing))


def names_of(listing: Listing) -> tuple[str, ...]:
    """What a person may call an instrument: its symbol, and the market and outcome that a bare number stands for."""
    return (listing.symbol, listing.base) if listing.kind == "outcome" else (listing.symbol,)


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants recorded of a venue."""

    symbol: str  # or a pattern
    channels: tuple[Channel, ...] = CHANNELS
    priority: int = 0  # higher first


class Resolution(msgspec.Struct, frozen=True):
    """What wishes came to."""

    symbols: tuple[str, ...]  # each once, in the order of the wishes
    unmatched: tuple[str, ...]  # patterns that find nothing
    unlisted: tuple[str, ...]  # symbols the venue does not list as trading: kept, the venue will say what it thinks


class StreamResolution(msgspec.Struct, frozen=True):
    """What wishes came to, as streams."""

    streams: tuple[Stream, ...]  # each once; those wanted most come first
    unmatched: tuple[str, ...]
    unlisted: tuple[str, ...]


def resolve(wishes: Iterable[str], listings: Sequence[Listing]) -> Resolution:
    """The symbols that wishes stand for.

    Patterns find only what trades now. An instrument of two names is meant by the one its data comes under.

    Args:
        wishes: The most wanted first.
        listings: What the venue lists; empty where that is not known, and then patterns find nothing.

    Raises:
        ConfigError: a wish cannot be understood.
    """
    trading = {listing.symbol: listing for listing in listings if listing.trades}
    symbols: dict[str, None] = {}
    unmatched, unlisted = [], []
    for wish in wishes:
        pattern = Pattern.parse(wish)
        if pattern.is_symbol:
            listed = trading.get(wish)
            symbols[wish if listed is None else _own_name(listed, trading)] = None
            if listed is None:
                unlisted.append(wish)
            continue
        matches = [listing for listing in trading.values() if pattern.finds(listing)]
        if pattern.top is not None:
            matches = rank(matches, listings)
        found = list(dict.fromkeys(_own_name(listing, trading) for listing in matches))[: pattern.top]
        if not found:
            unmatched.append(wish)
        symbols |= dict.fromkeys(found)
    return Resolution(tuple(symbols), tuple(unmatched), tuple(unlisted))


def resolve_streams(
    wishes: Iterable[Wish], listings: Sequence[Listing], without: Collection[Stream] = ()
) -> StreamResolution:
    """The streams that wishes stand for, in the order in which they are given up last.

    Args:
        wishes: In any order; of equal priority the earlier is wanted more.
        listings: As for `resolve`.
        without: Streams that no pattern shall bring: somebody ended them by name.

    Raises:
        ConfigError: a wish cannot be understood.
    """
    streams: dict[Stream, None] = {}
    unmatched: dict[str, None] = {}
    unlisted: dict[str, None] = {}
    for wish in sorted(wishes, key=lambda wish: -wish.priority):
        found = resolve([wish.symbol], listings)
        by_name = Pattern.parse(wish.symbol).is_symbol
        unmatched |= dict.fromkeys(found.unmatched)
        unlisted |= dict.fromkeys(found.unlisted)
        wanted = (Stream(channel, symbol) for symbol in found.symbols for channel in wish.channels)
        streams |= dict.fromkeys(stream for stream in wanted if by_name or stream not in without)
    return StreamResolution(tuple(streams), tuple(unmatched), tuple(unlisted))


def rank(chosen: Iterable[Listing], listings: Sequence[Listing]) -> list[Listing]:
    """By the trading of their last 24 hours, most first.

    Volumes are in quote units and one venue has many: they are compared in its commonest quote, at the prices of its
    own instruments. What has no volume, or none that can be compared, is left out.

    Args:
        chosen: Those to rank.
        listings: All of the venue: their prices connect the currencies.
    """
    worth = worths(listings)
    sized = [
        (listing.volume * worth[listing.quote], listing)
        for listing in chosen
        if listing.volume is not None and listing.quote in worth
    ]
    sized.sort(key=lambda pair: (-pair[0], pair[1].symbol))
    return [listing for _, listing in sized]


def worths(listings: Sequence[Listing]) -> dict[str, float]:
    """What a unit of each currency is worth in the commonest quote of these listings, by the fewest conversions."""
    quotes = Counter(listing.quote for listing in listings)
    if not quotes:
        return {}
    rates: dict[str, dict[str, float]] = {}
    # The busiest instrument between two currencies tells their rate: written last, it stays.
    for listing in sorted(listings, key=lambda listing: listing.volume or 0.0):
        if listing.price:
            rates.setdefault(listing.quote, {})[listing.base] = listing.price
            rates.setdefault(listing.base, {})[listing.quote] = 1 / listing.price
    anchor = max(quotes, key=lambda quote: (quotes[quote], quote))
    worth = {anchor: 1.0}
    frontier = [anchor]
    while frontier:
        reached = []
        for known in frontier:
            for currency, price in rates.get(known, {}).items():
                if currency not in worth:
                    worth[currency] = price * worth[known]
                    reached.append(currency)
        frontier = reached
    return worth


def _own_name(listing: Listing, trading: dict[str, Listing]) -> str:
    """The name under which the venue sends the data of an instrument."""
    return listing.alias_of if listing.alias_of in trading else listing.symbol
