"""Files of raw frames, and what lies beside them: receipt times and answers of REST taken in the same run."""

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


class Received(NamedTuple):
    """One frame, or one answer of REST in the form the link hands it to a session."""

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
    """Frames of a capture with the REST answers beside it, by time of receipt.

    An answer whose time is unknown, or beside frames whose times are, comes before them.

    Raises:
        ConfigError: the file cannot be read to its end, or holds no frames.
    """
    answers = _answers(path)
    answer = next(answers, None)
    times = receive_times(path)
    for number, frame in enumerate(read_frames(path)):
        if number == 0:
            _refuse_what_is_no_frame(path, frame)
        ts_ns = next(times, None)
        while answer is not None and (answer.ts_ns is None or ts_ns is None or answer.ts_ns <= ts_ns):
            yield answer
            answer = next(answers, None)
        yield Received(frame, ts_ns)
    while answer is not None:
        yield answer
        answer = next(answers, None)


def read_frames(path: Path) -> Iterator[bytes]:
    """Frames of a file, `.gz` too: one a line, or JSON documents that span lines. Empty lines are left out.

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
    """Receipt times beside a capture (`NAME.recv_ts.txt`, unix seconds or nanoseconds a line); without it, none."""
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
            raise ConfigError(f"{sidecar} is not of the form of REST answers: {error}") from None
        address = urlsplit(answer.url or "")
        asked = json.dumps(f"{address.path}?{address.query}" if address.query else address.path)
        frame = f'{{"rest":{asked},"status":200,"body":{answer.raw}}}'.encode()
        yield Received(frame, None if answer.ts is None else _to_ns(str(answer.ts)), rest=True)


def _refuse_what_is_no_frame(path: Path, line: bytes) -> None:
    try:
        exchange = _decode_exchange(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if exchange.url is None:
        raise ConfigError(f"{path} holds what a client sent, no frames")
    raise ConfigError(f"{path} holds answers of REST, no frames; they are taken in with the capture they lie beside")


def _beside(path: Path, ending: str) -> Path | None:
    name = path.name.removesuffix(".gz").rpartition(".")[0] + ending
    return next((file for file in (path.with_name(name), path.with_name(name + ".gz")) if file.is_file()), None)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as raw:
            gzipped = path.suffix == ".gz"
            file = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if gzipped else raw
            for line in file:
                if line := line.rstrip(b"\r\n"):
                    yield line
    except EOFError:
        raise ConfigError(f"{path} is cut short: its gzip stream has no end; copy it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"{path} is not a whole gzip file: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from None


def _documents(lines: Iterable[bytes]) -> list[bytes] | None:
    """JSON documents as they stand one after the other; None where the text is not made of such."""
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
    """Unix seconds or nanoseconds; None for what is no instant, such as a monotonic reading."""
    whole, _, fraction = text.strip().partition(".")
    if len(whole) == 19 and whole.isdecimal():
        return int(whole)
    if len(whole) == 10 and (whole + fraction).isdecimal():
        return int(whole) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return None
