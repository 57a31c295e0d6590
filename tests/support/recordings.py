"""Journals recorded for tests: a hand-made Coinbase feed, decoded by a correct or a faulty adapter."""

import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.clock import ManualClock
from recorder.errors import DecodeError
from recorder.events import Output, SessionRow, Stream, Trade
from recorder.journal.block import FILE_HEADER
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.journal.writer import Journal
from recorder.settings import JournalSettings
from recorder.venues.base import Decoder
from recorder.venues.coinbase.stream import CoinbaseDecoder

DAY_NS = 86_400_000_000_000
BEGIN_NS = time.time_ns() // DAY_NS * DAY_NS - DAY_NS // 2  # noon of yesterday
SYMBOLS = ("BTC-USD", "ETH-USD")
SESSION = 77
CHUNK_NS = 50_000_000

Chunk = Sequence[bytes]


class Inverted(CoinbaseDecoder):
    """Takes the maker's side for the taker's."""

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        outputs = super().decode(frame, ts_recv_ns)
        for output in outputs:
            if isinstance(output, Trade):
                output.aggressor = "b" if output.aggressor == "s" else "s"
        return outputs


class Shifted(CoinbaseDecoder):
    """Gives every trade the id of its neighbour, so that all keys are wrong."""

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        outputs = super().decode(frame, ts_recv_ns)
        for output in outputs:
            if isinstance(output, Trade):
                output.trade_id -= 1
        return outputs


class Late(CoinbaseDecoder):
    """Reads the venue's clock an hour wrong."""

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        outputs = super().decode(frame, ts_recv_ns)
        for output in outputs:
            if isinstance(output, Trade):
                output.ts_event_ns -= 3600 * 10**9
        return outputs


class Blind(CoinbaseDecoder):
    """Knows no ticker, and falls over trades of ETH-USD."""

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        if b'"ticker"' in frame:
            raise DecodeError("unknown message type ticker")
        if b'"match"' in frame and b"ETH-USD" in frame:
            raise KeyError("ETH-USD")
        return super().decode(frame, ts_recv_ns)


class Doubled(CoinbaseDecoder):
    """Gives every quote and every book message twice."""

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        outputs = super().decode(frame, ts_recv_ns)
        return [output for output in outputs for _ in range(1 if isinstance(output, Trade) else 2)]


def match(number: int, at_ns: int, symbol: str = "BTC-USD", kind: str = "match") -> bytes:
    """Return a trade whose values follow from its number."""
    return frame(
        type=kind,
        trade_id=number,
        side="buy" if number % 3 else "sell",
        size=f"{0.25 + number % 5}",
        price=f"{100 + number / 8}",
        product_id=symbol,
        time=iso(at_ns),
    )


def ticker(sequence: int, at_ns: int, symbol: str = "BTC-USD") -> bytes:
    """Return a quote."""
    return frame(
        type="ticker",
        sequence=sequence,
        product_id=symbol,
        best_bid=f"{99 + sequence / 8}",
        best_ask=f"{101 + sequence / 8}",
        best_bid_size="1.5",
        best_ask_size="2.5",
        time=iso(at_ns),
    )


def frame(**values: object) -> bytes:
    """Return a frame as the venue sends it."""
    return json.dumps(values).encode()


def iso(at_ns: int) -> str:
    """Return an instant as the venue writes it."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_ns % 10**9 // 1000:06d}Z"


def feed(chunks: int = 20, first: int = 1) -> list[Chunk]:
    """Trades, quotes and books of two symbols, with repeated trades, trades of one instant and unreadable frames."""
    made: list[Chunk] = []
    number = first
    for index in range(chunks):
        at_ns = BEGIN_NS + index * CHUNK_NS
        chunk: list[bytes] = []
        for symbol in SYMBOLS:
            if index == 0:
                book = {"bids": [["99", "1"], ["98", "2"]], "asks": [["101", "1"]]}
                chunk.append(frame(type="snapshot", product_id=symbol, **book, time=iso(at_ns)))
            change = ["buy", "98", str(index)]
            chunk.append(frame(type="l2update", product_id=symbol, changes=[change], time=iso(at_ns)))
            chunk.append(ticker(index, at_ns, symbol))
            chunk += [match(number, at_ns, symbol), match(number + 1, at_ns, symbol)]
        if index % 5 == 3:
            chunk.append(match(number, at_ns, "BTC-USD", "last_match"))
            chunk.append(b'{"type":"match","product_id":"BTC-USD"')
        if index % 5 == 4:
            chunk.append(match(number - 2, at_ns - CHUNK_NS, "BTC-USD", "last_match"))
        number += 2
        made.append(chunk)
    return made


def record(
    folder: Path,
    decoder: Callable[[], Decoder],
    chunks: Iterable[Chunk],
    *,
    session_id: int = SESSION,
    begin_ns: int = BEGIN_NS,
    ended: bool = True,
) -> None:
    """Record one session, one block for each chunk, into a journal that may exist."""
    clock = ManualClock(begin_ns)
    journal = Journal.open(folder, "coinbase", JournalSettings(reserve_mb=0), clock)
    continuity = Continuity(frozenset({"trade"}), itertools.count(session_id << 32).__next__)
    continuity.restore(journal.recovered.checkpoints, journal.recovered.last_frame_ns, begin_ns)
    buffer = WriteBuffer(journal, continuity, "coinbase", 64 << 20, clock)
    row = SessionRow(session_id, "coinbase", folder.name, 0, "ws://127.0.0.1/", begin_ns, revision=0)
    ingest = Ingest(row, decoder(), buffer)
    streams = [Stream(channel, symbol) for symbol in SYMBOLS for channel in ("trade", "quote", "book")]
    ingest.watch(sorted(streams, key=repr), begin_ns)
    for chunk in chunks:
        clock.advance(CHUNK_NS / 1e9)
        ingest.take(chunk, clock.wall_ns())
        buffer.flush()
    if ended:
        ingest.report(ended_ns=clock.wall_ns(), reason="the test is over")
        buffer.flush()
    journal.close()


def stored_blocks(folder: Path) -> list[StoredBlock]:
    """Return all good blocks of a journal."""
    reader = JournalReader(folder)
    return [item for item in reader.read(reader.first(), 1 << 40) if isinstance(item, StoredBlock)]


def damage(folder: Path, table: str) -> StoredBlock:
    """Flip a bit in the section of a table ("" for the frames) of a block in the middle."""
    candidates = [block for block in stored_blocks(folder) if any(s.table == table for s in block.header.sections)]
    block = candidates[len(candidates) // 2]
    offset = block.next.offset - sum(section.size for section in block.header.sections)
    for section in block.header.sections:
        if section.table == table:
            break
        offset += section.size
    path = folder / f"{block.position.segment:08d}.tape"
    assert offset > FILE_HEADER.size
    with open(path, "r+b") as file:
        byte = os.pread(file.fileno(), 1, offset + 3)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 16]), offset + 3)
    return block
