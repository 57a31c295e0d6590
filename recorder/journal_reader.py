"""Reading a journal from a position: whole blocks, damage told apart from what is still being written."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from recorder import block
from recorder.block import BlockHeader, Frame, Mark
from recorder.errors import JournalError
from recorder.position import Position
from recorder.rows import COLUMNS

SUFFIX = ".tape"
_SCAN = 1 << 20


class Part(msgspec.Struct, gc=False):
    """Rows of one table, as Postgres binary COPY tuples without header and trailer."""

    table: str
    columns: tuple[str, ...]
    rows: int
    data: bytes
    days: tuple[int, ...]


class StoredBlock(msgspec.Struct, gc=False):
    """One good block. `lost` names sections whose bytes are damaged."""

    position: Position
    next: Position
    seq: int
    header: BlockHeader
    frames: int
    parts: list[Part]
    lost: list[str]


class Damaged(msgspec.Struct, gc=False):
    """Bytes that are no block."""

    position: Position
    next: Position
    reason: str


def segment_path(folder: Path, segment: int) -> Path:
    """Where a segment is kept."""
    return folder / f"{segment:08d}{SUFFIX}"


def segments(folder: Path) -> list[int]:
    """Numbers of the segments there are, oldest first."""
    return sorted(int(path.stem) for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())


class JournalReader:
    """Reads the journal of one recorder; several may read at once, also while it is written."""

    def __init__(self, folder: Path) -> None:
        """
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
        self.marks: dict[tuple[str, str], Mark] = {}  # state of every stream as of the last block read
        self._columns: dict[str, tuple[str, ...]] = COLUMNS
        self._segment = 0  # whose checkpoint is loaded
        self._file: int | None = None

    def close(self) -> None:
        """Let go of the open segment."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._segment = 0

    def first(self) -> Position:
        """Where the oldest segment begins."""
        numbers = segments(self.folder)
        return Position(numbers[0] if numbers else 1, block.FILE_HEADER.size)

    def end(self) -> Position:
        """Where the newest segment ends now."""
        numbers = segments(self.folder)
        if not numbers:
            return Position(1, block.FILE_HEADER.size)
        try:
            return Position(numbers[-1], segment_path(self.folder, numbers[-1]).stat().st_size)
        except FileNotFoundError:
            return self.end()

    def lag_bytes(self, position: Position) -> int:
        """Bytes of journal behind `position`."""
        total = 0
        for number in segments(self.folder):
            if number >= position.segment:
                try:
                    size = segment_path(self.folder, number).stat().st_size
                except FileNotFoundError:
                    continue
                total += size - (position.offset if number == position.segment else block.FILE_HEADER.size)
        return max(0, total)

    def read(self, position: Position, max_bytes: int, *, with_frames: bool = False) -> Iterator[StoredBlock | Damaged]:
        """Blocks from `position` on, until the end of what is written or `max_bytes` of them.

        Args:
            position: The `next` of the last block taken, or `first()`.
            max_bytes: Stop after about this many bytes.
            with_frames: Also check the frames section (its content: `frames_of`).
        """
        taken = 0
        while taken < max_bytes:
            if not self._open(position.segment):
                there = [number for number in segments(self.folder) if number >= position.segment]
                if not there:
                    return
                if there[0] > position.segment:  # else it began just now
                    position = Position(there[0], block.FILE_HEADER.size)
                continue
            # Asked before the bytes are: a segment that has a successor grows no more.
            following = Position(position.segment + 1, block.FILE_HEADER.size)
            closed = segment_path(self.folder, following.segment).exists()
            item = self._at(position, closed=closed, with_frames=with_frames)
            if item is None:
                if not closed:
                    return
                position = following
                continue
            if isinstance(item, StoredBlock):  # damage ends with the block behind it, however long it is
                taken += item.next.offset - item.position.offset
            position = item.next
            yield item

    def recall(self, place: Position, end: Position) -> int:
        """Read a segment again up to `end`: `marks` names all its streams, also where reading began in its middle.

        Returns:
            When the last block before `place` was written; 0 where there is none.
        """
        written_ns = 0
        for item in self.read(Position(end.segment, block.FILE_HEADER.size), 1 << 62):
            if item.position >= end:
                break
            if isinstance(item, StoredBlock) and item.position < place:
                written_ns = item.header.written_ns
        return written_ns

    def frames_of(self, stored: StoredBlock) -> list[Frame]:
        """The raw frames of a block.

        Raises:
            ValueError: they are damaged.
        """
        assert self._file is not None
        assert self._segment == stored.position.segment
        offset = stored.next.offset - sum(section.size for section in stored.header.sections)
        for section in stored.header.sections:
            if section.table == "":
                data = os.pread(self._file, section.size, offset)
                return block.decode_frames(stored.header.runs, block.unpack_section(section, data))
            offset += section.size
        return []

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
        found = self._header_at(block.FILE_HEADER.size)
        if found is not None:  # the checkpoint: whatever position we start from, its streams are known
            self._remember(found[0])
        return True

    def checkpointed(self, segment: int) -> bool:
        """Whether a segment is there and its checkpoint is whole."""
        self.close()
        if not self._open(segment):
            return False
        found = self._header_at(block.FILE_HEADER.size)
        return found is not None and found[0].checkpoint

    def _remember(self, header: BlockHeader) -> None:
        if header.checkpoint:
            self._columns = header.columns
            self.venue, self.recorder = header.venue, header.recorder
        for mark in header.marks:
            self.marks[mark.symbol, mark.channel] = mark

    def _header_at(self, offset: int) -> tuple[BlockHeader, int, int, int] | None:
        """(header, offset of the body, body bytes, block number) where a good header stands at `offset`."""
        assert self._file is not None
        prefix = os.pread(self._file, block.PREFIX.size, offset)
        if len(prefix) < block.PREFIX.size:
            return None
        parsed = block.parse_prefix(prefix)
        if parsed is None:
            return None
        header_size, body_size, crc, seq = parsed
        if offset + len(prefix) + header_size + body_size > os.fstat(self._file).st_size:
            return None  # still being written, or a damaged size: not worth its memory
        header = block.parse_header(os.pread(self._file, header_size, offset + len(prefix)), body_size, crc, seq)
        return None if header is None else (header, offset + len(prefix) + header_size, body_size, seq)

    def _at(self, position: Position, *, closed: bool, with_frames: bool) -> StoredBlock | Damaged | None:
        """What stands at `position`; None where nothing (more) does, or a block is still being written."""
        assert self._file is not None
        size = os.fstat(self._file).st_size
        if position.offset >= size:
            return None
        found = self._header_at(position.offset)
        if found is not None:
            return self._block(position, *found, with_frames=with_frames)
        following = self._scan(position.offset + 1, size)
        if following is not None:
            return Damaged(position, Position(position.segment, following), "bytes that are no block")
        if closed:
            return Damaged(position, Position(position.segment, size), "segment ends inside a block")
        return None

    def _block(
        self, position: Position, header: BlockHeader, body: int, body_size: int, seq: int, *, with_frames: bool
    ) -> StoredBlock:
        assert self._file is not None
        parts: list[Part] = []
        lost: list[str] = []
        offset = body
        for section in header.sections:
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
        return StoredBlock(position, after, seq, header, sum(run.count for run in header.runs), parts, lost)

    def _scan(self, offset: int, size: int) -> int | None:
        """Offset of the next good block header at or behind `offset`."""
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
