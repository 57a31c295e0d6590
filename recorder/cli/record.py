"""`tapedeck record`: a recorder in the foreground with a journal of its own, and its events on standard output."""

import itertools
import json
import math
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

from recorder import __version__
from recorder.appliance.processes import wait_until
from recorder.capture.overlap import ControlRecord
from recorder.cli.common import Context, complete_venue, make_venue, require_symbols
from recorder.cli.decode.file_decoder import FileDecoder
from recorder.cli.streams import symbols
from recorder.clock import SystemClock
from recorder.errors import ConfigError, JournalError, RecorderError
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.printable import printable_json
from recorder.process.files import make_home
from recorder.process.terminal import say
from recorder.settings import Settings
from recorder.venues import VENUES, venue_class

READ_BYTES = 1 << 20
STOP_WAIT_S = 30.0
USER_MUST_ACT = 2  # exit status of a program whose settings are wrong


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(record)


def record(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[VENUE] SYMBOL",
            help="The venue and symbols as it spells them, or patterns. Without a venue: the one whose settings list "
            "the first symbol.",
            autocompletion=complete_venue,
        ),
    ],
    into: Annotated[Path | None, typer.Option(help="Folder of the journal. Default: record/ in the home.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.0, help="Stop after this time. Default: at Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as `tapedeck decode` does.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the recorder's complete log too.")] = False,
) -> int:
    """Record in the foreground into a journal of its own, and print the events. It needs no database.

    Exit code: 0 when events came, 1 when none came or the recorder failed, 2 when you must change something.

    Example: `tapedeck --config live record kraken BTC/USD ETH/USD`
    """
    options: Context = context.obj
    settings = options.settings()
    venue, wanted = _venue_and_symbols(settings, words)
    make_venue(settings, venue)
    require_symbols(wanted)
    names, warning, _ = symbols.check_symbols(settings, venue, wanted)
    if warning:
        say(f"tapedeck: {warning}", err=True)
    if not names:
        raise ConfigError(f"no symbol of {venue} is left to record")
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = (into or settings.home / "record" / f"{venue}-{stamp}").absolute()
    try:
        make_home(folder)
        log = None if debug else (folder / "recorder.log").open("wb")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}") from None
    say(f"tapedeck: recording {venue} into {folder}; Ctrl-C stops it", err=True)
    with log or nullcontext(sys.stderr) as output:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "recorder.programs.recorder", venue],
            env=_environment(settings, venue, names, folder, debug or options.debug),
            stdout=output,
            stderr=output,
        )
        # A signal that ends this command must end the recorder too.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        printed = 0
        try:
            for row in _events(child, folder / f"recorder-{venue}", venue, math.inf if seconds is None else seconds):
                printed += 1
                say(printable_json(msgspec.json.encode(row)) if as_json else show(row))
        except KeyboardInterrupt:
            say("", err=True)  # the recorder got the same signal and closes its journal
        finally:
            code = _stop(child)
            signal.signal(signal.SIGTERM, before)
    if code:
        sentence = _last_line(folder / "recorder.log") or f"the recorder ended with status {code}"
        raise ConfigError(sentence) if code == USER_MUST_ACT else RecorderError(sentence)
    if not printed:
        place = "the log above" if debug else folder / "recorder.log"
        raise RecorderError(f"nothing of {venue} was received; {place} says what happened")
    return 0


def _stop(child: "subprocess.Popen[bytes]") -> int:
    """End the recorder and return its exit status.

    Raises:
        RecorderError: it had to be killed.
    """
    child.terminate()
    try:
        code = child.wait(STOP_WAIT_S)
        return 0 if -code in (signal.SIGTERM, signal.SIGINT) else code  # it may end before it handles our signal
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        raise RecorderError(f"the recorder did not stop within {STOP_WAIT_S:.0f} s and was killed") from None


def _venue_and_symbols(settings: Settings, words: list[str]) -> tuple[str, list[str]]:
    """Take the venue from the words, or from the settings that list the first symbol.

    Raises:
        ConfigError: no symbol is given, no venue has this name, or several venues record this symbol.
    """
    if words[0] in VENUES:
        if not words[1:]:
            raise ConfigError(f"name a symbol of {words[0]}; `tapedeck symbols {words[0]}` lists them")
        return words[0], words[1:]
    found = [name for name, own in settings.venues.items() if words[0] in own.symbols]
    if not found:
        venue_class(words[0])  # raises, and suggests the nearest venue
    if len(found) > 1:
        raise ConfigError(f"{' and '.join(found)} record {words[0]}; name the venue before the symbol")
    return found[0], words


def _environment(settings: Settings, venue: str, names: list[str], folder: Path, debug: bool) -> dict[str, str]:
    """Return an environment with a home of its own and no database, so that the command line alone decides."""
    key = f"TAPEDECK__VENUES__{venue.upper()}"
    return {
        **settings.environment(),
        "TAPEDECK__HOME": str(folder),
        "TAPEDECK__DATABASE__URL": "",
        "TAPEDECK__DATABASE__HOST": "",
        "TAPEDECK__WEBSOCKET__USER_AGENT": f"tapedeck-record/{__version__}",  # so that `verify` leaves it out
        "TAPEDECK__JOURNAL__DIR": str(folder),
        f"{key}__ENABLED": "true",
        f"{key}__SYMBOLS": json.dumps(names),
        "DEBUG": str(debug).lower(),
    }


def _events(child: "subprocess.Popen[bytes]", folder: Path, venue: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield events of the journal while it is written, until the recorder ends or the time is over."""
    kind = venue_class(venue)
    decoders: dict[int, FileDecoder] = {}
    reader: JournalReader | None = None
    position = None
    limit_s = math.inf

    def ended() -> bool:
        return child.poll() is not None or time.monotonic() > limit_s

    while True:
        last_round = ended()
        try:
            if reader is None:
                reader = JournalReader(folder)
                limit_s = time.monotonic() + seconds
        except JournalError:
            reader = None  # the recorder has not made it yet
        if reader is not None:
            position = position or reader.first()
            for item in reader.read(position, READ_BYTES):
                position = item.next
                if isinstance(item, StoredBlock):
                    for frame in reader.frames_of(item):
                        decoder = decoders.get(frame.session_id)
                        if decoder is None:
                            decoder = FileDecoder(kind().decoder(), kind.contiguous, SystemClock().wall_ns)
                            decoders[frame.session_id] = decoder
                        record = ControlRecord.decode(frame.payload)
                        if record is not None:
                            decoder.follow(record)
                        else:
                            yield from decoder.frame(frame.payload, frame.ts_recv_ns)
        if last_round:
            for decoder in decoders.values():
                yield from decoder.gaps()
            return
        pause = itertools.count()
        wait_until(lambda pause=pause: ended() or next(pause) > 0, 1.0, pause_s=0.05)  # type: ignore[misc]


def show(row: dict[str, Any]) -> str:
    """Return one event as a line for a person."""
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
