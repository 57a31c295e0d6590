"""`tapedeck symbols`, and the check of symbols against a venue's list, fetched by REST or kept from its last answer."""

import difflib
import threading
from collections.abc import Iterable, Sequence
from typing import Annotated, NamedTuple

import typer

from recorder.cli.common import STDERR, complete_venue, console, make_venue, venue_settings
from recorder.clock import SystemClock
from recorder.errors import ConfigError, RestError
from recorder.instruments.catalog import Catalog, CatalogFile, fetch_catalog
from recorder.instruments.patterns import Pattern, is_pattern, rank, resolve
from recorder.printable import printable
from recorder.process.log import configure
from recorder.process.terminal import say, say_json
from recorder.rest.client import client_of
from recorder.settings import Settings
from recorder.venues import venue_class
from recorder.venues.base import Listing
from recorder.venues.canonical import called, meant

FRESH_S = 3600.0
"""A list of this age is good enough to check a symbol, because discovery fetches one every hour."""

_HEAD = ("symbol", "canonical", "base", "quote", "kind", "tick size", "min size", "status", "volume 24h")
_NAMED = 4  # instruments in a message
_SYMBOL_WIDTH = 20  # a token of Polymarket has 77 digits


class Listed(NamedTuple):
    """A catalog, and why it is not current."""

    catalog: Catalog
    warning: str | None


class CheckedSymbols(NamedTuple):
    """What symbols and patterns stand for."""

    symbols: list[str]  # with patterns resolved; without them where the list could not be fetched
    warning: str | None  # for the person; it does not stop the command
    spelled: list[str]  # what was given, with canonical names replaced by the venue's symbols


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(symbols)


