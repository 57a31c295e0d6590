"""Commands that change and list what recorders record while the appliance runs."""

import time
from typing import Annotated

import typer

from recorder.appliance.embedded_postgres import database_url
from recorder.cli.common import Context, complete_venue, console, require_symbols, say_folded, venue_settings
from recorder.cli.streams import symbols as listed
from recorder.errors import ConfigError, nearest
from recorder.instruments.subscription_store import Subscription, list_subscriptions, set_subscriptions
from recorder.printable import printable
from recorder.process.health import read_all
from recorder.process.slots import SLOTS, program_of
from recorder.process.terminal import say, say_json
from recorder.settings import Settings
from recorder.store.database import READER, RECORDER
from recorder.venues import venue_class

_HEAD = ("symbols", "channels", "state", "priority", "since", "kept by")

Venue = Annotated[str, typer.Argument(help="Name of the venue, such as kraken.", autocompletion=complete_venue)]
Symbols = Annotated[
    list[str],
    typer.Argument(
        help="Symbols in the venue's own spelling, canonical names (BTC-USD), or patterns: `'*-USD'`, `top:20`, "
        "`'top:20:*-USD'`."
    ),
]
ChannelOption = Annotated[
    list[str] | None,
    typer.Option("--channel", metavar="NAME", help="trade, quote or book; repeat it for more. Default: all."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(subscribe)
    app.command()(unsubscribe)
    app.command()(subscriptions)


def subscribe(context: typer.Context, venue: Venue, symbols: Symbols, channel: ChannelOption = None) -> int:
    """Record more symbols while the appliance runs; nothing reconnects.

    A pattern is resolved again every hour. Quote it, so that the shell leaves it alone.

    Example: `tapedeck subscribe kraken SOL/USD 'top:20:*/USD' --channel trade --channel quote`
    """
    settings, channels = _prepare(context.obj, venue, symbols, channel)
    checked = listed.check_symbols(settings, venue, symbols)
    if checked.warning:
        say(f"tapedeck: {checked.warning}", err=True)
    return _change(settings, venue, checked.spelled, channels, active=True)


def unsubscribe(context: typer.Context, venue: Venue, symbols: Symbols, channel: ChannelOption = None) -> int:
    """Record fewer symbols while the appliance runs; a gap declares when each ended.

    A symbol that you unsubscribe by name stays off, even if a pattern matches it.

    Example: `tapedeck unsubscribe kraken XRP/USD`
    """
    settings, channels = _prepare(context.obj, venue, symbols, channel)
    spelled = listed.spelled_as_listed(settings, venue, symbols)
    return _change(settings, venue, spelled, channels, active=False)


def subscriptions(
    context: typer.Context,
    venue: Annotated[str | None, typer.Argument(help="Only this venue.", autocompletion=complete_venue)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List the subscriptions in the database, with the streams that are left out.

    Example: `tapedeck subscriptions kraken`
    """
    if venue is not None:
        venue_class(venue)
    rows = list_subscriptions(database_url(context.obj.settings(), READER), venue)
    if as_json:
        for row in rows:
            say_json(row)
        return 0
    cells = []
    merged: dict[tuple[str, str, bool, int, str], list[Subscription]] = {}
    for row in rows:
        merged.setdefault((row.venue, row.symbol, row.active, row.priority, row.origin), []).append(row)
    for (name, symbol, active, priority, origin), group in merged.items():
        since = min(row.updated_at for row in group)
        channels = ", ".join(row.channel for row in group)
        state = "recorded" if active else "left out"
        stream = printable(f"{name} {listed.short(symbol)}")
        cells.append([stream, channels, state, str(priority), f"{since:%Y-%m-%d %H:%M} UTC", origin])
    console().list_rows(_HEAD, cells)
    active_rows = sum(row.active for row in rows)
    say(f"{active_rows} subscriptions, {len(rows) - active_rows} streams left out", err=True)
    return 0


def _prepare(
    options: Context, venue: str, symbols: list[str], channels: list[str] | None
) -> tuple[Settings, tuple[str, ...]]:
    """Check the arguments and return the settings and the channels to change."""
    known = venue_class(venue).channels
    for name in channels or ():
        if name not in known:
            raise ConfigError(f"{venue} has no channel {name!r}{nearest(name, known)}")
    require_symbols(symbols)
    settings = options.settings()
    return settings, tuple(channels or venue_settings(settings, venue).channels)


def _change(settings: Settings, venue: str, symbols: list[str], channels: tuple[str, ...], *, active: bool) -> int:
    changed = set_subscriptions(database_url(settings, RECORDER), venue, symbols, channels, active=active)
    own = settings.venues.get(venue)
    recorded = own is not None and own.enabled
    notified = "recorders are notified" if recorded else "it is in the database only"
    say(f"{changed} of {len(symbols) * len(channels)} streams changed; {notified}")
    if active and not recorded:
        say_folded(
            f"tapedeck: nothing records {venue}: enable [venues.{venue}] in the settings, then `tapedeck upgrade` "
            "starts its recorder",
            err=True,
        )
    elif active:
        reports = read_all(settings.home)
        recorders = [program_of(name, slot) for name in (own.recorders(venue) if own else []) for slot in SLOTS]
        if not any(name in reports and not reports[name].stale(time.time()) for name in recorders):
            say(f"tapedeck: no recorder of {venue} runs here now; one that starts records it", err=True)
    return 0
