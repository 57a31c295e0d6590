"""A small file that processes change in turn, under a lock that the kernel frees when one of them is killed."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from recorder.clock import Clock
from recorder.process import files
from recorder.process.log import get_logger

BUSY_S = 0.05
"""The pause before the next attempt at a lock that another process holds."""
_LOCK_MAX_S = 5.0  # a process that is suspended while it holds the lock must not stop the others
_SIZE_MAX = 1 << 16

_log = get_logger(__name__)


class SharedFile:
    """One such file. It is opened for each change, so a file that was removed or replaced is shared again.

    It is not safe for several threads.
    """

    def __init__(self, path: Path, clock: Clock, failed: str) -> None:
        """
        Args:
            path: The file; missing folders are made for their owner only.
            clock: Measures how long another process holds the lock.
            failed: Event of the log line that says that the file cannot be used.
        """
        self._path = path
        self._clock = clock
        self._failed_event = failed
        self._failed = False  # a failure is logged once
        self._busy_since_s: float | None = None

    @contextlib.contextmanager
    def locked(self) -> Iterator[int]:
        """Yield the descriptor of the file, locked. The lock is never waited for.

        Raises:
            BlockingIOError: another process holds the lock at this moment.
            OSError: the file cannot be used.
        """
        if not self._path.parent.is_dir():
            files.make_home(self._path.parent)
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._busy_since_s = None
            yield file
        finally:
            os.close(file)

    def busy_s(self) -> float:
        """Return the pause after a BlockingIOError; 0.0 when the lock has been held for too long to wait for it."""
        now_s = self._clock.monotonic_s()
        if self._busy_since_s is None:
            self._busy_since_s = now_s
        return BUSY_S if now_s - self._busy_since_s < _LOCK_MAX_S else 0.0

    def failed(self, error: OSError) -> None:
        """Log that the file cannot be used; once."""
        if not self._failed:
            _log.warning(self._failed_event, path=str(self._path), error=str(error))
        self._failed = True


def read(file: int) -> bytes:
    """Return the content."""
    return os.pread(file, _SIZE_MAX, 0)


def write(file: int, data: bytes) -> None:
    """Replace the content in one call, so that a kill leaves the old content or the new.

    Raises:
        OSError: the disk does not take it.
    """
    os.pwrite(file, data, 0)
    os.ftruncate(file, len(data))
