"""Batches of journal blocks, as the writer gives them to the loader. Contains no SQL."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import msgspec

from recorder.pgcopy import decode
from recorder.pgcopy.stream import copy_stream, tuple_end
from recorder.position import Position


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
    """A range of a journal that cannot be read. It becomes a row of quarantine with scope 'block'."""

    position: Position
    reason: str
    sample: bytes | None = None
    sha256: bytes | None = None
    item: int = 0  # distinguishes several with one position


class BreakRow(msgspec.Struct, frozen=True):
    """A place where the next block was not the successor of the last block loaded: a row of journal_break."""

    seq: int  # of the first block behind it
    reason: str
    started_ns: int  # when the last block before it was written; 0 where none was loaded
    ended_ns: int
    gaps: int


class EndedSessions(msgspec.Struct, frozen=True):
    """All sessions of a recorder have ended that are not named here.

    No time decides it: after a restore, the journal may be older than sessions in the database.
    """

    recorder: str
    alive: Sequence[int]  # including those of later blocks of the batch
    reason: str


class Batch(msgspec.Struct, frozen=True):
    """The blocks that one transaction stores. They are of one incarnation.

    `start` is the position that the database has of the journal (`Store.position`); None when it has none yet. `end` is
    the position afterwards.
    """

    journal_id: str
    recorder: str
    start: Position | None
    end: Position
    blocks: Sequence[Block]
    damage: Sequence[Damage] = ()
    incarnation: int = 0
    written_ns: int = 0  # when the last block was written
    state: bytes | None = None  # of the loader, for its next start; None keeps what the database has
    breaks: Sequence[BreakRow] = ()
    ended: EndedSessions | None = None
    since_ns: int = 0  # when its first block was written; 0: just now
    replaces: str = ""  # another journal of the recorder, after which this one goes on


class Counts(msgspec.Struct):
    """Counts of the rows of one table; offered = inserted + duplicate + quarantined."""

    blocks: int = 0
    offered: int = 0
    inserted: int = 0
    duplicate: int = 0
    quarantined: int = 0

    def add(self, other: "Counts") -> None:
        """Add the counts of `other`."""
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
        """Return the counts over all tables."""
        total = Counts()
        for counts in self.tables.values():
            total.add(counts)
        return total


class Place(msgspec.Struct, frozen=True, gc=False):
    """The origin of a row: its block, and its number among all rows of the block."""

    position: Position
    item: int


class Row(msgspec.Struct, frozen=True, gc=False):
    """One encoded tuple."""

    place: Place
    data: bytes


class Broken(msgspec.Struct, frozen=True, gc=False):
    """The rest of a part that cannot be split into tuples."""

    place: Place
    data: bytes
    rows: int  # how many rows the part should still contain
    reason: str


class Group(msgspec.Struct):
    """Rows of one table from the blocks of one segment: one COPY, one row of the ledger."""

    table: str
    columns: tuple[str, ...]
    segment: int
    parts: list[tuple[Place, Part]]  # the place of the part's first row
    rows: int = 0
    days: set[int] = set()

    def pieces(self) -> Iterator[bytes]:
        """Yield a complete COPY stream."""
        yield from copy_stream(part.data for _, part in self.parts)

    def split(self) -> tuple[list[Row], list[Broken]]:
        """Return the tuples one by one, and the bytes that are not tuples."""
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
    """Return the parts of a batch by table and segment, in the order of first appearance."""
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


class KnownSessions:
    """The sessions whose rows were loaded and that have not ended."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()

    def begin_in(self, groups: Iterable[Group]) -> bool:
        """Note the sessions in the groups of a batch; return whether one of them was not known."""
        begun = False
        for group in groups:
            if group.table != "session":
                continue
            number, ended = group.columns.index("session_id"), group.columns.index("ended_at")
            for row in group.split()[0]:
                found = decode.fields(row.data)
                begun = begun or found[number] not in self._ids
                if decode.is_null(found[ended]):
                    self._ids.add(found[number])
                else:
                    self._ids.discard(found[number])
        return begun
