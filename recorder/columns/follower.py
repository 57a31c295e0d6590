"""Follows every journal and adds its trades and quotes to the column files. It knows no venue, and asks no database.

The succession of blocks is judged as the writer judges it (`load/tail.py`): a block counts once, and what is missing is
listed in the manifest. Rows that Postgres refuses or has already are left out, so that the files equal its tables.
"""

import contextlib
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from recorder.columns import layout
from recorder.columns.files import ColumnFiles, Day
from recorder.columns.layout import UNKNOWN
from recorder.columns.position import Place
from recorder.columns.rows import QuoteRow, Refused, TradeRow, instruments_of, rows_of
from recorder.columns.seen import SeenTrades
from recorder.errors import JournalError
from recorder.identity import instrument_id
from recorder.journal.block import StreamCheckpoint
from recorder.journal.lineage import History, LoadState
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.journal.retention import write_claim
from recorder.load.tail import Tail
from recorder.position import Position
from recorder.process import files as durable
from recorder.process.health import JournalFigures
from recorder.process.log import get_logger
from recorder.settings.columns import ColumnsSettings
from recorder.store.batch import Batch
from recorder.store.lineage import Known

CLAIM = "columns"
"""Name of the claim on a journal: retention keeps what this program has not read."""

_BATCH = 4 << 20
_DISCOVER_S = 1.0
_UNREADABLE_S = 5.0
_DAY_US = 86_400 * 1_000_000
_LATEST_US = (1 << 32) * 1_000_000  # a u32 of seconds
_ADVANCE_S, _ADVANCE_DAYS = 3600.0, 7  # the retention moves by so many days within so long
_LISTED = 1000  # losses in the manifest

_log = get_logger(__name__)


class Loss(msgspec.Struct, frozen=True):
    """A part of a journal that is missing in the files."""

    journal: str
    reason: str
    from_s: float  # unix seconds: when the last block before it was written; 0 where none was
    until_s: float


class Counts(msgspec.Struct):
    """What became of the rows, since the start of the program."""

    trades: int = 0
    quotes: int = 0
    duplicates: int = 0
    refused: int = 0
    unnamed: int = 0  # of instruments whose symbol no journal has named
    expired: int = 0  # of days beyond the retention


