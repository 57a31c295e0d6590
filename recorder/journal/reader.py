"""Reading a journal from a position: complete blocks, and damage as distinct from a block that is being written."""

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from recorder.errors import JournalError
from recorder.journal import block
from recorder.journal.block import BlockHeader, Frame, Lineage, Section, StreamCheckpoint
from recorder.pgcopy.encode import COLUMNS
from recorder.position import Position

SUFFIX = ".tape"
_SCAN = 1 << 20
_ALL = 1 << 62
_LATER_EVERY_S = 1.0  # between two searches for a segment behind missing ones


class Part(msgspec.Struct, gc=False):
    """Rows of one table, as Postgres binary COPY tuples without header and trailer."""

    table: str
    columns: tuple[str, ...]
    rows: int
    data: bytes
    days: tuple[int, ...]


class StoredBlock(msgspec.Struct, gc=False):
    """One good block; `lost` names the sections whose bytes are damaged."""

    position: Position
    next: Position
    seq: int
    incarnation: int
    header: BlockHeader
    frames: int
    parts: list[Part]
    lost: list[str]


class Damaged(msgspec.Struct, gc=False):
    """Bytes that are not a block."""

    position: Position
    next: Position
    reason: str


def segment_path(folder: Path, segment: int) -> Path:
    """Return the path of a segment."""
    return folder / f"{segment:08d}{SUFFIX}"


def segments(folder: Path) -> list[int]:
    """Return the numbers of the segments, oldest first."""
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


def _loaded_until(incarnation: int, following: tuple[int, int, Lineage | None], loaded: Mapping[int, int]) -> bool:
    """Return whether the segment after one of an incarnation shows that all blocks of that one are loaded."""
    other, first, lineage = following
    if other == incarnation:
        return first - 1 <= loaded.get(incarnation, 0)
    if lineage is None or lineage.predecessor != incarnation:
        return False
    return lineage.predecessor_block <= loaded.get(incarnation, 0)


class Unrepeated:
    """Tells a block that is read for the first time from a copy of it elsewhere in the journal.

    The state that a copy holds is older than what was read before it.
    """

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}  # by incarnation
        self._owners: dict[int, int] = {}  # by segment: each belongs to one incarnation

    def first(self, item: StoredBlock) -> bool:
        """Return whether a block is the first of its number; blocks are given in the order of the files."""
        owner = self._owners.setdefault(item.position.segment, item.incarnation)
        if item.incarnation != owner or item.seq <= self._newest.get(owner, 0):
            return False
        self._newest[owner] = item.seq
        return True


