"""The files of a column store: rows are buffered, appended to all columns, and counted once over every kill."""

import fcntl
import os
import struct
import sys
from array import array
from collections.abc import Iterable
from pathlib import Path

import msgspec

from recorder.columns import layout, position
from recorder.columns.layout import KINDS, WIDTHS, Floats, Kind
from recorder.columns.position import Mark, Place, PositionFile
from recorder.errors import ConfigError
from recorder.process import files
from recorder.process.log import get_logger

_TYPES = {"u32": "I", "u64": "Q", "f32": "f", "f64": "d"}

_log = get_logger(__name__)


class Day(msgspec.Struct, frozen=True):
    """The files of one kind, symbol and day."""

    venue: str
    symbol: str
    kind: Kind
    day: int  # since 1970, UTC

    @property
    def key(self) -> str:
        """Return its name in the position file."""
        symbol = layout.folder_name(self.symbol)
        return f"{layout.folder_name(self.venue)}/{symbol}/{self.kind}/{layout.day_name(self.day)}"


class _Buffer:
    """Rows of one day that are not in its files yet."""

    def __init__(self, columns: dict[str, str]) -> None:
        self.rows = 0
        self.columns = {name: bytearray() if kind == "uuid" else array(_TYPES[kind]) for name, kind in columns.items()}
        self._bytes_per_row = max(WIDTHS[kind] for kind in columns.values())
        self._appends = [column.extend if isinstance(column, bytearray) else column.append
                         for column in self.columns.values()]  # fmt: skip

    def add(self, values: Iterable[object]) -> None:
        for append, value in zip(self._appends, values, strict=True):
            append(value)  # type: ignore[arg-type]
        self.rows += 1

    @property
    def size(self) -> int:
        """Return the bytes of the widest column."""
        return self.rows * self._bytes_per_row


