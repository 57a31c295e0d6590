"""Selectors of symbols, resolved against the listing of a venue. Pure.

A selector is a symbol in the venue's own spelling; a glob such as `*-USD` or `BTC*`; or `top:20`, the twenty symbols
with the highest volume of the last 24 hours, `top:20:*-USD` the twenty highest of those that match the glob. Globs
are case-sensitive, as symbols are. A glob also matches the name of an outcome's market, because the symbol of an
outcome is a long number.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from fnmatch import translate
from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Stream
from recorder.venues.base import Listing

_GLOB = re.compile(r"[*?\[]")
_TOP = "top:"


class Pattern(msgspec.Struct, frozen=True):
    """One parsed selector."""

    text: str  # as it was written
    glob: str | None  # None: the text is a symbol
    top: int | None = None  # this many, by volume

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Parse a selector.

        Raises:
            ConfigError: `top:` is not followed by a number above 0.
        """
        if not text.startswith(_TOP):
            return cls(text, text if _GLOB.search(text) else None)
        number, _, glob = text.removeprefix(_TOP).partition(":")
        if not re.fullmatch(r"0*[1-9][0-9]{0,5}", number):
            raise ConfigError(f"{text!r} does not say how many symbols; write top:20, or top:20:*-USD")
        return cls(text, glob or "*", int(number))

    @property
    def is_symbol(self) -> bool:
        """Whether it names one symbol, listed or not."""
        return self.glob is None

    def matches(self, listings: Iterable[Listing]) -> list[Listing]:
        """Return the listings that match, in their order. A symbol matches itself."""
        match = re.compile(re.escape(self.text) + r"\Z" if self.glob is None else translate(self.glob)).match
        return [one for one in listings if match(one.symbol) or (one.kind == "outcome" and match(one.base))]


def is_pattern(text: str) -> bool:
    """Return whether a selector is more than a symbol. It need not be valid."""
    return text.startswith(_TOP) or _GLOB.search(text) is not None


Origin = Literal["hand", "poller"]
"""Who keeps a subscription: a person, or the poller, which ends it by itself."""


class SymbolSelector(msgspec.Struct, frozen=True):
    """A symbol or pattern to record, and on which channels."""

    symbol: str  # or a pattern
    channels: tuple[Channel, ...] = CHANNELS
    priority: int = 0  # higher first
    origin: Origin = "hand"


class Wanted(msgspec.Struct, frozen=True):
    """All selectors of a venue."""

    selectors: tuple[SymbolSelector, ...]  # of equal priority the earlier ranks higher
    ended: frozenset[Stream] = frozenset()  # unsubscribed by name, so that no pattern selects them

    @property
    def rows(self) -> int:
        """How many rows of the table these are."""
        return sum(len(selector.channels) for selector in self.selectors) + len(self.ended)

    @property
    def by_hand(self) -> "Wanted":
        """Return what people keep of it."""
        return Wanted(tuple(one for one in self.selectors if one.origin == "hand"), self.ended)

    @property
    def needs_listings(self) -> bool:
        """Whether one of the selectors is a pattern."""
        return any(is_pattern(selector.symbol) for selector in self.selectors)


class Resolution(msgspec.Struct, frozen=True):
    """The symbols that selectors select."""

    symbols: tuple[str, ...]  # each once, in the order of the selectors
    unmatched: tuple[str, ...]  # patterns that match nothing
    unlisted: tuple[str, ...]  # symbols that the venue does not list as trading; kept, the venue may refuse them


class StreamResolution(msgspec.Struct, frozen=True):
    """The streams that selectors select."""

    streams: tuple[Stream, ...]  # each once, highest priority first
    unmatched: tuple[str, ...]
    unlisted: tuple[str, ...]


