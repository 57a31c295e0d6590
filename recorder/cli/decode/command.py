"""`tapedeck decode`: a file of raw frames through a venue's decoder. It needs no network and no database."""

import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from recorder.cli.common import complete_venue, console
from recorder.cli.decode.file_decoder import FileDecoder
from recorder.cli.decode.frame_files import Received, received
from recorder.clock import SystemClock
from recorder.errors import ConfigError, RecorderError
from recorder.printable import printable_json
from recorder.process.screen import shown
from recorder.process.terminal import say_json
from recorder.venues.dialects import dialects_of, match_dialect

_DIALECT_SAMPLE_FRAMES = 100  # enough to recognise a dialect
_COUNT_EVERY = 10_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(decode)


def decode(
    venue: Annotated[str, typer.Argument(help="Venue that sent the frames.", autocompletion=complete_venue)],
    file: Annotated[Path, typer.Argument(help="Raw frames, one a line, or JSON documents; .gz too.")],
) -> int:
    """Decode a file of raw frames: one JSON event a line on standard output, a JSON summary on standard error.

    Example: `tapedeck decode kraken frames.jsonl.gz | jq 'select(.type == "trade")'`

    Gaps come last. Times are UTC; `ts_recv` is known where a file NAME.recv_ts.txt lies beside NAME.jsonl. Book
    snapshots by REST are read from NAME.rest.jsonl, by their time. The first frames decide which of a venue's dialects
    the file is in.

    Exit code: 0 when frames were decoded, even if some were not; 1 when none could be decoded, or the file is empty; 2
    when an argument is wrong: no such venue, no such file, or a file that cannot be read or is not one of frames.
    """
    dialects = dialects_of(venue)
    if file.is_dir():
        raise ConfigError(f"{file} is a folder; name one file in it")
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    clock = SystemClock()
    frames = received(file)
    first = list(itertools.islice(frames, _DIALECT_SAMPLE_FRAMES if len(dialects) > 1 else 0))
    dialect = match_dialect(dialects, [item.frame for item in first if not item.rest], clock.wall_ns())
    decoder = FileDecoder(dialect.decoder(), dialect.contiguous, clock.wall_ns)
    _print(
        row
        for item in _counted(itertools.chain(first, frames), file.name)
        for row in (decoder.answer if item.rest else decoder.frame)(item.frame, item.ts_ns)
    )
    summary = decoder.summary
    if summary.frames and summary.frames == summary.no_frames.total():
        raise ConfigError(f"{file} holds no frames of {venue}: {', '.join(summary.no_frames)}")
    _print(decoder.gaps())
    report = {"dialect": dialect.name, **decoder.report()}
    say_json(report, indented=True, err=True)
    if not summary.frames:
        raise RecorderError(f"{file} is empty")
    if not summary.understood:
        reason = next(iter(summary.quarantined))
        raise RecorderError(f"no frame of {file} could be decoded; is it from {venue}? The first reason: {reason}")
    return 0


def _counted(items: Iterable[Received], name: str) -> Iterator[Received]:
    """Pass items on, and count them on a terminal that does not show the events themselves."""
    screen = console(stderr=True)
    if not screen.is_terminal or sys.stdout.isatty():
        yield from items
        return
    with screen.status(shown(f"decoding {name}")) as status:
        for number, item in enumerate(items, 1):
            if number % _COUNT_EVERY == 0:
                status.update(shown(f"decoding {name}: {number:,} frames"))
            yield item


def _print(rows: Iterable[dict[str, Any]]) -> None:
    encode, write = msgspec.json.Encoder().encode, sys.stdout.buffer.write
    for row in rows:
        write(printable_json(encode(row)).encode() + b"\n")
    sys.stdout.buffer.flush()
