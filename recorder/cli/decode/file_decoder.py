"""Raw frames of a file to events as plain values, with counts and gaps."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from recorder.capture.continuity import Continuity
from recorder.capture.counting import OUT_OF_RANGE
from recorder.capture.overlap import ControlRecord
from recorder.errors import DecodeError, NotAFeedFrame
from recorder.events import Book, Channel, Gap, Output, Quote, Refused, Resync, Stream, Trade, Witness
from recorder.timestamps import plausible
from recorder.venues.base import Conversation, Decoder

_AGGRESSOR = {"b": "buy", "s": "sell", None: None}


class Summary:
    """Counts of what a file held."""

    def __init__(self) -> None:
        self.frames = 0
        self.events: Counter[str] = Counter()
        self.control: Counter[str] = Counter()  # acknowledgements, refusals, heartbeats, requests for a snapshot
        self.quarantined: Counter[str] = Counter()
        self.no_frames: Counter[str] = Counter()  # valid text that no feed sends, by reason
        self.answers: Counter[bool] = Counter()  # REST answers, by whether the decoder uses them
        self.gaps: dict[int, Gap] = {}

    @property
    def understood(self) -> int:
        """How many frames and REST answers were decoded."""
        return self.frames - self.quarantined.total() - self.no_frames.total() + self.answers[True]

    def report(self, decoder: Decoder) -> dict[str, Any]:
        """Return the counts as plain values."""
        audits = decoder.audits.values()
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


class FileDecoder:
    """Decodes a file as one connection, with the continuity checks of a recorder."""

    def __init__(self, decoder: Decoder, contiguous: frozenset[Channel], now_ns: Callable[[], int]) -> None:
        self.summary = Summary()
        self._decoder = decoder
        self._continuity = Continuity(contiguous, itertools.count(1).__next__)
        self._now_ns = now_ns

    def follow(self, record: ControlRecord) -> None:
        """Apply a control record of a journal: data may mean nothing without the request that asked for it."""
        if isinstance(self._decoder, Conversation):
            if record.tapedeck == "subscribed":
                self._decoder.subscribe(record.named)
            elif record.tapedeck == "unsubscribed":
                self._decoder.unsubscribe(record.named)

    def frame(self, frame: bytes, ts_recv_ns: int | None) -> Iterator[dict[str, Any]]:
        """Yield the events of one frame; count a frame that cannot be decoded, with the reason."""
        self.summary.frames += 1
        now_ns = self._now_ns() if ts_recv_ns is None else ts_recv_ns
        try:
            outputs = self._decoder.decode(frame, now_ns)
        except NotAFeedFrame as error:
            self.summary.no_frames[str(error)] += 1
            return
        except DecodeError as error:
            self.summary.quarantined[str(error)[:200]] += 1
            return
        yield from self._rows(outputs, ts_recv_ns, now_ns)

    def answer(self, frame: bytes, ts_recv_ns: int | None) -> Iterator[dict[str, Any]]:
        """Yield the events of a REST answer; the decoders of most venues use none."""
        now_ns = self._now_ns() if ts_recv_ns is None else ts_recv_ns
        try:
            outputs = self._decoder.decode(frame, now_ns)
        except DecodeError:
            self.summary.answers[False] += 1
            return
        self.summary.answers[True] += 1
        yield from self._rows(outputs, ts_recv_ns, now_ns)

    def _rows(self, outputs: Sequence[Output], ts_recv_ns: int | None, now_ns: int) -> Iterator[dict[str, Any]]:
        for output in outputs:
            if isinstance(output, Trade) and not plausible(output.ts_event_ns, now_ns):
                self.summary.quarantined[OUT_OF_RANGE] += 1
                continue
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
        """Yield each gap once, at the end, because a late message may still fill it."""
        for gap in self.summary.gaps.values():
            self.summary.events["gap"] += 1
            yield gap_to_json(gap)

    def report(self) -> dict[str, Any]:
        """Return the counts so far."""
        return self.summary.report(self._decoder)

    def _account(self, output: Output, now_ns: int) -> None:
        match output:
            case Trade():
                self._watch(Stream("trade", output.symbol), now_ns)
                self._continuity.trade(output)
            case Quote():
                self._watch(Stream("quote", output.symbol), now_ns)
                self._continuity.quote(output, self._continuity.quotes)
            case Book():
                self._watch(Stream("book", output.symbol), now_ns)
                self._continuity.book(output, self._continuity.books)
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
    """Return an event under the names of its table; None for an acknowledgement, a heartbeat and the like."""
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
    """Return a gap under the names of its table."""
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
    """Return an instant in UTC with microseconds, truncated as in the tables."""
    if time_ns is None:
        return None
    seconds, rest_ns = divmod(time_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"