class ColumnFiles:
    """All files of a folder. One process at a time writes them; not thread-safe.

    Attributes:
        journals: How far each journal is read, by its identity; what is added next must follow from it.
    """

    def __init__(self, folder: Path, floats: Floats) -> None:
        """Open the folder, and take back what a killed process has appended without counting it.

        Raises:
            ConfigError: Another process writes here, the files have other columns, or a file has lost rows.
            OSError: The folder cannot be written.
        """
        self.folder = folder
        self.floats: Floats = floats
        files.make_home(folder)
        self._lock = _lock(folder)
        found = position.read(folder)
        if found is None and any(folder.glob("*/*/*/*.bin")):
            raise ConfigError(
                f"{folder} has column files and no {position.NAME}: move it away, and they are written again"
            )
        if found is not None and found.floats != floats:
            raise ConfigError(
                f"the column files in {folder} are {found.floats}: set columns.floats = {found.floats!r}, "
                "or another columns.dir"
            )
        boot = position.boot_id()
        base = Mark() if found is None else found.now if boot and found.boot == boot else found.synced
        self.cut = self._take_back(base)
        self._require_one_length()
        self.journals: dict[str, Place] = dict(base.journals)
        self._lengths: dict[str, int] = {}
        self._buffers: dict[Day, _Buffer] = {}
        synced = Mark() if found is None else found.synced  # what was taken back may return with a power cut
        self._file = PositionFile(floats, boot, Mark(dict(base.journals)), synced)
        position.write(folder, self._file)

    def close(self) -> None:
        """Release the folder; rows that are buffered are not written."""
        os.close(self._lock)

    @property
    def counted(self) -> dict[str, Place]:
        """Return how far each journal is read with everything in the files."""
        return self._file.now.journals

    @property
    def synced(self) -> dict[str, Place]:
        """Return how far each journal is read for certain, whatever happens to the machine."""
        return self._file.synced.journals

    @property
    def buffered(self) -> int:
        """Return the rows that are not in the files yet."""
        return sum(buffer.rows for buffer in self._buffers.values())

    def full(self, limit: int) -> bool:
        """Return whether the buffer of a column has reached a size in bytes."""
        return any(buffer.size >= limit for buffer in self._buffers.values())

    def add(self, day: Day, values: Iterable[object]) -> None:
        """Add a row: its values in the order of the columns."""
        buffer = self._buffers.get(day)
        if buffer is None:
            buffer = self._buffers[day] = _Buffer(layout.columns_of(day.kind, self.floats))
        buffer.add(values)

    def flush(self) -> None:
        """Append what is buffered to the files, and count it together with `journals`.

        Raises:
            OSError: The disk does not take it. Nothing is counted; the next call writes the same again.
        """
        before = {day: self.rows(day) for day in self._buffers}
        undo = {day.key: rows for day, rows in before.items()}
        since_sync = {**undo, **self._file.synced.rows}
        file = self._file
        if undo:
            file = PositionFile(
                self.floats, file.boot, Mark(file.now.journals, undo), Mark(file.synced.journals, since_sync)
            )
            position.write(self.folder, file)
            self._file = file
            for day, buffer in self._buffers.items():
                self._append(day, buffer, before[day])
        self._file = PositionFile(self.floats, file.boot, Mark(dict(self.journals)), file.synced)
        position.write(self.folder, self._file)
        for day, rows in before.items():
            self._lengths[day.key] = rows + self._buffers[day].rows
        self._buffers.clear()

    def sync(self) -> None:
        """Flush, and wait until the disk has everything.

        Raises:
            OSError: The disk does not take it.
        """
        self.flush()
        folders = set()
        for key in self._file.synced.rows:
            folder, _, day = key.rpartition("/")
            paths = [path for path in self._paths(self.folder / folder, layout.day_of(day)).values() if path.exists()]
            if not paths:  # a process was killed before it appended the first row
                continue
            for path in paths:
                handle = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            folders |= {self.folder / folder, (self.folder / folder).parent}
        for path in folders:
            files.sync_folder(path)
        mark = Mark(dict(self._file.now.journals))
        file = PositionFile(self.floats, self._file.boot, mark, mark)
        position.write(self.folder, file)
        self._file = file

    def rows(self, day: Day) -> int:
        """Return the rows that the files of a day have, without what is buffered."""
        rows = self._lengths.get(day.key)
        if rows is None:
            rows = self._lengths[day.key] = self._length(self._folder(day), day.day)
        return rows

    def read(self, day: Day, column: str) -> bytes:
        """Return a column of a day as its file has it, without what is buffered."""
        path = self._folder(day) / layout.file_name(column, day.day)
        width = WIDTHS[layout.columns_of(day.kind, self.floats)[column]]
        try:
            return path.read_bytes()[: self.rows(day) * width]
        except FileNotFoundError:
            return b""

    def last_market(self, day: Day) -> tuple[float, float, int, float, float]:
        """Return price, volume, side, best bid and best ask of the last row of a day of market data."""
        types = layout.columns_of(day.kind, self.floats)
        found = []
        for name in ("price", "volume", "side", "best_bid", "best_ask"):
            value = self.read(day, name)[-WIDTHS[types[name]] :]
            found.append(struct.unpack("<" + _TYPES[types[name]], value)[0])
        price, volume, side, bid, ask = found
        return price, volume, side, bid, ask

    def newest(self, venue: str, symbol: str, kind: Kind) -> Day | None:
        """Return the newest day of a symbol that has rows in its files."""
        folder = self._symbol_folder(venue, symbol) / kind
        column = next(iter(layout.columns_of(kind, self.floats)))
        days = sorted((_day_of(path) for path in folder.glob(f"{column}.*.bin")), reverse=True)
        found = (Day(venue, symbol, kind, day) for day in days)
        return next((day for day in found if self.rows(day)), None)

    def days(self) -> set[int]:
        """Return the days that have files, since 1970."""
        return {_day_of(path) for path in self.folder.glob("*/*/*/time.*.bin")}

    def remove_before(self, day: int) -> int:
        """Remove the files of all days before one, right after `sync`; return their number."""
        removed = 0
        for path in self.folder.glob("*/*/*/*.bin"):
            if _day_of(path) < day:
                path.unlink()
                removed += 1
        if removed:
            self._lengths.clear()
            _log.info("columns.removed", files=removed, before=layout.day_name(day))
        return removed

    def _symbol_folder(self, venue: str, symbol: str) -> Path:
        return self.folder / layout.folder_name(venue) / layout.folder_name(symbol)

    def _folder(self, day: Day) -> Path:
        return self._symbol_folder(day.venue, day.symbol) / day.kind

    def _paths(self, folder: Path, day: int) -> dict[str, Path]:
        kind = _kind_of(folder)
        return {name: folder / layout.file_name(name, day) for name in layout.columns_of(kind, self.floats)}

    def _length(self, folder: Path, day: int) -> int:
        """Return the rows that all columns of a day have."""
        types = layout.columns_of(_kind_of(folder), self.floats)
        rows = {
            path: path.stat().st_size / WIDTHS[types[name]] if path.exists() else 0.0
            for name, path in self._paths(folder, day).items()
        }
        most = max(rows.values())
        for path, number in rows.items():
            if number != most or not number.is_integer():
                raise self._lost(path)
        return int(most)

    def _require_one_length(self) -> None:
        """Require that all columns of every day have the same number of rows: a shorter one has lost some."""
        days = {(path.parent, _day_of(path)) for path in self.folder.glob("*/*/*/*.bin")}
        for folder, day in sorted(days):
            self._length(folder, day)

    def _lost(self, path: Path) -> ConfigError:
        return ConfigError(f"{path} has lost rows that it had: move {self.folder} away, and it is written again")

    def _append(self, day: Day, buffer: _Buffer, at: int) -> None:
        folder = self._folder(day)
        if not folder.is_dir():
            files.make_home(folder)
        if not (folder.parent / layout.MANIFEST).exists():
            content = layout.manifest(day.venue, day.symbol, self.floats)
            files.write(folder.parent / layout.MANIFEST, msgspec.json.format(msgspec.json.encode(content)) + b"\n")
        types = layout.columns_of(day.kind, self.floats)
        for name, path in self._paths(folder, day.day).items():
            column = buffer.columns[name]
            if isinstance(column, array) and sys.byteorder == "big":
                column = column[:]
                column.byteswap()
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.lseek(handle, at * WIDTHS[types[name]], os.SEEK_SET)
                files.write_all(handle, bytes(column))
            finally:
                os.close(handle)

    def _take_back(self, mark: Mark) -> int:
        """Shorten the files that a mark names to the rows that count; return the rows removed."""
        removed = 0
        for key, rows in mark.rows.items():
            name, _, day_name = key.rpartition("/")
            folder, day = self.folder / name, layout.day_of(day_name)
            types = layout.columns_of(_kind_of(folder), self.floats)
            longest = 0
            for column, path in self._paths(folder, day).items():
                if not path.exists():
                    continue
                width = WIDTHS[types[column]]
                have = path.stat().st_size
                longest = max(longest, have // width)
                if have < rows * width:
                    raise self._lost(path)
                os.truncate(path, rows * width)
            removed += max(0, longest - rows)
        if removed:
            _log.warning("columns.taken_back", rows=removed, action="they are read again from the journals")
        return removed


def _kind_of(folder: Path) -> Kind:
    return next(kind for kind in KINDS if kind == folder.name)


def _day_of(path: Path) -> int:
    return layout.parse_file_name(path.name)[1]


def _lock(folder: Path) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(f"another process writes the column files in {folder}") from None
    return handle
