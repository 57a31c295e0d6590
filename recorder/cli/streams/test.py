"""`tapedeck test`: connect to a venue, subscribe, and report the time and age of its first data."""

import threading
import time
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
import typer

from recorder import __version__
from recorder.capture.placement import assign_streams
from recorder.capture.websocket.connect_budget import ConnectBudget, path_of
from recorder.capture.websocket.connection import Connection
from recorder.cli.common import complete_venue, make_venue, require_symbols, venue_settings
from recorder.cli.streams import symbols
from recorder.clock import SystemClock
from recorder.errors import ConfigError, ConnectFailed, DecodeError, RecorderError
from recorder.events import Accepted, Book, Quote, Refused, Reply, Stream, Trade
from recorder.instruments.patterns import is_pattern
from recorder.printable import masked_url
from recorder.process.reach import unreachable
from recorder.process.terminal import say
from recorder.settings import Settings
from recorder.venues.base import Venue, requests_of


class Probe(msgspec.Struct):
    """Findings, with times in seconds from the start of the connection."""

    url: str
    connected_s: float
    requested: int  # streams
    accepted: set[Stream]
    subscribed_s: float | None = None  # when the last stream was accepted
    first_data_s: float | None = None
    first_data: str = ""
    latency_ms: float | None = None  # lowest (receipt time - venue's time); depends on both clocks
    frames: int = 0
    quarantined: int = 0
    refused: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether nothing more is expected."""
        answered = self.first_data_s is not None and len(self.accepted) >= self.requested
        return bool(self.refused) or answered

    def lines(self) -> list[str]:
        """Return the findings for a person."""
        result = [f"connected   {self.connected_s * 1000:8.0f} ms  {self.url}"]
        if self.subscribed_s is not None:
            result.append(
                f"subscribed  {self.subscribed_s * 1000:8.0f} ms  {len(self.accepted)} of {self.requested} streams"
            )
        if self.first_data_s is not None:
            result.append(f"first data  {self.first_data_s * 1000:8.0f} ms  {self.first_data}")
        if self.latency_ms is not None:
            result.append(f"latency     {self.latency_ms:8.1f} ms  venue's clock to ours")
        if self.quarantined:
            result.append(f"not understood: {self.quarantined} of {self.frames} frames")
        return result


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("test")(check_venue)


def check_venue(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="Name of the venue, such as kraken.", autocompletion=complete_venue)],
    wanted: Annotated[
        list[str] | None, typer.Argument(metavar="SYMBOL", help="Default: the symbols of the settings.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to wait for the first data.")] = 15.0,
) -> int:
    """Connect to a venue, subscribe, wait for the first data, and print how long each took.

    Example: `tapedeck --config live test kraken BTC/USD`
    """
    settings: Settings = context.obj.settings()
    own = venue_settings(settings, venue)
    names = wanted or list(own.symbols)
    if not names:
        raise ConfigError(f"name a symbol, or list symbols under [venues.{venue}] in the settings")
    require_symbols(names)
    if any(is_pattern(name) for name in names):
        names, warning, _ = symbols.check_symbols(settings, venue, names)
        if warning:
            say(f"tapedeck: {warning}", err=True)
        if not names:
            raise ConfigError(f"no symbol of {venue} is left to ask for")
    names = symbols.spelled_as_listed(settings, venue, names)
    streams = [Stream(channel, symbol) for symbol in names for channel in own.channels]
    kind = make_venue(settings, venue)
    try:
        result = probe(kind, streams, settings, timeout)
    except ConnectFailed as error:
        raise RecorderError(explain(error, kind.endpoint)) from None
    for line in result.lines():
        say(line)
    if result.refused:
        raise ConfigError(f"{venue} refuses: {'; '.join(result.refused)}{_unlisted(settings, venue, names)}")
    if result.first_data_s is None:
        raise RecorderError(f"{venue} sent no data within {timeout:g} s")
    return 0


def _unlisted(settings: Settings, venue: str, names: list[str]) -> str:
    """Return the end of a message about refused symbols: which of them the venue does not list."""
    try:
        symbols.check_symbols(settings, venue, names)
    except ConfigError as error:
        return f"; {error}"
    return ""


def probe(venue: Venue, streams: Sequence[Stream], settings: Settings, timeout_s: float) -> Probe:
    """Connect, subscribe, and read until every stream is answered and data has come, or the time is over.

    Raises:
        ConnectFailed, Closed: the venue refuses or ends the connection.
    """
    clock = SystemClock()
    connects = ConnectBudget(path_of(settings.budgets_dir, venue.name), venue.limits.connects_per_minute, clock)
    while wait_s := connects.take(0.0):  # the recorders of the venue share its limit with us
        if wait_s > 2:
            say(f"tapedeck: waiting {wait_s:.0f} s: {venue.name} allows no more connects now", err=True)
        time.sleep(wait_s)
    began = time.monotonic()
    streams = sorted(
        assign_streams(streams, [], venue.limits, 1).links[0], key=lambda stream: (stream.channel, stream.symbol)
    )
    connection = Connection(
        venue.endpoint,
        int(settings.websocket.max_frame_mb * 2**20),
        f"tapedeck-test/{__version__}",
        settings.ca_file,
        clock,
        threading.Event(),
    )
    result = Probe(masked_url(venue.endpoint), time.monotonic() - began, len(streams), set())
    decoder = venue.decoder()
    try:
        for frame in requests_of(venue, decoder).subscribe(streams):
            connection.send(frame)
        while time.monotonic() - began < timeout_s and not result.complete:
            for message in connection.receive(0.25) or ():
                result.frames += 1
                if not isinstance(message, bytes):
                    continue
                now_ns = time.time_ns()
                try:
                    outputs = decoder.decode(message, now_ns)
                except DecodeError:
                    result.quarantined += 1
                    continue
                for output in outputs:
                    match output:
                        case Reply(frame=frame):
                            connection.send(frame)
                        case Accepted(stream=stream):
                            result.accepted.add(stream)
                            result.subscribed_s = time.monotonic() - began
                        case Refused(reason=reason):
                            result.refused.append(reason)
                        case Trade() | Quote() | Book():
                            _add(result, output, now_ns, time.monotonic() - began)
    finally:
        connection.close()
    return result


def _add(result: Probe, event: Trade | Quote | Book, now_ns: int, elapsed_s: float) -> None:
    if result.first_data_s is None:
        result.first_data_s, result.first_data = elapsed_s, f"{type(event).__name__.lower()} of {event.symbol}"
    if event.ts_event_ns is not None:
        age_ms = (now_ns - event.ts_event_ns) / 1e6
        if result.latency_ms is None or age_ms < result.latency_ms:
            result.latency_ms = age_ms


def explain(error: ConnectFailed, url: str) -> str:
    """Return why no connection was opened, and what to check, as one sentence."""
    reason = unreachable(error, url)
    if reason is not None:
        return reason
    parts = urlsplit(url)
    place = f"{parts.hostname or url}:{parts.port or (443 if parts.scheme == 'wss' else 80)}"
    return f"{place} accepts no WebSocket connection: {error}"