def symbols(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Name of the venue, such as kraken.", autocompletion=complete_venue)],
    pattern: Annotated[
        str,
        typer.Option(
            "--filter",
            "-f",
            help="Only symbols or canonical names that contain this, or symbols that match a glob: `'*-USD'`.",
        ),
    ] = "",
    kind: Annotated[str | None, typer.Option(help="Only this kind: spot, perpetual, future, outcome, ...")] = None,
    status: Annotated[str | None, typer.Option(help="Only this status, in the venue's own words.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only this many, by traded volume of 24 hours.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List what a venue trades. When its REST service fails, the last list it gave is shown.

    Example: `tapedeck --config live symbols kraken --filter '*/USD' --top 20`
    """
    catalog, warning = fetch(context.obj.settings(), venue)
    if warning:
        say(f"tapedeck: {warning}", err=True)
    chosen = select(catalog.listings, pattern, kind, status, top)
    if as_json:
        for item in chosen:
            say_json(item)
        return 0
    rows = [
        [
            printable(text)
            for text in (
                item.symbol, item.canonical or "", item.base, item.quote, item.kind, item.tick_size or "",
                item.min_size or "", item.status, "" if item.volume is None else f"{item.volume:,.0f} {item.quote}",
            )
        ]
        for item in chosen
    ]  # fmt: skip
    console().list_rows(_HEAD, rows, ("volume 24h",))
    say(f"{len(chosen)} of {len(catalog.listings)} instruments", err=True)
    return 0


def fetch(settings: Settings, name: str, *, fresh_s: float = 0.0) -> Listed:
    """Return all instruments of a venue, now or as the venue listed them last.

    Args:
        settings: Where the venue is, and where its last answer is kept.
        name: Name of the venue.
        fresh_s: A last answer younger than this is used without a request.

    Raises:
        ConfigError: no venue has this name.
        RestError: the venue gave no list, neither now nor earlier.
    """
    venue = make_venue(settings, name)
    # A failure is reported as one sentence at the end; --debug shows the requests.
    configure(settings.log.model_copy(update={"level": "ERROR"}), "tapedeck", fd=STDERR)
    clock = SystemClock()
    own = venue_settings(settings, name)
    client = client_of(
        venue,
        own.rest_url,
        settings.websocket.user_agent,
        threading.Event(),
        settings.ca_file,
        settings.budgets_dir,
    )
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


def check_symbols(settings: Settings, name: str, wanted: list[str]) -> CheckedSymbols:
    """Compare symbols, canonical names and patterns with the venue's list.

    Raises:
        ConfigError: the venue does not list a symbol, a canonical name stands for several, or a pattern is malformed.
    """
    named = [text for text in wanted if Pattern.parse(text).is_symbol]
    try:
        listed = fetch(settings, name, fresh_s=FRESH_S)
        if any(symbol_of(name, text, listed.catalog.listings) is None for text in named):
            listed = fetch(settings, name)  # an instrument may be newer than the list we have
    except RestError as error:
        return CheckedSymbols(named, f"the symbols are not checked: {error}", wanted)
    listings = listed.catalog.listings
    spelled = []
    for text in wanted:
        symbol = text if is_pattern(text) else symbol_of(name, text, listings)
        if symbol is None:
            raise ConfigError(f"{name} does not list the symbol {text!r}{nearest_symbol(name, text, listings)}")
        spelled.append(symbol)
    found = resolve(spelled, listings)
    warnings = [listed.warning] if listed.warning else []
    warnings += [f"no instrument that trades at {name} matches {pattern!r} now" for pattern in found.unmatched]
    return CheckedSymbols(list(found.symbols), "; ".join(warnings) or None, spelled)


def spelled_as_listed(settings: Settings, name: str, wanted: list[str]) -> list[str]:
    """Return symbols and patterns with canonical names replaced by symbols, as far as the last list is at hand.

    Raises:
        ConfigError: a canonical name stands for several instruments.
    """
    own = venue_settings(settings, name)
    kept = CatalogFile(settings.home, name, own.rest_url or venue_class(name).rest_url).read()
    if kept is None:
        return wanted
    return [text if is_pattern(text) else symbol_of(name, text, kept.listings) or text for text in wanted]


def symbol_of(name: str, text: str, listings: Sequence[Listing]) -> str | None:
    """Return the venue's symbol for a symbol or a canonical name; None where it lists no such instrument.

    Raises:
        ConfigError: several instruments have this canonical name.
    """
    if any(one.symbol == text for one in listings):
        return text
    found = called(text, listings)
    if len(found) > 1:
        raise ConfigError(
            f"{name} has several instruments {text}: {_several(f'{one.symbol} ({one.kind})' for one in found)}; "
            "give the symbol of one of them"
        )
    return found[0].symbol if found else None


def _several(names: Iterable[str]) -> str:
    first = list(names)
    more = len(first) - _NAMED
    return ", ".join(first[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def select(
    listings: Sequence[Listing], pattern: str, kind: str | None, status: str | None, top: int | None
) -> list[Listing]:
    """Return the listings that match all conditions.

    Args:
        listings: All instruments of a venue.
        pattern: A glob, which is case-sensitive; or any part of the symbol, of the canonical name or of an outcome's
            name in any case.
        kind: Kind of instrument.
        status: In the venue's own words.
        top: How many, by the traded volume of 24 hours; None keeps the venue's order.
    """
    if is_pattern(pattern):
        found = Pattern.parse(pattern).matches(listings)
    else:
        part = pattern.upper()
        found = [
            one
            for one in listings
            if part in one.symbol.upper()
            or (one.canonical is not None and part in one.canonical.upper())
            or (one.kind == "outcome" and part in one.base.upper())
        ]
    chosen = [one for one in found if kind in (None, one.kind) and status in (None, one.status)]
    return chosen if top is None else rank(chosen, listings)[:top]


def nearest_symbol(venue: str, symbol: str, listings: Sequence[Listing]) -> str:
    """Return the end of an error message: the symbol that was probably meant."""
    if same := meant(symbol, listings, {}):
        return f"; did you mean {' or '.join(one.symbol for one in same[:_NAMED])}?"
    if same := meant(symbol, listings, venue_class(venue).assets):
        return f"; {venue}'s feed calls it {_several(one.symbol for one in same)}"
    plain = {one.symbol.replace("/", "").replace("-", "").upper(): one.symbol for one in listings}
    match = difflib.get_close_matches(symbol.replace("/", "").replace("-", "").upper(), plain, n=1)
    return f"; did you mean {plain[match[0]]}?" if match else "; `tapedeck symbols` lists all"


def short(symbol: str) -> str:
    """Return a symbol with its middle left out where a table has no room for all of it."""
    return symbol if len(symbol) <= _SYMBOL_WIDTH else f"{symbol[:8]}...{symbol[-8:]}"


def _age(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
