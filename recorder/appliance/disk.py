"""The disk space of an appliance: used, free, and the growth between two measurements."""

import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorder.appliance.embedded_postgres import max_wal_bytes
from recorder.settings import EMBEDDED, Settings
from recorder.settings.sources import running_note
from recorder.truth import TRUTH_BYTES

DAY_S = 86_400.0
MIN_SPAN_S = 600.0
"""Growth over a shorter time is mostly Postgres making its first files."""
_SAMPLE_EVERY_S = 300.0


class DiskUse(msgspec.Struct):
    """Bytes on disk. A part is None where the appliance does not keep it."""

    journal: int
    database: int | None  # of the embedded Postgres
    truth: int | None  # logs of the simulated venues
    logs: int
    free: int  # for the journal
    growth_per_day: float | None = None  # of the database without its WAL; None while it is not known
    full_after_s: float | None = None  # at the present rates; None where that is unknown or never
    measured_over_s: float = 0.0  # the time between the two measurements of the growth; 0 while it is not known
    used: int = 0  # the sum of the parts

    def __post_init__(self) -> None:
        self.used = self.journal + (self.database or 0) + (self.truth or 0) + self.logs


class Sample(NamedTuple):
    """One measurement: the bytes of each part that grows."""

    at: float  # unix seconds
    parts: dict[str, int]


class Bounded(NamedTuple):
    """The growth of a part that is trimmed at a size."""

    per_s: float
    room: float  # bytes up to that size


def measure(settings: Settings, now: float) -> DiskUse:
    """Measure the space of an appliance, and keep the measurement so that a later one can tell the growth."""
    running = running_note(settings.home)  # these settings may name another database than the one that grows here
    into = running.recorded_into if running is not None and running.recorded_into else settings.recorded_into
    own_database = into.startswith(EMBEDDED)
    database = folder_bytes(settings.home / "postgres") if own_database else None
    truth = folder_bytes(settings.simulator.truth_dir) if settings.simulator.enabled else None
    use = DiskUse(
        journal=folder_bytes(settings.journal.dir),
        database=database,
        truth=truth,
        logs=folder_bytes(settings.home / "log"),
        free=free_bytes(settings.journal.dir),
    )
    wal = folder_bytes(settings.home / "postgres" / "data" / "pg_wal") if own_database else 0
    latest = Sample(now, {"journal": use.journal, "database": (database or 0) - wal, "wal": wal, "truth": truth or 0})
    # The writer keeps loaded segments up to retention_gb and keep_gb, Postgres recycles WAL files beyond max_wal_size,
    # and the simulator deletes old truth logs. supervisord rotates the logs of programs, which stay small.
    bounds = {
        "journal": (settings.journal.retention_gb + settings.poller.keep_gb) * (1 << 30),
        "wal": float(max_wal_bytes(shutil.disk_usage(_existing(settings.home)).total)),
        "truth": float(TRUTH_BYTES * (len(settings.simulator.ports) + len(settings.simulator.service_ports))),
    }
    samples = _read(settings.home)
    per_s, use.measured_over_s = growth(samples, latest)
    if per_s:
        bounded = [Bounded(per_s[name], bound - latest.parts[name]) for name, bound in bounds.items()]
        use.full_after_s = full_after_s(use.free, per_s["database"], bounded)
        use.growth_per_day = per_s["database"] * DAY_S if own_database else None
    if not samples or not 0 <= now - samples[-1].at < _SAMPLE_EVERY_S:
        _write(settings.home, [*samples, latest], now)
    return use


def growth(samples: Sequence[Sample], latest: Sample) -> tuple[dict[str, float], float]:
    """Return (bytes per second of each part, seconds measured) since the oldest sample of the last 24 hours.

    No part is returned when no sample is old enough.
    """
    first = next((sample for sample in samples if latest.at - sample.at <= DAY_S), latest)
    span_s = latest.at - first.at
    if span_s < MIN_SPAN_S:
        return {}, 0.0
    return {name: (used - first.parts.get(name, 0)) / span_s for name, used in latest.parts.items()}, span_s


def full_after_s(free: float, endless_per_s: float, bounded: Iterable[Bounded]) -> float | None:
    """Return when the free bytes are used up at these rates; None when they never are.

    Args:
        free: Bytes free now.
        endless_per_s: Growth of what is never trimmed.
        bounded: Parts that stop growing at a size.
    """
    endless_per_s = max(0.0, endless_per_s)
    ends = sorted((part.room / part.per_s, part.per_s) for part in bounded if part.per_s > 0 and part.room > 0)
    per_s = endless_per_s + sum(rate for _, rate in ends)
    now_s, left = 0.0, free
    for end_s, rate in ends:
        grown = per_s * (end_s - now_s)
        if grown >= left:
            return now_s + left / per_s
        now_s, left, per_s = end_s, left - grown, per_s - rate
    return now_s + left / endless_per_s if endless_per_s else None


def folder_bytes(folder: Path) -> int:
    """Return the bytes that the files below a folder take on disk; 0 when there is no such folder."""
    total = 0
    for path, _folders, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except OSError:  # it was removed meanwhile
                continue
    return total


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system that a path is on, or will be on once it is created."""
    return shutil.disk_usage(_existing(path)).free


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _read(home: Path) -> list[Sample]:
    try:
        return msgspec.json.decode((home / "disk.json").read_bytes(), type=list[Sample])
    except (OSError, msgspec.MsgspecError):
        return []


def _write(home: Path, samples: Sequence[Sample], now: float) -> None:
    """Keep the samples of one day; a home that cannot be written keeps none, and its growth stays unknown."""
    recent = [sample for sample in samples if 0 <= now - sample.at <= DAY_S]
    draft = home / f"disk.json.{os.getpid()}"
    try:
        draft.write_bytes(msgspec.json.encode(recent))
        draft.replace(home / "disk.json")
    except OSError:
        return
