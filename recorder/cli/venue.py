"""Commands about one venue: record it here and now, list it, test it."""

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.table import Table

from recorder import __version__
from recorder.appliance import ROOT, wait_until
from recorder.cli import listing
from recorder.cli.common import Context, console, make_venue, require_symbols, venue_settings
from recorder.cli.decode import Decoder
from recorder.cli.probe import probe
from recorder.clock import SystemClock
from recorder.errors import ConfigError, JournalError, RecorderError
from recorder.events import Stream
from recorder.journal_reader import JournalReader, StoredBlock
from recorder.patterns import is_pattern
from recorder.settings import Settings
from recorder.venues import venue_class

Venue = Annotated[str, typer.Argument(help="Name of the venue, such as kraken.")]
Symbols = Annotated[list[str], typer.Argument(help="Symbols in the venue's own spelling.")]
READ_BYTES = 1 << 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(record)
    app.command()(symbols)
    app.command("test")(check)


def symbols(
    context: typer.Context,
    venue: Venue,
    pattern: Annotated[str, typer.Option("--filter", "-f", help="Only what contains this, or a glob: '*-USD'.")] = "",
    kind: Annotated[str | None, typer.Option(help="Only spot, perpetual, future, outcome, ...")] = None,
    status: Annotated[str | None, typer.Option(help="Only of this status, in the venue's own words.")] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Only so many, of most trading in 24 hours.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> int:
    """List what a venue trades, from its REST or, where that fails, as it was last time.

    Example: `tapedeck --config live symbols kraken --filter '*/USD' --top 20`
    """
    catalog, warning = listing.fetch(context.obj.settings(), venue)
    listings = catalog.listings
    if warning:
        typer.echo(f"tapedeck: {warning}", err=True)
    chosen = listing.select(listings, pattern, kind, status, top)
    if as_json:
        for item in chosen:
            typer.echo(msgspec.json.encode(item).decode())
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("symbol", "base", "quote", "kind", "tick size", "min size", "status"):
        table.add_column(name)
    table.add_column("volume 24h", justify="right")
    for item in chosen:
        volume = "" if item.volume is None else f"{item.volume:,.0f} {item.quote}"
        table.add_row(
            item.symbol,
            item.base,
            item.quote,
            item.kind,
            item.tick_size or "",
            item.min_size or "",
            item.status,
            volume,
        )
    console().print(table)
    typer.echo(f"{len(chosen)} of {len(listings)} instruments", err=True)
    return 0


def check(
    context: typer.Context,
    venue: Venue,
    wanted: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOLS]...", help="Default: the settings'.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the first data.")] = 15.0,
) -> int:
    """Connect, subscribe, wait for the first data, and say how long each took.

    Example: `tapedeck --config live test kraken BTC/USD`
    """
    settings: Settings = context.obj.settings()
    own = venue_settings(settings, venue)
    names = wanted or list(own.symbols)
    if not names:
        raise ConfigError(f"name a symbol, or give [venues.{venue}] symbols in the settings")
    require_symbols(names)
    if any(is_pattern(name) for name in names):
        names, warning = listing.check(settings, venue, names)
        if warning:
            typer.echo(f"tapedeck: {warning}", err=True)
        if not names:
            raise ConfigError(f"there is nothing to ask {venue} for")
    streams = [Stream(channel, symbol) for symbol in names for channel in own.channels]
    result = probe(make_venue(settings, venue), streams, int(settings.websocket.max_frame_mb * 2**20), timeout)
    for line in result.lines():
        typer.echo(line)
    if result.refused:
        raise ConfigError(f"{venue} refuses: {'; '.join(result.refused)}")
    if result.first_data_s is None:
        raise RecorderError(f"{venue} sent no data within {timeout:g} s")
    return 0


