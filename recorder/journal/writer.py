"""The journal of one recorder: append blocks, sync, rotate, and recover after any crash.

Every start begins a new segment. A power cut may destroy bytes at the end of a segment that the writer has
already loaded; appending there would put new blocks at positions that count as loaded.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from recorder.clock import Clock
from recorder.errors import ConfigError, JournalError, JournalFull
from recorder.events import SessionRow
from recorder.journal import block
from recorder.journal.block import BlockEncoder, BlockHeader, Lineage, StreamCheckpoint, counted
from recorder.journal.reader import JournalReader, StoredBlock, Unrepeated, segment_path, segments
from recorder.pgcopy.encode import COLUMNS
from recorder.position import Position
from recorder.process import files
from recorder.process.log import get_logger
from recorder.settings import JournalSettings

_SPACE_CHECK_S = 0.5
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_FULL = {errno.ENOSPC, errno.EDQUOT}

_log = get_logger(__name__)


class Recovered(msgspec.Struct):
    """The state that an earlier process left in a journal."""

    checkpoints: list[StreamCheckpoint]
    last_frame_ns: dict[int, int]  # by session: receipt of its last journalled frame
    sessions: list[SessionRow]  # that had not ended
    last_seq: int  # of the last block; 0 without one
    last_incarnation: int  # of the last block; 0 without one
    end: Position  # of the last block
    cut_bytes: int = 0  # an incomplete block at the end, removed
    state: bytes = b""  # of the last block: that of a program that is no recorder
    written_ns: int = 0  # when the last block was written; 0 without one


def recover(folder: Path) -> tuple[Recovered, Position | None]:
    """Read a journal from its newest checkpoint, which names every stream. Nothing is changed.

    Returns:
        What its last process left, and where complete blocks end in its newest segment; None without a segment.

    Raises:
        JournalError: there is no journal here.
    """
    numbers = segments(folder)
    reader = JournalReader(folder)
    checkpoints: dict[tuple[str, str], StreamCheckpoint] = {}
    last_frame_ns: dict[int, int] = {}
    sessions: dict[int, SessionRow] = {}
    last: StoredBlock | None = None
    end: Position | None = None
    try:
        if numbers:
            start = next((number for number in reversed(numbers) if reader.checkpointed(number)), numbers[0])
            end = Position(numbers[-1], block.FILE_HEADER.size)
            unrepeated = Unrepeated()
            for item in reader.read(Position(start, block.FILE_HEADER.size), 1 << 62, bodies=False):
                if not isinstance(item, StoredBlock):
                    continue
                end = max(end, item.next)
                if unrepeated.first(item):
                    last = item
                    block.note_checkpoints(checkpoints, item.header.checkpoints)
                    for session in item.header.sessions:
                        sessions[session.session_id] = session
                        last_frame_ns[session.session_id] = session.last_frame_ns or session.started_ns
                    for run in item.header.runs:
                        last_frame_ns[run.session_id] = run.last_ns
                        if run.session_id in sessions:
                            sessions[run.session_id] = counted(sessions[run.session_id], run)
    finally:
        reader.close()
    alive = [session for session in sessions.values() if session.ended_ns is None]
    if last is None:
        return Recovered([], last_frame_ns, alive, 0, 0, Position(0, 0)), end
    header = last.header
    return Recovered(
        list(checkpoints.values()), last_frame_ns, alive, last.seq, last.incarnation, last.next,
        state=header.state, written_ns=header.written_ns,
    ), end  # fmt: skip


class Journal:
    """The append side; exactly one process holds it."""

    def __init__(
        self,
        folder: Path,
        venue: str,
        settings: JournalSettings,
        clock: Clock,
        *,
        lock: int,
        journal_id: str,
        recovered: Recovered,
        segment: int,
        level: int | None = None,
    ) -> None:
        """Hold a journal that `open` has locked and recovered; `segment` is its newest."""
        self.folder = folder
        self.name = folder.name
        self.journal_id = journal_id
        self.recovered = recovered
        self._venue = venue
        self._settings = settings
        self._clock = clock
        self._encoder = BlockEncoder(level)
        self._lock = lock
        self._lineage = Lineage(
            secrets.randbelow(2**63 - 1) + 1, recovered.last_incarnation, recovered.last_seq, recovered.end
        )
        self._seq = recovered.last_seq + 1
        self._file = -1
        self._swapping = threading.Lock()  # the sync thread must not sync a file that is being replaced
        self._segment = segment
        self._offset = 0
        self._began_s = 0.0
        self._synced: tuple[int, int] = (0, 0)
        self._space_checked_s = float("-inf")
        self._has_space = True

    @classmethod
    def open(
        cls, folder: Path, venue: str, settings: JournalSettings, clock: Clock, *, level: int | None = None
    ) -> "Journal":
        """Open or create the journal in `folder`: lock it, recover its state, and cut an incomplete last block.

        Args:
            folder: Of the journal.
            venue: Whose data it has.
            settings: Sizes and limits.
            clock: Gives the times of blocks.
            level: Of the compression; None is the fast one of a recorder.

        Raises:
            ConfigError: the folder cannot be written, or another process holds the journal.
            JournalError: the disk fails.
        """
        lock = _acquire(folder)
        try:
            journal_id = _identity(folder)
            recovered, end = recover(folder)
            if end is not None:
                recovered.cut_bytes = _cut(folder, end.segment, end.offset)
        except BaseException:
            os.close(lock)
            raise
        segment = 0 if end is None else end.segment
        return cls(
            folder, venue, settings, clock,
            lock=lock, journal_id=journal_id, recovered=recovered, segment=segment, level=level,
        )  # fmt: skip

    @property
    def position(self) -> Position:
        """Where the next block goes, unless the segment is rotated first."""
        return Position(self._segment, self._offset)

    def next_position(
        self, checkpoint: Callable[[], tuple[list[StreamCheckpoint], list[SessionRow]]], state: bytes = b""
    ) -> Position:
        """Rotate the segment if it is time, and return where the next block will be.

        Args:
            checkpoint: Returns the state of every stream and the rows of open sessions, for the begin of a segment.
            state: Of a program that is no recorder, as of the last block, for the same.

        Raises:
            JournalFull: the disk is at its reserve; nothing was written.
            JournalError: the disk failed.
        """
        self._check_space()
        now_s = self._clock.monotonic_s()
        if (
            self._file < 0
            or self._offset >= self._settings.segment_mb << 20
            or now_s - self._began_s >= self._settings.segment_minutes * 60
        ):
            self._rotate(*checkpoint(), state)
            self._began_s = now_s
        return self.position

    def append(self, header: BlockHeader, sections: list[tuple[block.Section, bytes]]) -> None:
        """Write one block at `position`.

        Raises:
            JournalFull: the disk is full; the segment ends where it did before.
            JournalError: the disk failed.
        """
        header.sections = [section for section, _ in sections]
        data = self._encoder.block(self._lineage.incarnation, self._seq, header, [body for _, body in sections])
        self._write(data)
        self._seq += 1

    def section(self, table: str, rows: int, raw: bytes, days: tuple[int, ...]) -> tuple[block.Section, bytes]:
        """Return a compressed section for `append`."""
        return self._encoder.section(table, rows, raw, days)

    def _write(self, data: bytes) -> None:
        try:
            files.write_all(self._file, data)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._offset)  # a part of a block is worse than none
            except OSError as second:
                raise JournalError(f"cannot remove an incomplete block in {self.folder}: {second.strerror}") from second
            if error.errno in _FULL:
                self._has_space = False
                raise JournalFull(f"no space for the journal in {self.folder}") from error
            raise JournalError(f"cannot write the journal in {self.folder}: {error.strerror}") from error
        self._offset += len(data)

    def _check_space(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._space_checked_s >= _SPACE_CHECK_S:
            self._space_checked_s = now_s
            try:
                disk = os.statvfs(self.folder)
            except OSError as error:
                raise JournalError(f"cannot read the free space in {self.folder}: {error.strerror}") from error
            self._has_space = disk.f_bavail * disk.f_frsize >= self._settings.reserve_mb << 20
            self._check_removed()
        if not self._has_space:
            raise JournalFull(f"less than {self._settings.reserve_mb} MB free in {self.folder}")

    def _check_removed(self) -> None:
        """Begin a new segment soon when ours was removed: blocks in a file without a name are lost."""
        if os.fstat(self._lock).st_nlink == 0:  # another process may have begun a journal in its place
            raise JournalError(f"the journal folder {self.folder} was removed while it was written")
        if self._file >= 0 and os.fstat(self._file).st_nlink == 0:
            _log.error("journal.segment_removed", journal=self.name, segment=self._segment, action="a new one begins")
            self._began_s = float("-inf")

    def _rotate(self, checkpoints: list[StreamCheckpoint], sessions: list[SessionRow], state: bytes) -> None:
        self._close_segment()
        number = self._segment + 1
        head = block.encode_file_header(self.journal_id, number, self._lineage)
        header = BlockHeader(
            self._clock.wall_ns(),
            [],
            [],
            checkpoints,
            sessions,
            checkpoint=True,
            venue=self._venue,
            recorder=self.name,
            columns=COLUMNS,
            lineage=self._lineage,
            state=state,
        )
        data = head + self._encoder.block(self._lineage.incarnation, self._seq, header, [])
        try:
            # The file appears with its checkpoint: a reader never sees a segment without one.
            # O_APPEND: after an incomplete block was removed, the next one goes to the end of what is left.
            file = files.create(segment_path(self.folder, number), data, flags=os.O_APPEND)
        except OSError as error:
            if error.errno in _FULL:
                self._has_space = False
                raise JournalFull(f"no space for a new segment in {self.folder}") from error
            raise JournalError(f"cannot begin a segment in {self.folder}: {error.strerror}") from error
        self._seq += 1
        with self._swapping:
            self._file, self._segment, self._offset = file, number, len(data)
            self._synced = (number, len(data))

    def _close_segment(self) -> None:
        if self._file >= 0:
            self.sync()
            with self._swapping:
                os.close(self._file)
                self._file = -1

    def sync(self) -> None:
        """Sync what is written to the disk; cheap when nothing is new.

        Raises:
            JournalError: the disk failed. What it holds is unknown from then on.
        """
        with self._swapping:
            place = (self._segment, self._offset)
            if self._file < 0 or place == self._synced:
                return
            try:
                _sync_data(self._file)
            except OSError as error:
                raise JournalError(f"cannot sync the journal in {self.folder}: {error.strerror}") from error
            self._synced = place

    def close(self) -> None:
        """Sync, close the segment, and release the lock."""
        self._close_segment()
        os.close(self._lock)


_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def _acquire(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"cannot write the journal folder {folder}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
        os.close(lock)
        raise ConfigError(
            f"{folder.name} is already recording (process {holder or 'unknown'} holds {folder / 'lock'}): "
            "stop it first, or choose another journal folder"
        ) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _identity(folder: Path) -> str:
    """Return the identity of a journal. Under another one, everything loaded would be loaded again."""
    path = folder / "journal.id"
    try:
        known = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        known = ""
    if _IDENTITY.fullmatch(known):
        return known
    identity = _identity_in_segments(folder) or secrets.token_hex(16)
    files.write(path, f"{identity}\n".encode())
    return identity


def _identity_in_segments(folder: Path) -> str | None:
    for number in reversed(segments(folder)):
        with open(segment_path(folder, number), "rb") as file:
            found = block.parse_file_header(file.read(block.FILE_HEADER.size))
        if found is not None:
            return found[0]
    return None


def _cut(folder: Path, number: int, end: int) -> int:
    path = segment_path(folder, number)
    torn = path.stat().st_size - end
    if torn > 0:
        os.truncate(path, end)
        _log.warning("journal.cut", journal=folder.name, segment=number, offset=end, bytes=torn)
    return max(0, torn)
