"""Commands about settings and the database."""

import json
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from recorder import migrate as migrations
from recorder.appliance import wait_until
from recorder.cli import listing, proof
from recorder.cli.common import Context, require_symbols, venue_settings
from recorder.clock import SystemClock
from recorder.database import READER, connect
from recorder.errors import ConfigError
from recorder.health import Report, read_all
from recorder.postgres import database_url
from recorder.settings import Settings
from recorder.store_subscription import set_subscriptions
from recorder.venues import venue_class
from recorder.verify import verify as check

_STALL_NS = 5_000_000_000  # a machine that is short of processors leaves what came this long in its sockets

Venue = Annotated[str, typer.Argument(help="Name of the venue, such as kraken.")]
Symbols = Annotated[
    list[str],
    typer.Argument(help="Symbols in the venue's own spelling; or patterns: '*-USD', top:20, top:20:*-USD."),
]
ChannelOption = Annotated[
    list[str] | None,
    typer.Option("--channel", help="trade, quote or book; repeat for more. Default: all."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(subscribe)
    app.command()(unsubscribe)
    app.command()(verify)
    app.command()(settings)
    app.command()(migrate)


def settings(context: typer.Context, as_json: Annotated[bool, typer.Option("--json")] = False) -> int:
    """Print every setting, where it comes from, secrets masked.

    Example: `WEBSOCKET_RECONNECT_DELAY=2 tapedeck --config live settings`
    """
    loaded: Settings = context.obj.settings()
    if as_json:
        typer.echo(json.dumps(loaded.model_dump(mode="json"), indent=2))
        return 0
    rows = list(loaded.rows())
    width = max(len(key) + len(value) for key, value, _ in rows) + 3
    for key, value, origin in rows:
        typer.echo(f"{f'{key} = {value}':<{width}}  # {origin}")
    return 0


def migrate(context: typer.Context) -> int:
    """Bring the database schema up to date; safe at any time, and by several at once.

    Example: `DATABASE_URL=postgresql://me@db.example/tape tapedeck migrate`
    """
    return migrations.main(context.obj.settings(), [])


def subscribe(context: typer.Context, venue: Venue, symbols: Symbols, channel: ChannelOption = None) -> int:
    """Record more, while the appliance runs; nothing reconnects. A pattern is resolved anew every hour.

    Example: `tapedeck subscribe kraken SOL/USD 'top:20:*/USD' --channel trade --channel quote`
    """
    return _change(context.obj, venue, symbols, channel, active=True)


def unsubscribe(context: typer.Context, venue: Venue, symbols: Symbols, channel: ChannelOption = None) -> int:
    """Record less, while the appliance runs; a gap says when it ended. What is ended by name, no pattern brings back.

    Example: `tapedeck unsubscribe kraken XRP/USD`
    """
    return _change(context.obj, venue, symbols, channel, active=False)


def _change(options: Context, venue: str, symbols: list[str], channels: list[str] | None, *, active: bool) -> int:
    known = venue_class(venue).channels
    wrong = [name for name in channels or () if name not in known]
    if wrong:
        raise ConfigError(f"{venue} has no channel {wrong[0]!r}; there are {', '.join(known)}")
    require_symbols(symbols)
    loaded = options.settings()
    chosen = channels or venue_settings(loaded, venue).channels
    warning = listing.check(loaded, venue, symbols).warning if active else None
    if warning:
        typer.echo(f"tapedeck: {warning}", err=True)
    changed = set_subscriptions(database_url(loaded), venue, symbols, chosen, active=active)
    typer.echo(f"{changed} of {len(symbols) * len(chosen)} streams changed; the recorder is told")
    return 0


def verify(
    context: typer.Context,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Truth log of the simulator: a file, or its folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    wait: Annotated[float, typer.Option(help="Most seconds to wait for the writer to catch up.")] = 30.0,
) -> int:
    """Prove what is stored: offered = inserted + duplicate + quarantined, and nothing doubled.

    With the simulator's truth also: stored + declared gaps = sent, nothing missing undeclared, no wrong value.
    While the appliance runs, everything up to the moment of the call is judged, once the writer has it; what seems
    to be missing is looked for once more five seconds later.

    Example: `tapedeck verify --truth var/simulator`
    """
    loaded: Settings = context.obj.settings()
    logs = _truth_logs(truth)
    now_ns = SystemClock().wall_ns()
    until_ns = now_ns if _wait_for_writer(loaded, now_ns, wait) else None
    connection = connect(database_url(loaded), application_name="tapedeck", role=READER)
    try:
        report = check(connection, logs, until_ns=until_ns, agent=loaded.websocket.user_agent)
        if not report.ok and until_ns is not None and _wait_for_writer(loaded, now_ns + _STALL_NS, wait):
            # What was sent may still wait in a socket: what is not there now either is missing.
            report = check(connection, logs, until_ns=until_ns, agent=loaded.websocket.user_agent)
    finally:
        connection.close()
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for line in proof.lines(report):
            typer.echo(line)
    return 0 if report.ok else 1


def _truth_logs(truth: Path | None) -> list[Path]:
    if truth is None:
        return []
    logs = sorted(truth.glob("truth-*.jsonl")) if truth.is_dir() else [truth]
    if not logs or not logs[0].is_file():
        raise ConfigError(f"there is no truth log in {truth}; a running simulator writes one")
    return logs


def _wait_for_writer(settings: Settings, since_ns: int, wait_s: float) -> bool:
    """Wait until all received before `since_ns` is stored.

    Returns:
        False when no writer is at work, so that there is nothing to wait for.
    """
    since_s = since_ns / 1e9

    def writer() -> Report | None:
        report = read_all(settings.home).get("writer")
        return None if report is None or report.stale(time.time()) else report

    def caught_up() -> bool:
        report = writer()
        if report is None:
            return True
        # What is younger than lag_s may be on its way; a recorder holds a frame for less than a second.
        return report.updated_at - float(report.metrics.get("lag_s") or 0.0) > since_s + 1.0

    wait_until(caught_up, wait_s)
    return writer() is not None
