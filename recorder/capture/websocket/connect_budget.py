"""How often the connections of a venue may be opened, by all links and all processes of this machine together.

Venues count the connects of an address and ban it for hours above their limit. So each connect is noted in one small
file per venue in the home, under a lock that the kernel gives back when a process is killed. The times are those of
the monotonic clock, which all processes of a machine share and which no setting of the clock moves.
"""

import struct
import threading
from collections import Counter
from pathlib import Path

from recorder.backoff import WAIT_MAX_S
from recorder.clock import Clock
from recorder.process import shared_file
from recorder.process.shared_file import SharedFile

WINDOW_S = 60.0
_KEPT_MAX = 4096  # connects in the file


class ConnectBudget:
    """The connects of one venue. Threads may share it."""

    def __init__(self, path: Path, per_minute: float, clock: Clock) -> None:
        """
        Args:
            path: The file that the processes share.
            per_minute: Connects in any minute; at least one is allowed.
            clock: Its monotonic time is the same in all processes.
        """
        self._most = max(1, int(per_minute))
        self._clock = clock
        self._lock = threading.Lock()
        self._known: list[float] = []  # times of connects, oldest first; they count where the file cannot be used
        self._not_before_s = float("-inf")
        self._file = SharedFile(path, clock, "connects.not_shared")

    def take(self, apart_s: float) -> float:
        """Note a connect, if it may be made now.

        Args:
            apart_s: Least time since the connect before, at most WINDOW_S.

        Returns:
            0.0 when it is noted; otherwise nothing is noted, and these are the seconds until it is worth asking again.
        """
        with self._lock:
            try:
                with self._file.locked() as file:
                    pause_is_news = self._read(file)
                    wait_s = self._decide(apart_s)
                    if pause_is_news or not wait_s:
                        self._write(file)
                    return wait_s
            except BlockingIOError:
                return self._file.busy_s() or self._decide(apart_s)
            except OSError as error:
                self._file.failed(error)
                return self._decide(apart_s)

    def pause(self, seconds: float) -> None:
        """Make no connect for so many seconds, as the venue requested, but never longer than WAIT_MAX_S."""
        with self._lock:
            until_s = self._clock.monotonic_s() + min(seconds, WAIT_MAX_S)
            self._not_before_s = max(self._not_before_s, until_s)  # the next `take` shares it with the other processes

    def _decide(self, apart_s: float) -> float:
        now_s = self._clock.monotonic_s()
        self._known = [at_s for at_s in self._known if now_s - WINDOW_S < at_s <= now_s]
        allowed_s = self._not_before_s
        if self._known:
            allowed_s = max(allowed_s, self._known[-1] + apart_s)
        if len(self._known) >= self._most:
            allowed_s = max(allowed_s, self._known[-self._most] + WINDOW_S)
        if allowed_s > now_s:
            return allowed_s - now_s
        self._known.append(now_s)
        return 0.0

    def _read(self, file: int) -> bool:
        """Add what other processes noted, and return whether our pause is longer than theirs.

        Times ahead of now are those of an earlier start of the machine.
        """
        now_s = self._clock.monotonic_s()
        data = shared_file.read(file)
        values = [value for (value,) in struct.iter_unpack("<d", data[: len(data) // 8 * 8])]
        paused_s = values[0] if values and now_s < values[0] <= now_s + WAIT_MAX_S else float("-inf")
        news = self._not_before_s > max(paused_s, now_s)
        self._not_before_s = max(self._not_before_s, paused_s)
        noted = Counter(at_s for at_s in values[1:] if now_s - WINDOW_S < at_s <= now_s)
        together = Counter(self._known)
        together |= noted  # a union: a connect that both know is one
        self._known = sorted(together.elements())
        return news

    def _write(self, file: int) -> None:
        known = self._known[-_KEPT_MAX:]
        data = struct.pack(f"<{1 + len(known)}d", self._not_before_s, *known)
        try:
            shared_file.write(file, data)
        except OSError as error:  # the connect is noted in memory
            self._file.failed(error)


def path_of(folder: Path, venue: str) -> Path:
    """Return the file of a venue in the folder of the budgets."""
    return folder / "connects" / venue