class JournalReader:
    """Reads the journal of one recorder; several may read at once, also while it is written."""

    def __init__(self, folder: Path) -> None:
        """Open a journal for reading.

        Raises:
            JournalError: there is no journal here.
        """
        self.folder = folder
        try:
            self.journal_id = (folder / "journal.id").read_text().strip()
        except OSError as error:
            raise JournalError(f"no journal in {folder}: {error.strerror}") from error
        self.venue = ""
        self.recorder = folder.name
        self._columns: dict[str, tuple[str, ...]] = COLUMNS
        self._segment = 0  # the one whose checkpoint is loaded
        self._file: int | None = None
        self.lineages: dict[int, Lineage] = {}  # of the incarnations met so far
        self._later: tuple[int, float] = (-1, 0.0)  # the segment after which nothing was found, and when to look again

    def close(self) -> None:
        """Close the open segment."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._segment = 0

    def first(self) -> Position:
        """Return where the oldest segment begins."""
        numbers = segments(self.folder)
        return Position(numbers[0] if numbers else 1, block.FILE_HEADER.size)

    def end(self) -> Position:
        """Return where the newest segment ends now."""
        numbers = segments(self.folder)
        if not numbers:
            return Position(1, block.FILE_HEADER.size)
        try:
            return Position(numbers[-1], segment_path(self.folder, numbers[-1]).stat().st_size)
        except FileNotFoundError:
            return self.end()

    def lag_bytes(self, position: Position) -> int:
        """Return how many bytes of journal follow `position`; where it lies beyond the end, by how many."""
        numbers = segments(self.folder)
        total = 0
        for number in numbers:
            if number >= position.segment:
                try:
                    size = segment_path(self.folder, number).stat().st_size
                except FileNotFoundError:
                    continue
                total += abs(size - position.offset) if number == position.segment else size - block.FILE_HEADER.size
        if position > self.first() and (not numbers or numbers[-1] < position.segment):
            return position.offset
        return max(0, total)

    def _other_journal(self) -> bool:
        try:
            return (self.folder / "journal.id").read_text().strip() != self.journal_id
        except OSError:
            return True

    def replaced(self, position: Position) -> bool:
        """Return whether the files are not those that were read up to `position`: removed, truncated or restored."""
        if self._other_journal():
            return True
        try:
            if self._file is None:
                return False
            status, named = os.fstat(self._file), segment_path(self.folder, self._segment).stat()
            beyond = position.segment == self._segment and named.st_size < position.offset
            return beyond or (status.st_dev, status.st_ino) != (named.st_dev, named.st_ino)
        except OSError:
            return True

    def locate(self, loaded: Mapping[int, int], hint: Position | None) -> Position:
        """Return where reading must go on so that every block that is not loaded is read.

        Args:
            loaded: The number of the last block loaded, by incarnation.
            hint: Where the next block is expected; None where that is unknown.
        """
        if hint is not None and self._goes_on(hint, loaded):
            return hint
        numbers = segments(self.folder)
        heads = [self._head(number) for number in numbers]
        place = self.first()
        for number, head, following in zip(numbers, heads, [*heads[1:], None], strict=False):
            if head is not None and following is not None and _loaded_until(head[0], following, loaded):
                continue  # everything in it is loaded
            place = Position(number, block.FILE_HEADER.size)
            for item in self.read(place, _ALL, bodies=False):
                if item.position.segment != number:
                    break
                if isinstance(item, StoredBlock):
                    if item.seq > loaded.get(item.incarnation, 0):
                        return place
                    place = item.next
        return place

    def began_ns(self, segment: int) -> int | None:
        """Return when a segment was begun; None where it is damaged or gone."""
        found = self._header_at(block.FILE_HEADER.size) if self._open(segment) else None
        return None if found is None else found[0].written_ns

    def _goes_on(self, position: Position, loaded: Mapping[int, int]) -> bool:
        """Return whether `position` is the end of a loaded block, and nothing or the successor of one follows."""
        if position.segment not in segments(self.folder) or not self._open(position.segment):
            return False
        assert self._file is not None
        found = self._header_at(position.offset)
        if found is not None:
            return found[3] == loaded.get(found[4], 0) + 1 and found[4] in loaded
        head = self._head(position.segment)
        return position.offset == os.fstat(self._file).st_size and head is not None and head[0] in loaded

    def _head(self, segment: int) -> tuple[int, int, Lineage | None] | None:
        """Return the incarnation and the first block number of a segment, and the lineage of the former."""
        if not self._open(segment):
            return None
        found = self._header_at(block.FILE_HEADER.size)
        return None if found is None else (found[4], found[3], self.lineages.get(found[4]))

    def read(
        self, position: Position, max_bytes: int, *, with_frames: bool = False, bodies: bool = True
    ) -> Iterator[StoredBlock | Damaged]:
        """Read blocks from `position` on, until the end of what is written or `max_bytes` of them.

        Args:
            position: The `next` of the last block read, or `first()`.
            max_bytes: Stop after about this many bytes.
            with_frames: Also check the frames section (its content: `frames_of`).
            bodies: Without them only the headers are read, and the blocks have no parts.
        """
        read = 0
        while read < max_bytes:
            if not self._open(position.segment):
                later = self._segment_after(position.segment - 1)
                if later is None:
                    return
                if later > position.segment:  # else the segment appeared just now
                    position = Position(later, block.FILE_HEADER.size)
                continue
            # Checked before the bytes are read: a segment that has a successor grows no more.
            following: int | None = position.segment + 1
            closed = segment_path(self.folder, position.segment + 1).exists()
            item = self._at(position, closed=closed, with_frames=with_frames, bodies=bodies)
            if item is None and not closed:
                following = self._segment_after(position.segment)  # segments in between may have been lost
                if following is None:
                    return
                item = self._at(position, closed=True, with_frames=with_frames, bodies=bodies)
            if item is None:
                assert following is not None
                position = Position(following, block.FILE_HEADER.size)
                continue
            if isinstance(item, StoredBlock):  # damage, however long, comes with the block after it
                read += item.next.offset - item.position.offset
            position = item.next
            yield item

    def _segment_after(self, segment: int) -> int | None:
        """Return the number of the next segment after one; look only once a second where there was none."""
        now_s = time.monotonic()
        if self._later[0] == segment and now_s < self._later[1]:
            return None
        later = next((number for number in segments(self.folder) if number > segment), None)
        self._later = (segment, now_s + _LATER_EVERY_S) if later is None else (-1, 0.0)
        return later

    def recall(self, place: Position) -> tuple[dict[tuple[str, str], StreamCheckpoint], StoredBlock | None]:
        """Read the headers of a segment up to `place`.

        Needed where reading began in the middle of the segment.

        Returns:
            The state of every stream there, and the last block before it; None where no block is before it.
        """
        last: StoredBlock | None = None
        marks: dict[tuple[str, str], StreamCheckpoint] = {}
        unrepeated = Unrepeated()
        for item in self.read(Position(place.segment, block.FILE_HEADER.size), _ALL, bodies=False):
            if item.position >= place:
                break
            if isinstance(item, StoredBlock) and unrepeated.first(item):
                last = item
                block.note_checkpoints(marks, item.header.checkpoints)
        return marks, last

    def frames_of(self, stored: StoredBlock) -> list[Frame]:
        """Return the raw frames of a block.

        Raises:
            ValueError: they are damaged.
        """
        section, data = self._section(stored, "")
        return [] if section is None else block.decode_frames(stored.header.runs, block.unpack_section(section, data))

    def frames_section(self, stored: StoredBlock) -> bytes:
        """Return the frames of a block as they lie in it, for a search that most blocks end without a hit.

        Raises:
            ValueError: they are damaged.
        """
        section, data = self._section(stored, "")
        return b"" if section is None else block.unpack_section(section, data)

    def part_of(self, stored: StoredBlock, table: str) -> Part | None:
        """Return the rows of one table of a block that was read without bodies; None where it has none.

        Raises:
            ValueError: they are damaged.
        """
        section, data = self._section(stored, table)
        if section is None:
            return None
        columns = self._columns[table]
        return Part(table, columns, section.rows, block.unpack_section(section, data), section.days)

    def _section(self, stored: StoredBlock, table: str) -> tuple[Section | None, bytes]:
        """Return a section of a block of the open segment with its bytes; of two copies the first."""
        assert self._file is not None
        assert self._segment == stored.position.segment
        offset = stored.next.offset - sum(section.size for section in stored.header.sections)
        for section in stored.header.sections:
            if section.table == table:
                return section, os.pread(self._file, section.size, offset)
            offset += section.size
        return None, b""

    def _open(self, segment: int) -> bool:
        if self._segment == segment and self._file is not None:
            return True
        self.close()
        try:
            self._file = os.open(segment_path(self.folder, segment), os.O_RDONLY)
        except FileNotFoundError:
            return False
        self._segment = segment
        self._columns = COLUMNS
        if self._other_journal():  # asked after the file is open, because a new journal writes its identity first
            self.close()
            raise JournalError(f"another journal is in {self.folder} now")
        try:
            head = block.parse_file_header(os.pread(self._file, block.FILE_HEADER.size, 0))
        except JournalError as error:
            raise JournalError(f"{segment_path(self.folder, segment)} {error}") from None
        if head is not None:
            self.lineages[head[1].incarnation] = head[1]
        found = self._header_at(block.FILE_HEADER.size)
        if found is not None:  # the checkpoint: names and columns are known from whatever position we start
            self._remember(found[0])
        return True

    def checkpointed(self, segment: int) -> bool:
        """Return whether a segment exists and its checkpoint is intact."""
        self.close()
        if not self._open(segment):
            return False
        found = self._header_at(block.FILE_HEADER.size)
        return found is not None and found[0].checkpoint

    def _remember(self, header: BlockHeader) -> None:
        if header.checkpoint:
            self._columns = header.columns
            self.venue, self.recorder = header.venue, header.recorder
            if header.lineage is not None:
                self.lineages[header.lineage.incarnation] = header.lineage

    def _header_at(self, offset: int) -> tuple[BlockHeader, int, int, int, int] | None:
        """Return (header, offset of the body, body bytes, block number, incarnation) of a good header, else None."""
        assert self._file is not None
        prefix = os.pread(self._file, block.PREFIX.size, offset)
        if len(prefix) < block.PREFIX.size:
            return None
        parsed = block.parse_prefix(prefix)
        if parsed is None:
            return None
        header_size, body_size, crc, seq, incarnation = parsed
        if offset + len(prefix) + header_size + body_size > os.fstat(self._file).st_size:
            return None  # still being written, or a damaged size: nothing is read
        packed = os.pread(self._file, header_size, offset + len(prefix))
        header = block.parse_header(packed, body_size, crc, seq, incarnation)
        return None if header is None else (header, offset + len(prefix) + header_size, body_size, seq, incarnation)

    def _at(self, position: Position, *, closed: bool, with_frames: bool, bodies: bool) -> StoredBlock | Damaged | None:
        """Return what is at `position`; None at the end, or where a block is still being written."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if position.offset >= size:
            return None
        found = self._header_at(position.offset)
        following = None
        if found is None:
            following = self._scan(position.offset + 1, size)
            if following is not None:  # this block and the next one may have been written since the first look
                found = self._header_at(position.offset)
        if found is not None:
            return self._block(position, *found, with_frames=with_frames, bodies=bodies)
        if following is not None:
            return Damaged(position, Position(position.segment, following), "bytes that are not a block")
        if closed:
            return Damaged(position, Position(position.segment, size), "segment ends inside a block")
        return None

    def _block(
        self,
        position: Position,
        header: BlockHeader,
        body: int,
        body_size: int,
        seq: int,
        incarnation: int,
        *,
        with_frames: bool,
        bodies: bool,
    ) -> StoredBlock:
        assert self._file is not None
        parts: list[Part] = []
        lost: list[str] = []
        offset = body
        for section in header.sections if bodies else ():
            if section.table or with_frames:
                stored = os.pread(self._file, section.size, offset)
                try:
                    if not section.table:
                        block.check_section(section, stored)
                    elif not any(part.table == section.table for part in parts):  # else a second copy
                        data = block.unpack_section(section, stored)
                        columns = self._columns[section.table]
                        parts.append(Part(section.table, columns, section.rows, data, section.days))
                except ValueError:
                    lost.append(section.table)
            offset += section.size
        self._remember(header)
        after = Position(position.segment, body + body_size)
        frames = sum(run.count for run in header.runs)
        return StoredBlock(position, after, seq, incarnation, header, frames, parts, lost)

    def _scan(self, offset: int, size: int) -> int | None:
        """Return the offset of the next good block header at or after `offset`."""
        assert self._file is not None
        while offset < size:
            window = os.pread(self._file, _SCAN + block.PREFIX.size, offset)
            at = window.find(block.MAGIC)
            while at >= 0:
                if at < _SCAN and self._header_at(offset + at) is not None:
                    return offset + at
                at = window.find(block.MAGIC, at + 1)
            offset += _SCAN
        return None
