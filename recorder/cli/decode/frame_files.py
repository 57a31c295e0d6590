"""Files of raw frames, and the files beside them: receipt times and REST answers of the same recording."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast
from urllib.parse import urlsplit

import msgspec

from recorder.errors import ConfigError

_DOCUMENTS_MAX_BYTES = 64 << 20
_LINE_MAX_BYTES = 64 << 20  # twice the largest frame that a recorder keeps by default


class Received(NamedTuple):
    """One frame, or one REST answer in the form in which a link passes it to a decoder."""

    frame: bytes
    ts_ns: int | None
    rest: bool = False


class _Exchange(msgspec.Struct, gc=False):
    """A line of `NAME.rest.jsonl`, or, without `url`, of `NAME.sent.jsonl`."""

    ts: float | str | None
    raw: str
    url: str | None = None


_decode_exchange = msgspec.json.Decoder(_Exchange).decode


def received(path: Path) -> Iterator[Received]:
    """Yield the frames of a capture and the REST answers beside it, by time of receipt.

    Where the time of an answer or of the frames is unknown, the answer comes first.

    Raises:
        ConfigError: the file cannot be read to its end, or holds something other than frames.
    """
    answers = _answers(path)
    answer = next(answers, None)
    times = receive_times(path)
    for number, frame in enumerate(read_frames(path)):
        if number == 0:
            _require_frame(path, frame)
        ts_ns = next(times, None)
        while answer is not None and (answer.ts_ns is None or ts_ns is None or answer.ts_ns <= ts_ns):
            yield answer
            answer = next(answers, None)
        yield Received(frame, ts_ns)
    while answer is not None:
        yield answer
        answer = next(answers, None)


def read_frames(path: Path) -> Iterator[bytes]:
    """Yield the frames of a file, `.gz` too: one a line, or JSON documents that span lines, without empty lines.

    Raises:
        ConfigError: the file cannot be read to its end.
    """
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        return
    if first[:1] in b"{[" and not _is_json(first):
        documents = _documents(_lines(path))
        if documents is not None:
            yield from documents
            return
    yield first
    yield from lines


def receive_times(path: Path) -> Iterator[int | None]:
    """Yield the receipt times beside a capture: `NAME.recv_ts.txt`, one Unix time in seconds or nanoseconds a line."""
    sidecar = _beside(path, ".recv_ts.txt")
    if sidecar is not None:
        for line in _lines(sidecar):
            yield _to_ns(line.decode())


def _answers(path: Path) -> Iterator[Received]:
    sidecar = _beside(path, ".rest.jsonl")
    if sidecar is None or sidecar == path:
        return
    for line in _lines(sidecar):
        try:
            answer = _decode_exchange(line)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"{sidecar} is not a file of REST answers: {error}") from None
        address = urlsplit(answer.url or "")
        asked = json.dumps(f"{address.path}?{address.query}" if address.query else address.path)
        frame = f'{{"rest":{asked},"status":200,"body":{answer.raw}}}'.encode()
        yield Received(frame, None if answer.ts is None else _to_ns(str(answer.ts)), rest=True)


def _require_frame(path: Path, line: bytes) -> None:
    try:
        exchange = _decode_exchange(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if exchange.url is None:
        raise ConfigError(f"{path} holds requests of a client, not frames")
    raise ConfigError(f"{path} holds REST answers, not frames; decode the capture beside it, which reads them")


def _beside(path: Path, ending: str) -> Path | None:
    name = path.name.removesuffix(".gz").rpartition(".")[0] + ending
    return next((file for file in (path.with_name(name), path.with_name(name + ".gz")) if file.is_file()), None)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as raw:
            gzipped = path.suffix == ".gz"
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if gzipped else raw
            # A compressed file of a few MB may hold one line of many GB.
            while line := file.readline(_LINE_MAX_BYTES):
                if len(line) == _LINE_MAX_BYTES:
                    raise ConfigError(
                        f"{path} has a line of {_LINE_MAX_BYTES >> 20} MiB or more, which no venue sends as one frame; "
                        "write one frame a line"
                    )
                if line := line.rstrip(b"\r\n"):
                    yield line
    except EOFError:
        raise ConfigError(f"{path} is cut short: its gzip stream has no end; copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"{path} is not a complete gzip file: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None


def _documents(lines: Iterable[bytes]) -> list[bytes] | None:
    """Return the JSON documents of a text, one after the other; None where it is anything else."""
    parts: list[bytes] = []
    size = 0
    for line in lines:
        size += len(line) + 1
        if size > _DOCUMENTS_MAX_BYTES:
            return None
        parts.append(line)
    try:
        text = b"\n".join(parts).decode().strip()
        scan, at = json.JSONDecoder().raw_decode, 0
        documents: list[bytes] = []
        while at < len(text):
            _, end = scan(text, at)
            documents.append(text[at:end].encode())
            at = len(text) - len(text[end:].lstrip())
    except (ValueError, RecursionError):
        return None
    return documents


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _to_ns(text: str) -> int | None:
    """Return an instant in ns from Unix seconds or nanoseconds; None for other text, such as a monotonic reading."""
    integer, _, fraction = text.strip().partition(".")
    if len(integer) == 19 and integer.isdecimal():
        return int(integer)
    if len(integer) == 10 and (integer + fraction).isdecimal():
        return int(integer) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return None