def record(
    context: typer.Context,
    venue: Venue,
    wanted: Annotated[
        list[str], typer.Argument(metavar="SYMBOLS...", help="Symbols as the venue spells them; or patterns.")
    ],
    into: Annotated[Path | None, typer.Option(help="Folder of the journal; default: record/ in the home.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long; default: at Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as `tapedeck decode` does.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Also print the recorder's log, all of it.")] = False,
) -> int:
    """Record in the foreground, into a journal of its own, and print the events. No database, no supervisord.

    Example: `tapedeck --config live record kraken BTC/USD ETH/USD`
    """
    options: Context = context.obj
    settings = options.settings()
    make_venue(settings, venue)
    require_symbols(wanted)
    names, warning = listing.check(settings, venue, wanted)
    if warning:
        typer.echo(f"tapedeck: {warning}", err=True)
    if not names:
        raise ConfigError(f"there is nothing to record at {venue}")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = (into or settings.home / "record" / f"{venue}-{stamp}").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = None if debug else (folder / "recorder.log").open("wb")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    typer.echo(f"tapedeck: recording into {folder}; Ctrl-C ends it", err=True)
    with log or nullcontext(sys.stderr) as output:
        child = subprocess.Popen(
            [sys.executable, str(ROOT / "bin" / "recorder"), venue],
            env=_environment(settings, venue, names, folder, debug or options.debug),
            stdout=output,
            stderr=output,
        )
        # Whatever ends us must end the recorder too.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            _print_events(child, folder / f"recorder-{venue}", venue, seconds, as_json)
        except KeyboardInterrupt:
            typer.echo("", err=True)  # the recorder had the same signal and is closing its journal
        finally:
            child.terminate()
            code = child.wait(30)
            signal.signal(signal.SIGTERM, before)
    if code:
        raise ConfigError(_last_line(folder / "recorder.log") or f"the recorder ended with status {code}")
    return 0


def _environment(settings: Settings, venue: str, names: list[str], folder: Path, debug: bool) -> dict[str, str]:
    """A home of its own and no database: nothing but the command line decides what is recorded."""
    key = f"TAPEDECK__VENUES__{venue.upper()}"
    return {
        **settings.environment(),
        "TAPEDECK_HOME": str(folder),
        "DATABASE_URL": "",
        "TAPEDECK__WEBSOCKET__USER_AGENT": f"tapedeck-record/{__version__}",  # `verify` counts the appliance only
        "TAPEDECK__JOURNAL__DIR": str(folder),
        f"{key}__ENABLED": "true",
        f"{key}__SYMBOLS": json.dumps(names),
        "DEBUG": str(debug).lower(),
    }


def _print_events(child: "subprocess.Popen[bytes]", folder: Path, venue: str, seconds: float | None, raw: bool) -> None:
    encode = msgspec.json.Encoder().encode
    for row in _events(child, folder, venue, float("inf") if seconds is None else seconds):
        typer.echo(encode(row).decode() if raw else show(row))


def _events(child: "subprocess.Popen[bytes]", folder: Path, venue: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Events of the journal while it is being written, until the recorder ends or has been at work for so long."""
    kind = venue_class(venue)
    decoders: dict[int, Decoder] = {}
    reader: JournalReader | None = None
    position = None
    limit_s = float("inf")

    def ended() -> bool:
        return child.poll() is not None or time.monotonic() > limit_s

    while True:
        last_round = ended()
        try:
            if reader is None:
                reader = JournalReader(folder)
                limit_s = time.monotonic() + seconds
        except JournalError:
            reader = None  # not made yet
        if reader is not None:
            position = position or reader.first()
            for item in reader.read(position, READ_BYTES):
                position = item.next
                if isinstance(item, StoredBlock):
                    for frame in reader.frames_of(item):
                        decoder = decoders.get(frame.session_id)
                        if decoder is None:
                            decoder = Decoder(kind().session(), kind.contiguous, SystemClock().wall_ns)
                            decoders[frame.session_id] = decoder
                        yield from decoder.frame(frame.payload, frame.ts_recv_ns)
        if last_round:
            for decoder in decoders.values():
                yield from decoder.gaps()
            return
        pause = itertools.count()
        wait_until(lambda pause=pause: ended() or next(pause) > 0, 1.0, pause_s=0.05)  # type: ignore[misc]


def show(row: dict[str, Any]) -> str:
    """One event as a line for a person."""
    symbol = row["symbol"]
    when = (row.get("ts_recv") or "")[11:26]
    match row["type"]:
        case "trade":
            return f"{when} trade {symbol} {row['price']} x {row['size']} {row['aggressor'] or ''} #{row['trade_id']}"
        case "quote":
            return f"{when} quote {symbol} {row['bid']} x {row['bid_size']} | {row['ask']} x {row['ask_size']}"
        case "book":
            return f"{when} book  {symbol} {row['kind']}: {len(row['bids'])} bids, {len(row['asks'])} asks"
        case "gap":
            return f"{'':15} gap   {symbol} {row['channel']}: {row['cause']}, {row['state']}"
    return str(row)


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")
