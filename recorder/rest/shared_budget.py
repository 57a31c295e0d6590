"""The request budget of one address, shared by all processes of a machine that name the same folder.

A venue counts the requests of an IP address, whichever process sends them. So the state of the bucket is in one small
file per address, which each request changes under a lock; the lock is held for some microseconds and never waited for.
The times are those of the monotonic clock, which all processes of a machine share and which no setting of the wall
clock moves. Where the file cannot be used, each process keeps the budget on its own, and a log line says so.
"""

import re
import struct
import threading
import zlib
from pathlib import Path
from urllib.parse import urlsplit

from recorder.backoff import WAIT_MAX_S
from recorder.clock import Clock
from recorder.process import shared_file
from recorder.process.shared_file import SharedFile
from recorder.rest.policy import Budget, Level

_FORM = struct.Struct("<4sdd")
_CRC = struct.Struct("<I")
_MAGIC = b"TDB1"
_PAUSE_ATTEMPTS = 4
_NAME_MAX = 200  # characters; a file system takes 255 bytes


class SharedBudget:
    """A budget whose state is in a file. It is not safe for several threads."""

    def __init__(self, budget: Budget, path: Path, clock: Clock, stop: threading.Event) -> None:
        """
        Args:
            budget: Decides; its limits should be the same in all processes.
            path: The file that the processes share.
            clock: Its monotonic time is the same in all processes.
            stop: Ends the short wait of `pause`.
        """
        self._budget = budget
        self._clock = clock
        self._stop = stop
        self._file = SharedFile(path, clock, "rest.budget_not_shared")

    def take(self, path: str, waited_s: float = 0.0) -> float:
        """Spend the units of a request, if it may be sent now; as `Budget.take`."""
        try:
            with self._file.locked() as file:
                pause_is_news = self._read(file)
                wait_s = self._budget.take(path, waited_s)
                if pause_is_news or not wait_s:
                    self._write(file)
                return wait_s
        except BlockingIOError:
            return self._file.busy_s() or self._budget.take(path, waited_s)
        except OSError as error:
            self._file.failed(error)
            return self._budget.take(path, waited_s)

    def pause(self, seconds: float) -> None:
        """Have all processes send nothing for so many seconds, but never longer than WAIT_MAX_S."""
        self._budget.pause(seconds)
        for _ in range(_PAUSE_ATTEMPTS):
            try:
                with self._file.locked() as file:
                    self._read(file)
                    self._write(file)
                return
            except BlockingIOError:  # where it stays busy, the next `take` shares the pause
                if self._stop.wait(self._file.busy_s()):
                    return
            except OSError as error:
                self._file.failed(error)
                return

    def _read(self, file: int) -> bool:
        """Merge what other processes noted, and return whether our pause is longer than theirs."""
        now_s = self._clock.monotonic_s()
        noted = self._plausible(shared_file.read(file), now_s)
        own_until_s = self._budget.level.not_before_s
        self._budget.merge(noted)
        return own_until_s > max(noted.not_before_s, now_s)

    def _plausible(self, data: bytes, now_s: float) -> Level:
        """Return the level in the file; times further ahead than any request leaves them are of an earlier boot."""
        none = Level(float("-inf"), float("-inf"))
        if len(data) != _FORM.size + _CRC.size or _CRC.unpack_from(data, _FORM.size)[0] != zlib.crc32(data[:-4]):
            return none
        magic, full_at_s, not_before_s = _FORM.unpack_from(data)
        if magic != _MAGIC:
            return none
        most_s = max(WAIT_MAX_S, 2 * self._budget.refill_s)
        return Level(
            full_at_s if full_at_s <= now_s + most_s else float("-inf"),
            not_before_s if not_before_s <= now_s + WAIT_MAX_S else float("-inf"),
        )

    def _write(self, file: int) -> None:
        data = _FORM.pack(_MAGIC, *self._budget.level)
        try:
            shared_file.write(file, data + _CRC.pack(zlib.crc32(data)))
        except OSError as error:  # the request is noted in memory
            self._file.failed(error)


def path_of(folder: Path, url: str) -> Path:
    """Return the file of an address in the folder of the budgets: of its host, port and path, not of its user."""
    parts = urlsplit(url)
    host = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path.rstrip('/')}"
    name = re.sub(r"[^a-z0-9.-]+", "_", host.lower())
    return folder / "rest" / f"{name[:_NAME_MAX]}.budget"