def resolve(selectors: Iterable[str], listings: Sequence[Listing], held: Container[str] = ()) -> Resolution:
    """Return the symbols that selectors select.

    Patterns match only what trades now. An instrument of two names is selected by the name under which its data comes.

    Args:
        selectors: Symbols and patterns, highest priority first.
        listings: What the venue lists. When it is empty, patterns match nothing.
        held: Symbols that are recorded now. `top` keeps them while they are not far behind; otherwise neighbours in
            rank would alternate, with a gap each time.

    Raises:
        ConfigError: A selector is invalid.
    """
    trading = {listing.symbol: listing for listing in listings if listing.trades}
    symbols: dict[str, None] = {}
    unmatched, unlisted = [], []
    for text in selectors:
        pattern = Pattern.parse(text)
        if pattern.is_symbol:
            listed = trading.get(text)
            symbols[text if listed is None else _own_name(listed, trading)] = None
            if listed is None:
                unlisted.append(text)
            continue
        matches = pattern.matches(trading.values())
        if pattern.top is not None:
            matches = rank(matches, listings)
        found = list(dict.fromkeys(_own_name(listing, trading) for listing in matches))
        if pattern.top is not None:
            found = _top(found, pattern.top, held)
        if not found:
            unmatched.append(text)
        symbols |= dict.fromkeys(found)
    return Resolution(tuple(symbols), tuple(unmatched), tuple(unlisted))


def _top(ranked: Sequence[str], number: int, held: Container[str]) -> list[str]:
    """Return the first `number` by rank. Held symbols stay while they are at most a quarter of that behind."""
    near = ranked[: number + number // 4]
    staying = [name for name in near if name in held][:number]
    joining = [name for name in near if name not in held][: number - len(staying)]
    return sorted((*staying, *joining), key=ranked.index)


def resolve_streams(wanted: Wanted, listings: Sequence[Listing], held: Container[str] = ()) -> StreamResolution:
    """Return the streams that selectors select, highest priority first.

    An invalid selector matches nothing and is reported as unmatched, so that it does not affect the others.

    Args:
        wanted: The selectors of a venue.
        listings: As for `resolve`.
        held: As for `resolve`.
    """
    streams: dict[Stream, None] = {}
    unmatched: dict[str, None] = {}
    unlisted: dict[str, None] = {}
    resolved: dict[str, Resolution] = {}
    for selector in sorted(wanted.selectors, key=lambda one: -one.priority):
        if selector.symbol not in resolved:
            try:
                resolved[selector.symbol] = resolve([selector.symbol], listings, held)
            except ConfigError:
                resolved[selector.symbol] = Resolution((), (selector.symbol,), ())
        found = resolved[selector.symbol]
        by_name = not is_pattern(selector.symbol)
        unmatched |= dict.fromkeys(found.unmatched)
        unlisted |= dict.fromkeys(found.unlisted)
        selected = (Stream(channel, symbol) for symbol in found.symbols for channel in selector.channels)
        streams |= dict.fromkeys(stream for stream in selected if by_name or stream not in wanted.ended)
    return StreamResolution(tuple(streams), tuple(unmatched), tuple(unlisted))


def rank(chosen: Iterable[Listing], listings: Sequence[Listing]) -> list[Listing]:
    """Return listings by their volume of the last 24 hours, highest first.

    Volumes are in quote units, and a venue has many quote currencies. They are converted into its most common one at
    the prices of its own instruments. Listings without a volume, or with one that cannot be converted, are left out.

    Args:
        chosen: Listings to rank.
        listings: All listings of the venue, whose prices connect the currencies.
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
    """Return the worth of a unit of each currency in the most common quote currency, by the fewest conversions."""
    quotes = Counter(listing.quote for listing in listings)
    if not quotes:
        return {}
    rates: dict[str, dict[str, float]] = {}
    # The instrument with the highest volume between two currencies sets their rate, because it is written last.
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
    """Return the name under which the venue sends the data of an instrument."""
    return listing.alias_of if listing.alias_of in trading else listing.symbol
