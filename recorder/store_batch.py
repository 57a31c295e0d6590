"""What the writer hands to the store, and binary COPY data taken apart. No SQL in here."""

import io
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from recorder.position import Position

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
COPY_TRAILER = struct.pack("!h", -1)
_CHUNK = 1 << 18  # libpq's buffer grows to the largest piece it is given, and stays so
_COUNT = struct.Struct("!h")
_LENGTH = struct.Struct("!i")


class Part(Protocol):
    """Rows of one table in one journal block."""

    @property
    def table(self) -> str: ...
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def data(self) -> bytes: ...  # COPY BINARY tuples without header and trailer
    @property
    def days(self) -> tuple[int, ...]: ...  # days since 1970 of the partition key; () where unpartitioned


class Block(Protocol):
    """One block of a journal."""

    @property
    def position(self) -> Position: ...
    @property
    def seq(self) -> int: ...
    @property
    def parts(self) -> Sequence[Part]: ...


class Damage(msgspec.Struct, frozen=True):
    """A stretch of journal that cannot be read; it becomes a row of quarantine with scope 'block'."""

    position: Position
    reason: str
    sample: bytes | None = None
    sha256: bytes | None = None
    item: int = 0  # tells several apart that share a position


class Batch(msgspec.Struct, frozen=True):
    """What one transaction shall store.

    `start` is where the journal must be known to stand (`Store.position`); None when it is not known yet. `end` is
    where it stands afterwards.
    """

    journal_id: str
    recorder: str
    start: Position | None
    end: Position
    blocks: Sequence[Block]
    damage: Sequence[Damage] = ()


class Counts(msgspec.Struct):
    """What became of the rows of one table; offered = inserted + duplicate + quarantined."""

    blocks: int = 0
    offered: int = 0
    inserted: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def add(self, other: "Counts") -> None:
        """Count `other` in."""
        self.blocks += other.blocks
        self.offered += other.offered
        self.inserted += other.inserted
        self.duplicate += other.duplicate
        self.quarantined += other.quarantined


class Loaded(msgspec.Struct, frozen=True):
    """A committed batch."""

    end: Position
    tables: dict[str, Counts]

    @property
    def total(self) -> Counts:
        """Over all tables."""
        total = Counts()
        for counts in self.tables.values():
            total.add(counts)
        return total


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a row came from: its block, and its number among all rows of the block."""

    position: Position
    item: int


class Row(msgspec.Struct, frozen=True, gc=False):
    """One tuple as it was encoded."""

    place: Place
    data: bytes


class Broken(msgspec.Struct, frozen=True, gc=False):
    """Bytes of a part that do not split into tuples any further."""

    place: Place
    data: bytes
    rows: int  # how many the part still promised
    reason: str


class Group(msgspec.Struct):
    """Rows of one table from the blocks of one segment: one COPY, one line of the ledger."""

    table: str
    columns: tuple[str, ...]
    segment: int
    parts: list[tuple[Place, Part]]  # the place of the part's first row
    rows: int = 0
    days: set[int] = set()

    def pieces(self) -> Iterator[bytes]:
        """A whole COPY stream."""
        yield from copy_stream(part.data for _, part in self.parts)

    def split(self) -> tuple[list[Row], list[Broken]]:
        """Its tuples one by one, and what is no tuple."""
        rows: list[Row] = []
        broken: list[Broken] = []
        for first, part in self.parts:
            offset, number = 0, 0
            while offset < len(part.data):
                place = Place(first.position, first.item + number)
                try:
                    end = tuple_end(part.data, offset)
                except ValueError as error:
                    broken.append(Broken(place, part.data[offset:], max(1, part.rows - number), str(error)))
                    break
                rows.append(Row(place, part.data[offset:end]))
                offset, number = end, number + 1
        return rows, broken


def groups_of(batch: Batch) -> list[Group]:
    """The parts of a batch put together, in the order in which they first appear."""
    groups: dict[tuple[int, str, tuple[str, ...]], Group] = {}
    for block in batch.blocks:
        item = 0
        for part in block.parts:
            key = (block.position.segment, part.table, part.columns)
            group = groups.get(key)
            if group is None:
                group = groups[key] = Group(part.table, part.columns, block.position.segment, [])
            group.parts.append((Place(block.position, item), part))
            group.rows += part.rows
            group.days.update(part.days)
            item += part.rows
    return list(groups.values())


def copy_stream(tuples: "Iterator[bytes] | Sequence[bytes]") -> Iterator[bytes]:
    """Tuples with the header and trailer of COPY BINARY, in pieces of a bounded size."""
    yield COPY_HEADER
    for data in tuples:
        if len(data) <= _CHUNK:
            if data:
                yield data
        else:
            for offset in range(0, len(data), _CHUNK):
                yield data[offset : offset + _CHUNK]
    yield COPY_TRAILER


class CopyReader(io.RawIOBase):
    """The file psycopg2 reads a COPY from; gives pieces as they are, without joining them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self.failure: Exception | None = None  # psycopg2 would pass it off as a cancelled statement

    def read(self, _size: int = -1) -> bytes:
        """The next piece, whatever its size; b"" at the end."""
        try:
            return next(self._pieces, b"")
        except Exception as error:
            self.failure = error
            raise


def tuple_end(data: bytes, offset: int) -> int:
    """Where the tuple that begins at `offset` ends.

    Raises:
        ValueError: the bytes are no tuple.
    """
    if offset + 2 > len(data):
        raise ValueError("a tuple is cut short")
    (fields,) = _COUNT.unpack_from(data, offset)
    if fields < 0:
        raise ValueError(f"a tuple has {fields} fields")
    offset += 2
    for _ in range(fields):
        if offset + 4 > len(data):
            raise ValueError("a tuple is cut short")
        (length,) = _LENGTH.unpack_from(data, offset)
        offset += 4 + max(length, 0)
        if length < -1:
            raise ValueError(f"a field has the length {length}")
    if offset > len(data):
        raise ValueError("a tuple is cut short")
    return offset


def int8_field(data: bytes, columns: tuple[str, ...], name: str) -> int | None:
    """A bigint of a tuple by its column; None where there is none."""
    if name not in columns:
        return None
    offset = 2
    for _ in range(columns.index(name)):
        if offset + 4 > len(data):
            return None
        offset += 4 + max(_LENGTH.unpack_from(data, offset)[0], 0)
    field = data[offset : offset + 12]
    if len(field) < 12 or _LENGTH.unpack_from(field)[0] != 8:
        return None
    return int.from_bytes(field[4:], "big", signed=True)
