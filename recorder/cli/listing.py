"""What a venue lists, over REST or from the last answer: to show it, and to catch a misspelt symbol before it costs
a recording."""

import difflib
import threading
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recorder.catalog import Catalog, CatalogFile, fetch_catalog
from recorder.cli.common import venue_settings
from recorder.clock import SystemClock
from recorder.errors import ConfigError, RestError
from recorder.log import configure
from recorder.patterns import Pattern, is_pattern, rank, resolve
from recorder.rest import client_of
from recorder.settings import Settings
from recorder.venues import venue_class
from recorder.venues.base import Listing

FRESH_S = 3600.0
"""A list this young is good enough to check a symbol by: discovery asks once an hour."""


STDERR = 2


class Listed(NamedTuple):
    """A catalog, and why it is not of this moment."""

    catalog: Catalog
    warning: str | None


def fetch(settings: Settings, name: str, *, fresh_s: float = 0.0) -> Listed:
    """All instruments of a venue: now, or as they were when the venue answered last.

    Args:
        settings: Where the venue is, and where its last answer is kept.
        name: Of the venue.
        fresh_s: A last answer younger than this is as good as a new one.

    Raises:
        ConfigError: no venue has this name.
        RestError: the venue does not answer, or not with its list, and never did before.
    """
    venue = venue_class(name)()
    # What goes wrong on the way is one sentence at the end; --debug shows all of it.
    configure(settings.log.model_copy(update={"level": "ERROR"}), "tapedeck", fd=STDERR)
    clock = SystemClock()
    client = client_of(venue, venue_settings(settings, name).rest_url, settings.websocket.user_agent, threading.Event())
    file = CatalogFile(settings.home, name, client.url)
    kept = file.read()
    if kept is not None and kept.age_s(clock.wall_ns()) < fresh_s:
        return Listed(kept, None)
    try:
        return Listed(fetch_catalog(client, venue, file, clock), None)
    except RestError as error:
        if kept is None:
            raise
        return Listed(kept, f"{error}; its list of {_age(kept.age_s(clock.wall_ns()))} ago is used")


class Checked(NamedTuple):
    """What symbols and patterns stand for."""

    symbols: list[str]  # patterns resolved; where the list could not be had, without them
    warning: str | None  # for the person; it need not stop anybody


def check(settings: Settings, name: str, wishes: list[str]) -> Checked:
    """Compare symbols and patterns with the venue's list.

    Raises:
        ConfigError: the venue lists no such symbol, or a pattern cannot be understood.
    """
    symbols = [wish for wish in wishes if Pattern.parse(wish).is_symbol]
    try:
        listed = fetch(settings, name, fresh_s=FRESH_S)
        known = {listing.symbol for listing in listed.catalog.listings}
        if not known.issuperset(symbols):
            listed = fetch(settings, name)  # it may be newer than the list we have
            known = {listing.symbol for listing in listed.catalog.listings}
    except RestError as error:
        return Checked(symbols, f"the symbols are unchecked: {error}")
    for symbol in symbols:
        if symbol not in known:
            raise ConfigError(f"{name} lists no symbol {symbol!r}{nearest(symbol, known)}")
    found = resolve(wishes, listed.catalog.listings)
    warnings = [listed.warning] if listed.warning else []
    warnings += [f"nothing that trades at {name} fits {pattern!r} now" for pattern in found.unmatched]
    return Checked(list(found.symbols), "; ".join(warnings) or None)


def select(
    listings: Sequence[Listing], pattern: str, kind: str | None, status: str | None, top: int | None
) -> list[Listing]:
    """Those a person asked for.

    Args:
        listings: All of a venue.
        pattern: A glob that minds the case; else any part of the symbol, or of an outcome's name, that does not.
        kind: Of instruments.
        status: In the venue's own words.
        top: How many, by the trading of 24 hours; None leaves them in the venue's order.
    """
    if is_pattern(pattern):
        found = Pattern.parse(pattern).among(listings)
    else:
        part = pattern.upper()
        found = [
            one
            for one in listings
            if part in one.symbol.upper() or (one.kind == "outcome" and part in one.base.upper())
        ]
    chosen = [one for one in found if kind in (None, one.kind) and status in (None, one.status)]
    return chosen if top is None else rank(chosen, listings)[:top]


def nearest(symbol: str, known: Iterable[str]) -> str:
    """A hint at the symbol that was probably meant."""
    bare = {name.replace("/", "").replace("-", "").upper(): name for name in known}
    match = difflib.get_close_matches(symbol.replace("/", "").replace("-", "").upper(), bare, n=1)
    return f"; did you mean {bare[match[0]]}?" if match else "; `tapedeck symbols` shows all"


def _age(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
