"""The journal of one recorder: append blocks, sync, rotate, and come back after any crash.

Every start begins a new segment. A power cut may take bytes from the end of a segment that the writer has
already loaded; appending there would put new blocks under positions that count as done.
"""

import errno
import fcntl
import os
import re
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgspec

from recorder import block
from recorder.block import BlockEncoder, BlockHeader, Mark, counted
from recorder.clock import Clock
from recorder.errors import ConfigError, JournalError, JournalFull
from recorder.events import Session
from recorder.journal_reader import JournalReader, StoredBlock, segment_path, segments
from recorder.log import get_logger
from recorder.position import Position
from recorder.rows import COLUMNS
from recorder.settings import JournalSettings

_SPACE_CHECK_S = 0.5
_IDENTITY = re.compile(r"[0-9a-f]{32}")
_FULL = {errno.ENOSPC, errno.EDQUOT}

_log = get_logger(__name__)


class Recovered(msgspec.Struct):
    """What an earlier process left."""

    marks: list[Mark]
    last_frame_ns: dict[int, int]  # by session: receipt of its last journalled frame
    sessions: list[Session]  # that had not ended
    last_seq: int  # of the last block
    cut_bytes: int  # torn tail


def recover(folder: Path) -> tuple[Recovered, Position | None]:
    """Read a journal on from its newest checkpoint, which names every stream; changes nothing.

    Returns:
        What its last process left, and where whole blocks end in its newest segment; None where there is no segment.

    Raises:
        JournalError: there is no journal here.
    """
    numbers = segments(folder)
    reader = JournalReader(folder)
    last_frame_ns: dict[int, int] = {}
    sessions: dict[int, Session] = {}
    last_seq = 0
    end: Position | None = None
    try:
        if numbers:
            start = next((number for number in reversed(numbers) if reader.checkpointed(number)), numbers[0])
            end = Position(numbers[-1], block.FILE_HEADER.size)
            for item in reader.read(Position(start, block.FILE_HEADER.size), 1 << 62):
                if isinstance(item, StoredBlock):
                    end = max(end, item.next)
                    last_seq = max(last_seq, item.seq)
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
    return Recovered(list(reader.marks.values()), last_frame_ns, alive, last_seq, 0), end


