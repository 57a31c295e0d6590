"""`tapedeck decode`: raw frames of a file through a venue's session, events out. No network, no database."""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from recorder.cli.frame_files import received
from recorder.clock import SystemClock
from recorder.continuity import Continuity
from recorder.errors import ConfigError, DecodeError, NoFrame
from recorder.events import Book, Channel, Gap, Output, Quote, Refused, Resync, Stream, Trade, Witness
from recorder.venues.base import Session
from recorder.venues.dialects import dialects_of, spoken

_TOLD_BY = 100  # frames that tell a dialect
_AGGRESSOR = {"b": "buy", "s": "sell", None: None}


class Summary:
    """What a file held, counted as it is decoded."""

    def __init__(self) -> None:
        self.frames = 0
        self.events: Counter[str] = Counter()
        self.control: Counter[str] = Counter()  # acknowledgements, refusals, heartbeats, requests for a snapshot
        self.quarantined: Counter[str] = Counter()
        self.no_frames: Counter[str] = Counter()  # whole, but nothing a feed sends
        self.answers: Counter[bool] = Counter()  # of REST, by whether the session read them
        self.gaps: dict[int, Gap] = {}

    def report(self, session: Session) -> dict[str, Any]:
        """The summary as plain values."""
        audits = session.audits.values()
        return {
            "frames": self.frames,
            "events": dict(self.events),
            "control": dict(self.control),
            "quarantined": self.quarantined.total(),
            "quarantine_reasons": dict(self.quarantined),
            "no_frames": dict(self.no_frames),
            "rest_answers": {"read": self.answers[True], "unread": self.answers[False]},
            "checksums_passed": sum(audit.checksums_passed for audit in audits),
            "checksums_failed": sum(audit.checksums_failed for audit in audits),
            "books_crossed": sum(audit.crossed for audit in audits),
            "sequence_breaks": sum(gap.cause in ("sequence", "sequence_reset") for gap in self.gaps.values()),
        }


class Decoder:
    """One session over a file, with the continuity checks a recorder makes."""

    def __init__(self, session: Session, contiguous: frozenset[Channel], now_ns: Callable[[], int]) -> None:
        self.summary = Summary()
        self._session = session
        self._continuity = Continuity(contiguous, itertools.count(1).__next__)
        self._now_ns = now_ns

    def frame(self, frame: bytes, ts_recv_ns: int | None) -> Iterator[dict[str, Any]]:
        """Events of one frame; what cannot be decoded is counted with its reason."""
        self.summary.frames += 1
        now_ns = self._now_ns() if ts_recv_ns is None else ts_recv_ns
        try:
            outputs = self._session.decode(frame, now_ns)
        except NoFrame as error:
            self.summary.no_frames[str(error)] += 1
            return
        except DecodeError as error:
            self.summary.quarantined[str(error)[:200]] += 1
            return
        yield from self._rows(outputs, ts_recv_ns, now_ns)

    def answer(self, frame: bytes, ts_recv_ns: int | None) -> Iterator[dict[str, Any]]:
        """Events of an answer of REST; most venues' sessions read none."""
        now_ns = self._now_ns() if ts_recv_ns is None else ts_recv_ns
        try:
            outputs = self._session.decode(frame, now_ns)
        except DecodeError:
            self.summary.answers[False] += 1
            return
        self.summary.answers[True] += 1
        yield from self._rows(outputs, ts_recv_ns, now_ns)

    def _rows(self, outputs: Sequence[Output], ts_recv_ns: int | None, now_ns: int) -> Iterator[dict[str, Any]]:
        for output in outputs:
            self._account(output, now_ns)
            row = to_json(output, ts_recv_ns)
            if row:
                self.summary.events[row["type"]] += 1
                yield row
            else:
                self.summary.control[type(output).__name__.lower()] += 1
        for gap in self._continuity.take_gaps():
            self.summary.gaps[gap.gap_id] = gap

    def gaps(self) -> Iterator[dict[str, Any]]:
        """The last state of each gap; known only at the end, because late messages may still fill one."""
        for gap in self.summary.gaps.values():
            self.summary.events["gap"] += 1
            yield gap_to_json(gap)

    def report(self) -> dict[str, Any]:
        """The summary so far."""
        return self.summary.report(self._session)

    def _account(self, output: Output, now_ns: int) -> None:
        match output:
            case Trade():
                self._watch(Stream("trade", output.symbol), now_ns)
                self._continuity.trade(output)
            case Quote():
                self._watch(Stream("quote", output.symbol), now_ns)
                self._continuity.quote(output)
            case Book():
                self._watch(Stream("book", output.symbol), now_ns)
                self._continuity.book(output)
            case Witness():
                self._continuity.witness(output, now_ns)
            case Resync():
                self._watch(Stream("book", output.symbol), now_ns)
                self._continuity.lost([Stream("book", output.symbol)], output.cause, now_ns, None)
            case Refused(stream=Stream() as stream):
                self._watch(stream, now_ns)
                self._continuity.lost([stream], "refused", now_ns, None)

    def _watch(self, stream: Stream, now_ns: int) -> None:
        if self._continuity.state(stream) is None:
            self._continuity.watch(stream, 1, now_ns)


