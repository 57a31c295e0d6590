"""A recorder that crosses midnight, and a reader of column files that shares no code with the program."""

import struct
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from recorder.settings import JournalSettings
from support.write_buffers import Rig, quote, snapshot, trade

BEFORE_MIDNIGHT_NS = 1_772_755_195 * 10**9
"""2026-03-05 23:59:55"""
SYMBOLS = ("A-USD", "B/C D-EUR")
NAME = "recorder-coinbase"

_MD = {"time": "I", "nanos": "I", "price": "f", "volume": "f", "side": "I", "best_bid": "f", "best_ask": "f"}
_TRADES = {
    "id": "Q", "time": "I", "nanos": "I", "price": "f", "size": "f", "side": "I",
    "maker_order_id": "16s", "taker_order_id": "16s",
}  # fmt: skip
Rows = dict[tuple[str, str, str], list[tuple[object, ...]]]
"""Rows by venue, symbol and day (DD.MM.YY)"""


def stored(folder: Path, kind: str, *, doubles: bool = False) -> Rows:
    """Read all rows of MD or TRADES as they lie in the files. Columns of different lengths fail."""
    types = _MD if kind == "MD" else _TRADES
    rows: Rows = {}
    for path in sorted(folder.glob(f"*/*/{kind}/time.*.bin")):
        day = path.name.removeprefix("time.").removesuffix(".bin")
        columns = []
        for name, code in types.items():
            data = (path.parent / f"{name}.{day}.bin").read_bytes()
            layout = struct.Struct("<" + (code.replace("f", "d") if doubles else code))
            assert len(data) % layout.size == 0, (name, len(data))
            columns.append([value for (value,) in layout.iter_unpack(data)])
        assert len({len(column) for column in columns}) == 1, {
            name: len(c) for name, c in zip(types, columns, strict=True)
        }
        venue, symbol = unquote(path.parts[-4]), unquote(path.parts[-3])
        rows[venue, symbol, day] = list(zip(*columns, strict=True))
    return rows


def single(value: float) -> float:
    """Return a number as 32 bits hold it."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


class MidnightFeed:
    """A recorder of two symbols whose clock goes on with each message, past midnight."""

    def __init__(self, journals: Path, start_ns: int = BEFORE_MIDNIGHT_NS) -> None:
        self.folder = journals / NAME
        self._sent: list[bytes] = []
        self._number = 0
        self._session = 0
        self._now_ns = start_ns
        self._start()

    def _start(self) -> None:
        self._session += 1
        settings = JournalSettings(reserve_mb=0, segment_mb=1)
        self.rig = Rig(self.folder, settings=settings, now_ns=self._now_ns, first_gap_id=1000 * self._session)
        self.rig.buffer.close_sessions(self.rig.journal.recovered.sessions)
        self._ingest = self.rig.ingest(*SYMBOLS, session_id=self._session)
        self.rig.buffer.flush()
        self._ingest.take([snapshot(symbol) for symbol in SYMBOLS], self.rig.clock.wall_ns())
        self.rig.buffer.flush()

    def restart(self, repeat: int = 5) -> None:
        """Kill the recorder, start it, and let the venue send its latest trades again."""
        self.rig.kill()
        self._now_ns = self.rig.clock.wall_ns()
        self._start()
        self._ingest.take(self._sent[-repeat:], self.rig.clock.wall_ns())
        self.rig.buffer.flush()

    def record(self, blocks: int, each: int = 4, step_s: float = 0.05) -> None:
        """Record blocks of trades and quotes of both symbols."""
        for _ in range(blocks):
            for _ in range(each):
                self._number += 1
                self.rig.clock.advance(step_s)
                at = datetime.fromtimestamp(self.rig.clock.wall_ns() / 1e9, UTC)
                symbol = SYMBOLS[self._number % 2]
                made = trade(self._number, symbol, f"{at:%Y-%m-%dT%H:%M:%S.%f}Z")
                made = made.replace(b'"price": "2"', b'"price": "%d.17"' % (60_000 + self._number % 977))
                made = made.replace(b'"side": "buy"', b'"side": "%s"' % (b"sell", b"buy")[self._number % 3 == 0])
                quoted = quote(self._number, symbol).replace(b'"1"', b'"%d.5"' % (59_000 + self._number % 89))
                frames = [made, quoted] if self._number % 5 else [quoted, made]
                self._sent.append(made)
                self._ingest.take(frames, self.rig.clock.wall_ns())
            self.rig.buffer.flush()

    def close(self) -> None:
        """End the recorder."""
        self.rig.kill()
