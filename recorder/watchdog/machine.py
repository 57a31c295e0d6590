"""What the watchdog reads of this machine: its clock and its disks."""

import ctypes
import os
import struct
import sys
import threading
import time
from pathlib import Path

from recorder.appliance import disk
from recorder.appliance.disk import DiskUse
from recorder.process.threads import Part
from recorder.settings import Settings
from recorder.watchdog.evidence import ClockEvidence, DiskEvidence, FileSystem

_PARTS_EVERY_S = 60.0
_HEAD = struct.Struct("@Ilqqqi")  # struct timex of <sys/timex.h>: modes offset freq maxerror esterror status
_SIZE = 512  # more than the structure has
_UNSYNCHRONISED, _NANOSECONDS = 0x40, 0x2000
_ERROR_STATE = 5


def clock(step_s: float) -> ClockEvidence:
    """Return what the kernel knows of its clock; nothing where it does not say, such as on macOS.

    Source: adjtimex(2). Without a reference the offset is 0 and means nothing.
    """
    if not sys.platform.startswith("linux") or struct.calcsize("l") != 8:
        return ClockEvidence(step_s=step_s)
    buffer = ctypes.create_string_buffer(_SIZE)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return ClockEvidence(step_s=step_s)
    if state < 0:
        return ClockEvidence(step_s=step_s)
    _modes, offset, _freq, _most, _estimated, status = _HEAD.unpack_from(buffer)
    synchronised = state != _ERROR_STATE and not status & _UNSYNCHRONISED
    offset_s = offset / (1e9 if status & _NANOSECONDS else 1e6)
    return ClockEvidence(synchronised, offset_s if synchronised else None, step_s)


class Disks:
    """Measures the disks in a thread of its own: a disk that hangs delays no round."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._latest = DiskEvidence()

    def evidence(self) -> DiskEvidence:
        """Return the last measurement; never waits."""
        return self._latest

    def part(self) -> Part:
        """Return a part that measures until it is stopped."""

        def body(stop: threading.Event) -> None:
            use: DiskUse | None = None
            use_at_s = float("-inf")
            while not stop.is_set():
                systems = self._systems()
                if time.monotonic() - use_at_s >= _PARTS_EVERY_S:
                    use = disk.measure(self._settings, time.time())
                    use_at_s = time.monotonic()
                self._latest = DiskEvidence(systems, time.monotonic(), use, use_at_s)
                stop.wait(self._settings.watchdog.every_s)

        return body

    def _systems(self) -> list[FileSystem]:
        found: dict[int, FileSystem] = {}
        for name, folder in (("home", self._settings.home), ("journal", self._settings.journal.dir)):
            try:
                device, system = folder.stat().st_dev, _file_system(name, folder)
            except OSError:  # it is not made yet
                continue
            found.setdefault(device, system)
        return list(found.values())


def _file_system(name: str, folder: Path) -> FileSystem:
    values = os.statvfs(folder)
    total, free = values.f_blocks * values.f_frsize, values.f_bavail * values.f_frsize
    used = (values.f_blocks - values.f_bfree) * values.f_frsize
    return FileSystem(name, total, free, 100 * used / max(1, used + free))