def to_json(output: Output, ts_recv_ns: int | None) -> dict[str, Any] | None:
    """An event under the names of the tables; None for what is no event (acknowledgements, heartbeats)."""
    match output:
        case Trade():
            return {
                "type": "trade",
                "symbol": output.symbol,
                "trade_id": output.trade_id,
                "ts_event": iso(output.ts_event_ns),
                "ts_recv": iso(ts_recv_ns),
                "price": output.price,
                "size": output.size,
                "aggressor": _AGGRESSOR[output.aggressor],
                "venue_trade_id": output.venue_trade_id,
            }
        case Quote():
            return {
                "type": "quote",
                "symbol": output.symbol,
                "ts_event": iso(output.ts_event_ns),
                "ts_recv": iso(ts_recv_ns),
                "sequence": output.sequence,
                "bid": output.bid,
                "bid_size": output.bid_size,
                "ask": output.ask,
                "ask_size": output.ask_size,
            }
        case Book():
            return {
                "type": "book",
                "symbol": output.symbol,
                "ts_event": iso(output.ts_event_ns),
                "ts_recv": iso(ts_recv_ns),
                "kind": "snapshot" if output.snapshot else "delta",
                "sequence": output.sequence,
                "bids": output.bids,
                "asks": output.asks,
            }
    return None


def gap_to_json(gap: Gap) -> dict[str, Any]:
    """A gap under the names of its table."""
    return {
        "type": "gap",
        "symbol": gap.symbol,
        "channel": gap.channel,
        "cause": gap.cause,
        "state": gap.state,
        "reason": gap.reason,
        "last_id": gap.last_id,
        "first_id": gap.first_id,
        "last_ts_event": iso(gap.last_ts_event_ns),
        "first_ts_event": iso(gap.first_ts_event_ns),
    }


def iso(time_ns: int | None) -> str | None:
    """UTC with microseconds, truncated, as the tables keep it."""
    if time_ns is None:
        return None
    seconds, rest_ns = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(decode)


def decode(
    venue: Annotated[str, typer.Argument(help="Whose dialect, such as kraken.")],
    file: Annotated[Path, typer.Argument(help="Raw frames, one a line, or JSON documents; .gz too.")],
) -> int:
    """Decode a file of raw frames: one JSON event a line on standard output, a JSON summary on standard error.

    Example: `tapedeck decode kraken frames.jsonl.gz | jq 'select(.type == "trade")'`

    Gaps come last. Times are UTC; `ts_recv` is known where `FILE` has its `.recv_ts.txt` beside it. Snapshots by REST
    are taken from a `.rest.jsonl` beside it, by their time. A venue's dialects are told apart by the first frames.
    """
    dialects = dialects_of(venue)
    if not file.is_file():
        raise ConfigError(f"there is no file {file}")
    clock = SystemClock()
    frames = received(file)
    first = list(itertools.islice(frames, _TOLD_BY if len(dialects) > 1 else 0))
    dialect = spoken(dialects, [item.frame for item in first if not item.rest], clock.wall_ns())
    decoder = Decoder(dialect.session(), dialect.contiguous, clock.wall_ns)
    _print(
        row
        for item in itertools.chain(first, frames)
        for row in (decoder.answer if item.rest else decoder.frame)(item.frame, item.ts_ns)
    )
    if decoder.summary.frames and decoder.summary.frames == decoder.summary.no_frames.total():
        raise ConfigError(f"{file} holds no frames of {venue}: {', '.join(decoder.summary.no_frames)}")
    _print(decoder.gaps())
    report = {"dialect": dialect.name, **decoder.report()}
    typer.echo(msgspec.json.format(msgspec.json.encode(report)).decode(), err=True)
    return 0


def _print(rows: Iterable[dict[str, Any]]) -> None:
    encode, write = msgspec.json.Encoder().encode, sys.stdout.buffer.write
    for row in rows:
        write(encode(row) + b"\n")
    sys.stdout.buffer.flush()