class Follower:
    """Reads the journals in turn.

    Attributes:
        counts: What became of the rows.
        unreadable: Journals that cannot be read, and when they are tried again, monotonic seconds.
    """

    def __init__(self, settings: ColumnsSettings, journals: Path) -> None:
        """Open the files.

        Raises:
            ConfigError: They cannot be used.
            OSError: The folder cannot be written.
        """
        self.files = ColumnFiles(settings.dir, settings.floats)
        self.counts = Counts()
        self._settings = settings
        self._folder = journals
        self._seen = SeenTrades(self.files)
        self._tails: dict[str, Tail] = {}
        self.unreadable: dict[str, float] = {}
        self._names = self._names_of_folders()
        self._last: dict[int, tuple[float, float, int, float, float]] = {}  # price, size, side, bid, ask
        self._newest_day = self._latest_day = 0
        self._advanced_s = float("-inf")
        self._losses = self._read_losses()
        self._discovered_s = self._flushed_s = self._synced_s = float("-inf")

    @property
    def losses(self) -> Sequence[Loss]:
        """What is missing in the files."""
        return self._losses

    def figures(self) -> dict[str, JournalFigures]:
        """Return how far each journal is read, by its folder."""
        return {name: tail.figures(time.time()) for name, tail in tuple(self._tails.items())}

    def step(self) -> bool:
        """Read one batch of every journal that has something, and write what is old or large enough.

        Returns:
            Whether anything was read.

        Raises:
            OSError: The disk does not take the files. The next call tries again, and reads nothing before that.
        """
        now_s = time.monotonic()
        limit = self._settings.buffer_bytes
        if self.files.full(limit) or now_s - self._flushed_s >= self._settings.flush_s:
            self.flush()
        if now_s - self._discovered_s >= _DISCOVER_S:
            self._discover()
            self._discovered_s = now_s
        worked = False
        for name, tail in list(self._tails.items()):
            try:
                batch = tail.batch(_BATCH)
            except (OSError, JournalError) as error:
                if tail.reader.replaced(tail.place):
                    self._forget(name)
                else:
                    self._suspend(name, str(error))
                continue
            if batch is not None:
                self._take(name, tail, batch)
                worked = True
                if self.files.full(limit):
                    self.flush()
        return worked

    def flush(self) -> None:
        """Write what is buffered; now and then wait for the disk, and let go of what no longer counts.

        Raises:
            OSError: The disk does not take the files.
        """
        now_s = time.monotonic()
        if now_s - self._synced_s >= self._settings.fsync_s:
            self.files.sync()
            self._synced_s = now_s
            self._claim()
            self.files.remove_before(self._oldest_day())
        elif self.files.buffered or self.files.journals != self.files.counted:
            self.files.flush()
        self._seen.flushed()
        self._flushed_s = now_s

    def close(self) -> None:
        """Write everything, and release the folder.

        Raises:
            OSError: The disk does not take the files.
        """
        try:
            self._synced_s = float("-inf")
            self.flush()
        finally:
            for tail in self._tails.values():
                tail.reader.close()
            self.files.close()

    # ---- journals

    def _discover(self) -> None:
        """Begin to read journals that are new."""
        for name, tail in list(self._tails.items()):
            if tail.reader.replaced(tail.place):
                self._forget(name)
        for folder in sorted(path.parent for path in self._folder.glob("*/journal.id")):
            name = folder.name
            if name in self._tails or self.unreadable.get(name, 0.0) > time.monotonic():
                continue
            try:
                reader = JournalReader(folder)
                place = self.files.journals.get(reader.journal_id)
                tail = Tail(reader, _known(place), lambda *_: {})
                marks, _ = reader.recall(tail.place)
            except (OSError, JournalError) as error:
                self._suspend(name, str(error))
                continue
            self._name(reader, marks.values())
            self.unreadable.pop(name, None)
            self._tails[name] = tail
            write_claim(folder, CLAIM, self._certain(reader))
            _log.info("columns.journal_found", journal=name, place=str(tail.place))

    def _certain(self, reader: JournalReader) -> Position:
        """Return from where a journal is needed, whatever happens to the machine."""
        place = self.files.synced.get(reader.journal_id)
        return reader.first() if place is None else place.position

    def _claim(self) -> None:
        for tail in self._tails.values():
            write_claim(tail.reader.folder, CLAIM, self._certain(tail.reader))

    def _forget(self, name: str) -> None:
        self._tails.pop(name).reader.close()
        _log.warning("columns.journal_replaced", journal=name)

    def _suspend(self, name: str, error: str) -> None:
        tail = self._tails.pop(name, None)
        if tail is not None:
            tail.reader.close()
        self.unreadable[name] = time.monotonic() + _UNREADABLE_S
        _log.error("columns.journal_unreadable", journal=name, error=error, retry_s=_UNREADABLE_S)

    # ---- rows

    def _take(self, name: str, tail: Tail, batch: Batch) -> None:
        for one in batch.blocks:
            assert isinstance(one, StoredBlock)
            self._name(tail.reader, one.header.checkpoints)
            for number, venue, symbol in instruments_of(one.parts):
                self._note_name(number, venue, symbol)
            for row in rows_of(one.parts):
                if isinstance(row, Refused):
                    self.counts.refused += 1
                else:
                    self._add(row)
        found = [(one.reason, one.started_ns, one.ended_ns) for one in batch.breaks]
        since_ns = batch.since_ns or batch.written_ns
        found += [(one.reason, since_ns, batch.written_ns) for one in batch.damage]
        losses = [Loss(name, reason, from_ns / 1e9, until_ns / 1e9) for reason, from_ns, until_ns in found]
        losses = [loss for loss in losses if loss not in self._losses]  # a killed process may have listed it
        if losses:
            self._losses += losses
            del self._losses[:-_LISTED]
            self._write_losses()
        tail.loaded(batch.end)
        before = self.files.journals.get(tail.reader.journal_id)
        last = {} if before is None else dict(before.last)
        last |= {one.incarnation: one.seq for one in batch.blocks if isinstance(one, StoredBlock)}
        place = Place(batch.end, batch.incarnation, last, batch.written_ns)
        self.files.journals[tail.reader.journal_id] = place

    def _add(self, row: TradeRow | QuoteRow) -> None:
        name = self._names.get(row.instrument_id)
        if name is None:
            self.counts.unnamed += 1
            return
        venue, symbol = name
        self._advance(row.ts_recv_us // _DAY_US)
        if isinstance(row, QuoteRow):
            price, size, side, _, _ = self._market(row.instrument_id, venue, symbol)
            self._last[row.instrument_id] = (price, size, side, row.bid, row.ask)
            self.counts.quotes += 1
        else:
            day = Day(venue, symbol, "TRADES", row.ts_event_us // _DAY_US)
            if day.day < self._oldest_day():
                self.counts.expired += 1
                return
            if not 0 <= row.ts_event_us < _LATEST_US:
                self.counts.refused += 1
                return
            if not self._seen.first(day, row):
                self.counts.duplicates += 1
                return
            second, micros = divmod(row.ts_event_us, 1_000_000)
            number = row.trade_id & 0xFFFF_FFFF_FFFF_FFFF
            self.files.add(day, (number, second, micros * 1000, row.price, row.size, row.side, _NO_ID, _NO_ID))
            self.counts.trades += 1
            if row.past:
                return  # it was not news when it was read
            _, _, _, bid, ask = self._market(row.instrument_id, venue, symbol)
            self._last[row.instrument_id] = (row.price, row.size, row.side, bid, ask)
        second, micros = divmod(row.ts_recv_us, 1_000_000)
        market = Day(venue, symbol, "MD", row.ts_recv_us // _DAY_US)
        self.files.add(market, (second, micros * 1000, *self._last[row.instrument_id]))

    def _market(self, instrument: int, venue: str, symbol: str) -> tuple[float, float, int, float, float]:
        """Return last trade and quote of an instrument: after a start they are in the last row of its files."""
        found = self._last.get(instrument)
        if found is None:
            newest = self.files.newest(venue, symbol, "MD")
            found = (0.0, 0.0, UNKNOWN, 0.0, 0.0) if newest is None else self.files.last_market(newest)
            self._last[instrument] = found
        return found

    def _advance(self, day: int) -> None:
        """Let the newest day, from which the retention counts, come nearer to the day of a row.

        A clock that was set forward by mistake would remove every file at once: some days an hour are enough.
        """
        if day <= self._newest_day:
            return
        if not self._newest_day:
            days = [found for found in self.files.days() if found <= day]
            self._newest_day = max(days, default=day)
        now_s = time.monotonic()
        if now_s - self._advanced_s >= _ADVANCE_S:
            self._advanced_s, self._latest_day = now_s, self._newest_day + _ADVANCE_DAYS
        self._newest_day = max(self._newest_day, min(day, self._latest_day))

    def _oldest_day(self) -> int:
        """Return the first day that is kept."""
        return self._newest_day - self._settings.retention_days if self._newest_day else 0

    # ---- names and losses

    def _name(self, reader: JournalReader, marks: Iterable[StreamCheckpoint]) -> None:
        for mark in marks:
            self._note_name(instrument_id(reader.venue, mark.symbol), reader.venue, mark.symbol)

    def _note_name(self, number: int, venue: str, symbol: str) -> None:
        if number in self._names:
            return
        with contextlib.suppress(ValueError):  # its rows are counted as unnamed
            layout.folder_name(symbol)
            self._names[number] = (venue, symbol)

    def _names_of_folders(self) -> dict[int, tuple[str, str]]:
        names = {}
        for path in self.files.folder.glob("*/*/"):
            venue, symbol = layout.symbol_of(path.parent.name), layout.symbol_of(path.name)
            names[instrument_id(venue, symbol)] = (venue, symbol)
        return names

    def _read_losses(self) -> list[Loss]:
        try:
            return msgspec.json.decode((self.files.folder / "missing.json").read_bytes(), type=list[Loss])
        except (FileNotFoundError, msgspec.MsgspecError):
            return []

    def _write_losses(self) -> None:
        durable.write(
            self.files.folder / "missing.json", msgspec.json.format(msgspec.json.encode(self._losses)) + b"\n"
        )


_NO_ID = bytes(16)


def _known(place: Place | None) -> Known:
    if place is None:
        return Known(None, History({}), LoadState(), 0)
    return Known(place.position, place.history(), LoadState(), place.written_ns)