class Journal:
    """The append side; exactly one process holds it."""

    def __init__(self, folder: Path, venue: str, settings: JournalSettings, clock: Clock) -> None:
        """Open or create the journal in `folder`, cutting a torn tail.

        Raises:
            ConfigError: the folder cannot be written, or another process holds the journal.
            JournalError: the disk does not do what it is told.
        """
        self.folder = folder
        self.name = folder.name
        self._venue = venue
        self._settings = settings
        self._clock = clock
        self._encoder = BlockEncoder()
        self._lock = self._acquire()
        self.journal_id = self._identity()
        self.recovered = self._recover()
        self._seq = self.recovered.last_seq + 1
        self._file = -1
        self._swapping = threading.Lock()  # the sync thread must not meet a file that is being changed
        self._segment = (segments(folder) or [0])[-1]
        self._offset = 0
        self._began_s = 0.0
        self._synced: tuple[int, int] = (0, 0)
        self._space_checked_s = float("-inf")
        self._has_space = True

    def _acquire(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(f"cannot write the journal folder {self.folder}: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode(errors="replace").strip()
            os.close(lock)
            raise ConfigError(
                f"{self.name} is already recording (process {holder or 'unknown'} holds {self.folder / 'lock'}): "
                "stop it first, or choose another journal folder"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        return lock

    def _identity(self) -> str:
        path = self.folder / "journal.id"
        try:
            known = path.read_text(errors="replace").strip()
        except FileNotFoundError:
            known = ""
        if _IDENTITY.fullmatch(known):
            return known
        # Under another identity all that is loaded would be loaded again.
        fresh = self._identity_in_segments() or secrets.token_hex(16)
        temporary = path.with_suffix(".new")
        with open(temporary, "w") as file:
            file.write(fresh + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        _sync_folder(self.folder)
        return fresh

    def _identity_in_segments(self) -> str | None:
        for number in reversed(segments(self.folder)):
            with open(segment_path(self.folder, number), "rb") as file:
                head = file.read(block.FILE_HEADER.size)
            if len(head) == block.FILE_HEADER.size and crc32(head[:-4]) == int.from_bytes(head[-4:], "little"):
                return head[8:24].hex()
        return None

    # ---- after a crash ------------------------------------------------------------------------------

    def _recover(self) -> Recovered:
        """What the earlier process left; cuts what was torn off the end."""
        left, end = recover(self.folder)
        if end is not None:
            left.cut_bytes = self._cut(end.segment, end.offset)
        return left

    def _cut(self, number: int, end: int) -> int:
        path = segment_path(self.folder, number)
        torn = path.stat().st_size - end
        if torn > 0:
            os.truncate(path, end)
            _log.warning("journal.cut", journal=self.name, segment=number, offset=end, bytes=torn)
        return max(0, torn)

    # ---- append -------------------------------------------------------------------------------------

    @property
    def position(self) -> Position:
        """Where the next block goes, if the segment is not rotated first."""
        return Position(self._segment, self._offset)

    def next_position(self, checkpoint: Callable[[], tuple[list[Mark], list[Session]]]) -> Position:
        """Rotate if it is time, and tell where the next block will be.

        Args:
            checkpoint: Gives the marks of every stream and the rows of live sessions; they begin a new segment.

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
            self._rotate(*checkpoint())
            self._began_s = now_s
        return self.position

    def append(self, header: BlockHeader, sections: list[tuple[block.Section, bytes]]) -> None:
        """Write one block at `position`.

        Raises:
            JournalFull: the disk is full; the segment ends where it did before.
            JournalError: the disk failed.
        """
        header.sections = [section for section, _ in sections]
        data = self._encoder.block(self._seq, header, [body for _, body in sections])
        self._write(data)
        self._seq += 1

    def section(self, table: str, rows: int, raw: bytes, days: tuple[int, ...]) -> tuple[block.Section, bytes]:
        """A section for `append`, compressed."""
        return self._encoder.section(table, rows, raw, days)

    def _write(self, data: bytes) -> None:
        try:
            _write_all(self._file, data)
        except OSError as error:
            try:
                os.ftruncate(self._file, self._offset)  # half a block is worse than none
            except OSError as second:
                raise JournalError(f"cannot take half a block back in {self.folder}: {second.strerror}") from second
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
                raise JournalError(f"cannot ask for free space in {self.folder}: {error.strerror}") from error
            self._has_space = disk.f_bavail * disk.f_frsize >= self._settings.reserve_mb << 20
        if not self._has_space:
            raise JournalFull(f"less than {self._settings.reserve_mb} MB free in {self.folder}")

    def _rotate(self, marks: list[Mark], sessions: list[Session]) -> None:
        self._close_segment()
        number = self._segment + 1
        head = block.FILE_HEADER.pack(block.FILE_MAGIC, bytes.fromhex(self.journal_id), number, 0)
        head = head[:-4] + crc32(head[:-4]).to_bytes(4, "little")
        header = BlockHeader(
            self._clock.wall_ns(),
            [],
            [],
            marks,
            sessions,
            checkpoint=True,
            venue=self._venue,
            recorder=self.name,
            columns=COLUMNS,
        )
        path = segment_path(self.folder, number)
        temporary = path.with_suffix(".new")
        data = head + self._encoder.block(self._seq, header, [])
        try:
            # Under another name until it has its checkpoint: a reader never sees a segment without one.
            # Appending: after half a block was taken back, the next one goes to the end, not behind a hole.
            flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o644)
            try:
                _write_all(file, data)
                os.fsync(file)
                os.rename(temporary, path)
                _sync_folder(self.folder)
            except OSError:
                os.close(file)
                raise
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
        """Bring what is written to the disk; cheap when nothing is new.

        Raises:
            JournalError: the disk did not take it. What it holds is unknown from then on.
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
        """Sync and let go."""
        self._close_segment()
        os.close(self._lock)


_sync_data: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
