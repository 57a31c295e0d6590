"""What each program says about itself: one small JSON file per program, replaced once a second.

`<home>/health/<program>.json`. Files and not a socket: a program that hangs or died still has a last word, and its
age tells.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

STALE_S = 10.0
"""A report older than this says nothing about now. Written once a second; two cores under load may skip a few."""


class Report(msgspec.Struct, frozen=True):
    """The last word of one program."""

    program: str
    pid: int
    started_at: float  # unix seconds
    updated_at: float  # unix seconds
    state: str  # starting, waiting, live, degraded, stopping
    detail: str  # for a person: what it waits for, what is wrong
    metrics: dict[str, Any] = {}

    def age_s(self, now: float) -> float:
        """Seconds since it was written."""
        return max(0.0, now - self.updated_at)

    def stale(self, now: float, limit_s: float = STALE_S) -> bool:
        """Whether it is too old to speak for the program."""
        return self.age_s(now) > limit_s


class HealthFile:
    """Writes the report of this process."""

    def __init__(self, home: Path, program: str) -> None:
        self._program = program
        self._path = home / "health" / f"{program}.json"
        self._started_at = time.time()
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, state: str, detail: str = "", metrics: Mapping[str, Any] | None = None) -> bool:
        """Replace the report; a reader sees the old one or the new one, never half.

        Returns:
            False when the disk does not take it, which must not end the program that tells of it.
        """
        report = Report(self._program, os.getpid(), self._started_at, time.time(), state, detail, dict(metrics or {}))
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            draft.write_bytes(msgspec.json.encode(report))
            draft.replace(self._path)
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Withdraw the report, at a clean stop."""
        self._path.unlink(missing_ok=True)


def read_all(home: Path) -> dict[str, Report]:
    """The last word of every program that has one, by program; unreadable files are left out."""
    reports: dict[str, Report] = {}
    for path in sorted((home / "health").glob("*.json")):
        try:
            report = msgspec.json.decode(path.read_bytes(), type=Report)
        except (OSError, msgspec.DecodeError):  # withdrawn this moment, or not one of ours
            continue
        reports[report.program] = report
    return reports
