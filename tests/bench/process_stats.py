"""What processes and the machine spend, read from /proc. Linux only."""

import os
import time
from collections.abc import Collection
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_CPUS = os.cpu_count() or 1


def available() -> bool:
    """Return whether this system has the files that are read here."""
    return Path("/proc/self/stat").exists()


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process, user and system."""
    fields = _fields(Path(f"/proc/{pid}/stat"))
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def tree_cpu_s(pid: int, without: Collection[int] = ()) -> float:
    """Return the CPU seconds of a process, its living children but for some, and its children that have ended."""
    total = sum(map(int, _fields(Path(f"/proc/{pid}/stat"))[11:15]))
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = _fields(path)
        except OSError:
            continue  # it ended meanwhile and is counted with its parent
        if int(fields[1]) == pid and int(path.parent.name) not in without:
            total += int(fields[11]) + int(fields[12])
    return total * _TICK_S


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process."""
    return _status_mb(pid, "VmRSS:")


def peak_memory_mb(pid: int) -> float:
    """Return the largest resident memory that a process has had."""
    return _status_mb(pid, "VmHWM:")


class MachineUse:
    """Share of the machine that was busy since this was made."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._busy_s = _busy_s()

    def busy_share(self, own_s: float = 0.0) -> float:
        """Return the busy share of all CPUs, 0 to 1, without `own_s` CPU seconds that were the bench's own."""
        wall_s = max(time.monotonic() - self._began_s, 1e-9)
        return max(0.0, (_busy_s() - self._busy_s - own_s) / (wall_s * _CPUS))


def _busy_s() -> float:
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) * _TICK_S


def _fields(path: Path) -> list[str]:
    """Return the fields of a stat file behind the program's name, which may contain spaces."""
    return path.read_text().rpartition(")")[2].split()


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0
