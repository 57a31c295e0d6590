"""Wishes for symbols, resolved against what a venue lists. Pure.

A wish is a symbol in the venue's own spelling; a glob such as `*-USD` or `BTC*`; or `top:20`, the twenty of most
trading in the last 24 hours, `top:20:*-USD` the twenty of most among those the glob finds. Globs mind the case, as
venues do. An outcome of a prediction market is found by the name of its market too: its symbol is a long number.
"""

import re
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from fnmatch import translate

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Stream
from recorder.venues.base import Listing

_GLOB = re.compile(r"[*?\[]")
_TOP = "top:"


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
        if not text.startswith(_TOP):
            return cls(text, text if _GLOB.search(text) else None)
        number, _, glob = text.removeprefix(_TOP).partition(":")
        if not re.fullmatch(r"0*[1-9][0-9]{0,5}", number):
            raise ConfigError(f"{text!r} names no number of symbols; write top:20, or top:20:*-USD")
        return cls(text, glob or "*", int(number))

    @property
    def is_symbol(self) -> bool:
        """Whether it names one symbol, listed or not."""
        return self.glob is None

    def among(self, listings: Iterable[Listing]) -> list[Listing]:
        """Those that fit, in their order; a symbol fits itself."""
        fits = re.compile(re.escape(self.text) + r"\Z" if self.glob is None else translate(self.glob)).match
        return [one for one in listings if fits(one.symbol) or (one.kind == "outcome" and fits(one.base))]


def is_pattern(text: str) -> bool:
    """Whether a wish is more than a symbol; it need not be one that can be understood."""
    return text.startswith(_TOP) or _GLOB.search(text) is not None


class Wish(msgspec.Struct, frozen=True):
    """What somebody wants recorded of a venue."""

    symbol: str  # or a pattern
    channels: tuple[Channel, ...] = CHANNELS
    priority: int = 0  # higher first


class Wanted(msgspec.Struct, frozen=True):
    """All that somebody wants of a venue."""

    wishes: tuple[Wish, ...]  # of equal priority the earlier is wanted more
    ended: frozenset[Stream] = frozenset()  # by name: no pattern brings these back

    @property
    def needs_listings(self) -> bool:
        """Whether a pattern is among the wishes."""
        return any(is_pattern(wish.symbol) for wish in self.wishes)


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


def resolve(wishes: Iterable[str], listings: Sequence[Listing], held: Container[str] = ()) -> Resolution:
    """The symbols that wishes stand for.

    Patterns find only what trades now. An instrument of two names is meant by the one its data comes under.

    Args:
        wishes: The most wanted first.
        listings: What the venue lists; empty where that is not known, and then patterns find nothing.
        held: Symbols that are recorded now: `top` keeps them while they are not far behind, or neighbours in rank
            would take turns, with a gap each time.

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
        matches = pattern.among(trading.values())
        if pattern.top is not None:
            matches = rank(matches, listings)
        found = list(dict.fromkeys(_own_name(listing, trading) for listing in matches))
        if pattern.top is not None:
            found = _top(found, pattern.top, held)
        if not found:
            unmatched.append(wish)
        symbols |= dict.fromkeys(found)
    return Resolution(tuple(symbols), tuple(unmatched), tuple(unlisted))


def _top(ranked: Sequence[str], number: int, held: Container[str]) -> list[str]:
    """So many of the first, by rank; what is held stays while it is within a quarter behind them."""
    near = ranked[: number + number // 4]
    staying = [name for name in near if name in held][:number]
    joining = [name for name in near if name not in held][: number - len(staying)]
    return sorted((*staying, *joining), key=ranked.index)


def resolve_streams(wanted: Wanted, listings: Sequence[Listing], held: Container[str] = ()) -> StreamResolution:
    """The streams that wishes stand for, in the order in which they are given up last.

    A wish that cannot be understood finds nothing and is told among the unmatched: it must not cost the others.

    Args:
        wanted: By whomever.
        listings: As for `resolve`.
        held: As for `resolve`.
    """
    streams: dict[Stream, None] = {}
    unmatched: dict[str, None] = {}
    unlisted: dict[str, None] = {}
    resolved: dict[str, Resolution] = {}
    for wish in sorted(wanted.wishes, key=lambda wish: -wish.priority):
        if wish.symbol not in resolved:
            try:
                resolved[wish.symbol] = resolve([wish.symbol], listings, held)
            except ConfigError:
                resolved[wish.symbol] = Resolution((), (wish.symbol,), ())
        found = resolved[wish.symbol]
        by_name = not is_pattern(wish.symbol)
        unmatched |= dict.fromkeys(found.unmatched)
        unlisted |= dict.fromkeys(found.unlisted)
        meant = (Stream(channel, symbol) for symbol in found.symbols for channel in wish.channels)
        streams |= dict.fromkeys(stream for stream in meant if by_name or stream not in wanted.ended)
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
