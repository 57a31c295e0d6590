"""A write buffer on a real journal, and the rows that can be read back from it."""

import itertools
import json
import os
import struct
from pathlib import Path

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.clock import ManualClock
from recorder.events import CHANNELS, Channel, SessionRow, Stream
from recorder.identity import instrument_id
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.journal.writer import Journal
from recorder.settings import JournalSettings
from recorder.venues.coinbase.stream import Coinbase

S = 10**9
NOW = 1_772_719_200 * S
"""2026-03-05 14:00:00, the time inside the frames made here."""

Row = dict[str, bytes | None]


class Rig:
    """The parts of a recorder without its links."""

    def __init__(
        self,
        folder: Path,
        pending_bytes: int = 1 << 26,
        settings: JournalSettings | None = None,
        now_ns: int = NOW,
        first_gap_id: int = 1,
        contiguous: frozenset[Channel] = Coinbase.contiguous,
    ) -> None:
        self.folder = folder
        self.clock = ManualClock(now_ns)
        self._ids = itertools.count(first_gap_id)
        self.journal = Journal.open(folder, "coinbase", settings or JournalSettings(reserve_mb=0), self.clock)
        self.continuity = Continuity(
            contiguous, lambda: next(self._ids) + 1000 * len(self.journal.recovered.checkpoints)
        )
        recovered = self.journal.recovered
        self.continuity.restore(recovered.checkpoints, recovered.last_frame_ns, self.clock.wall_ns())
        self.buffer = WriteBuffer(self.journal, self.continuity, "coinbase", pending_bytes, self.clock)

    def ingest(self, *symbols: str, session_id: int = 1) -> Ingest:
        """Return a session that carries every channel of some symbols."""
        now_ns = self.clock.wall_ns()
        row = SessionRow(session_id, "coinbase", self.folder.name, 0, "ws://x", now_ns)
        ingest = Ingest(row, Coinbase().decoder(), self.buffer)
        ingest.watch([Stream(channel, symbol) for channel in CHANNELS for symbol in symbols], now_ns)
        ingest.report()
        return ingest

    def kill(self) -> None:
        """End as after kill -9: everything that is not in the file is lost."""
        os.close(self.journal._lock)
        if self.journal._file >= 0:
            os.close(self.journal._file)


class Read:
    """The content of a journal."""

    def __init__(self, folder: Path) -> None:
        reader = JournalReader(folder)
        self.blocks: list[StoredBlock] = []
        self.frames = []
        for item in reader.read(reader.first(), 1 << 62, with_frames=True):
            assert isinstance(item, StoredBlock)
            assert item.lost == []
            self.blocks.append(item)
            self.frames += reader.frames_of(item)
        reader.close()

    def rows(self, table: str) -> list[Row]:
        """Return the fields of each row of a table, in order."""
        return [
            dict(zip(part.columns, fields, strict=True))
            for stored in self.blocks
            for part in stored.parts
            if part.table == table
            for fields in _tuples(part.data, part.rows)
        ]

    def gaps(self, channel: str, symbol: str = "A-USD") -> list[Row]:
        """Return the latest revision of each gap of a stream."""
        number = struct.pack("!q", instrument_id("coinbase", symbol))
        rows = [row for row in self.rows("gap") if (row["instrument_id"], row["channel"]) == (number, channel.encode())]
        latest = {row["gap_id"]: row for row in sorted(rows, key=lambda row: row["revision"] or b"")}
        return list(latest.values())


def _tuples(data: bytes, rows: int) -> list[list[bytes | None]]:
    found, at = [], 0
    while at < len(data):
        (count,) = struct.unpack_from("!h", data, at)
        at += 2
        fields: list[bytes | None] = []
        for _ in range(count):
            (length,) = struct.unpack_from("!i", data, at)
            at += 4
            fields.append(None if length < 0 else data[at : at + length])
            at += max(length, 0)
        found.append(fields)
    assert len(found) == rows
    return found


def integer(field: bytes | None) -> int | None:
    """Decode a bigint."""
    return None if field is None else int.from_bytes(field, "big", signed=True)


def nanoseconds(field: bytes | None) -> int | None:
    """Decode a timestamptz."""
    number = integer(field)
    return None if number is None else (number + 946_684_800 * 10**6) * 1000


def trade(number: int, symbol: str = "A-USD", time: str = "2026-03-05T14:00:00.000001Z") -> bytes:
    """Return a trade as the venue sends it."""
    fields = {"type": "match", "trade_id": number, "side": "buy", "size": "1", "price": "2", "product_id": symbol}
    return json.dumps({**fields, "time": time}).encode()


def quote(number: int, symbol: str = "A-USD") -> bytes:
    """Return a ticker as the venue sends it."""
    fields = {"type": "ticker", "sequence": number, "product_id": symbol, "best_bid": "1", "best_ask": "2"}
    return json.dumps({**fields, "time": "2026-03-05T14:00:00.000001Z"}).encode()


def snapshot(symbol: str = "A-USD") -> bytes:
    """Return a book as the venue sends it."""
    return json.dumps({"type": "snapshot", "product_id": symbol, "bids": [["1", "1"]], "asks": [["3", "1"]]}).encode()


def delta(symbol: str = "A-USD", price: str = "1.5") -> bytes:
    """Return a change of a book as the venue sends it."""
    changes = [["buy", price, "1"]]
    fields = {"type": "l2update", "product_id": symbol, "changes": changes, "time": "2026-03-05T14:00:00.000001Z"}
    return json.dumps(fields).encode()
