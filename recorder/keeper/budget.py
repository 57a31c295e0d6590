"""The budget of the disk: what is used, how fast it grows, and the job that frees space beyond it.

What goes, in this order: loaded segments of journals, which are rows too; ended days of tables, which the job archive
moves into the archive early; files of the archive that the second place has; and, only with `keeper.let_go`, archived
days for good, each declared by a gap of its streams.
"""

import contextlib
from contextlib import closing
from pathlib import Path

import msgspec
import psycopg2

from recorder.appliance.disk import DAY_S, Sample, folder_bytes, growth
from recorder.errors import ConfigError
from recorder.journal.retention import Limits, Retention
from recorder.keeper.check import replaced_files
from recorder.keeper.copies import place_of
from recorder.keeper.job import Outcome, Work
from recorder.keeper.journals import POLLER, claim_new, loaded
from recorder.keeper.plan import ArchivedDay, local_to_remove, to_let_go
from recorder.keeper.run import folder_of
from recorder.process import files
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.store import lineage
from recorder.store.database import KEEPER, Connection, classify, connect

GIB = 1 << 30
_FILES = """
SELECT table_name, day, venue, bytes, copied_to IS NOT NULL, folder, path
  FROM archive WHERE state = 'kept' AND here"""
_COPY = """
SELECT folder, path, sha256, copied_to FROM archive
 WHERE table_name = %s AND day = %s AND venue = %s AND state = 'kept' AND here AND copied_to IS NOT NULL"""
_ELSEWHERE = """
UPDATE archive SET here = false
 WHERE table_name = %s AND day = %s AND venue = %s AND path = %s AND sha256 = %s AND state = 'kept'
   AND copied_to IS NOT NULL"""
_REMAINING = "SELECT folder, path FROM archive WHERE state = 'let go'"
_NAMED = 3
_LET_GO = "the budget of the disk (keeper.budget_gb) left no room for it"

_log = get_logger(__name__)


class Use(msgspec.Struct):
    """Bytes on disk, by part."""

    parts: dict[str, int]
    budget: float | None = None  # bytes; None without a limit
    growth_per_day: float | None = None  # bytes; None while it is not known
    days_left: float | None = None  # until the budget is used up; None while unknown, without a budget, or never

    @property
    def used(self) -> int:
        """The sum of the parts."""
        return sum(self.parts.values())

    @property
    def excess(self) -> float:
        """Bytes beyond the budget; 0 without one."""
        return 0.0 if self.budget is None else max(0.0, self.used - self.budget)


def archive_folder(settings: Settings) -> Path:
    """Return the folder of the archive."""
    return (settings.keeper.archive_dir or settings.home / "archive").absolute()


def measure(settings: Settings) -> Use:
    """Measure every part, wherever its folder is, and what else is in the home, such as exports."""
    home = settings.home.absolute()
    wal = folder_bytes(home / "postgres" / "data" / "pg_wal")
    folders = {
        "journals": settings.journal.dir.absolute(),
        "archive": archive_folder(settings),
        "columns": settings.columns.dir.absolute(),
        "backups": settings.backup.dir.absolute(),
    }
    parts = {name: folder_bytes(folder) for name, folder in folders.items()}
    outside = sum(parts[name] for name, folder in folders.items() if home not in folder.parents)
    parts |= {
        "tables": folder_bytes(home / "postgres") - wal,
        "wal": wal,
        "logs": folder_bytes(home / "log"),
    }
    parts["other"] = max(0, folder_bytes(home) - (sum(parts.values()) - outside))
    gb = settings.keeper.budget_gb
    return Use(parts, None if gb is None else gb * GIB)


def excess(settings: Settings) -> float:
    """Return the bytes beyond the budget; 0 without one."""
    return 0.0 if settings.keeper.budget_gb is None else measure(settings).excess


def watched(settings: Settings, now: float, *, keep: bool) -> Use:
    """Measure, and compare with the measurements of the last 24 hours.

    Args:
        settings: Of the appliance.
        now: Unix seconds.
        keep: Keep this measurement for later ones.
    """
    use = measure(settings)
    path = folder_of(settings.home) / "disk.json"
    try:
        samples = msgspec.json.decode(path.read_bytes(), type=list[Sample])
    except (OSError, msgspec.MsgspecError):
        samples = []
    samples = [sample for sample in samples if 0 <= now - sample.at <= DAY_S]
    latest = Sample(now, use.parts)
    per_s, _ = growth(samples, latest)
    if per_s:
        total = sum(per_s.values())
        use.growth_per_day = total * DAY_S
        if use.budget is not None and total > 0:
            use.days_left = max(0.0, use.budget - use.used) / use.growth_per_day
    if keep:
        files.make_home(path.parent)
        with contextlib.suppress(OSError):  # a full disk keeps no measurement
            files.write(path, msgspec.json.encode([*samples, latest]))
    return use


def sentence(use: Use) -> str:
    """Return a measurement for a person."""
    parts = ", ".join(f"{name} {size / GIB:.2f}" for name, size in use.parts.items())
    limit = "" if use.budget is None else f" of {use.budget / GIB:.2f}"
    left = "" if use.days_left is None else f", {use.days_left:.1f} days left"
    return f"{use.used / GIB:.2f}{limit} GiB used ({parts}){left}"


def watch_disk(work: Work) -> Outcome:
    """Measure the disk, and free space where the budget is exceeded.

    Raises:
        StoreError, ConfigError: The database cannot be used.
        OSError, JournalError: The disk failed.
    """
    settings = work.settings
    use = watched(settings, work.now(), keep=True)
    if not use.excess:
        return Outcome("done", sentence(use))
    done: list[str] = []
    wrong: list[str] = []  # why files stay that might go
    let_go = 0
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        try:
            _remove_let_go(connection)
            freed = _trim(settings, connection, use)
            if freed:
                done.append(f"{freed >> 20} MiB of loaded journals removed")
            left = use.excess - freed
            for path in replaced_files(settings):
                if left <= 0:
                    break
                left -= path.stat().st_size
                path.unlink()
                _log.warning("archive.replaced_removed", path=str(path))
            archived = _archived(connection)
            if left > 0:
                chosen = local_to_remove([one for one, _ in archived], left)
                gone, kept = _remove_here(connection, chosen, work)
                left -= gone
                wrong += kept
                done += [f"{int(gone) >> 20} MiB of the archive are in the second place only"] if gone else []
            if left > 0 and settings.keeper.let_go:
                gone = let_go = _let_go(connection, to_let_go([one for one, _ in archived], left), dict(archived))
                left -= gone
                done += [f"{int(gone) >> 20} MiB of the archive were let go and declared"] if gone else []
        except psycopg2.Error as error:
            raise classify(error) from error
    text = "; ".join([*done, sentence(measure(settings))])
    problem = (
        f"the budget is exceeded by {int(left) >> 20} MiB: raise keeper.budget_gb, or let more go" if left > 0 else ""
    )
    problem = "; ".join([*([problem] if problem else []), *wrong[:_NAMED]])
    return Outcome("done", text, problem, let_go_bytes=let_go)


def _trim(settings: Settings, connection: Connection, use: Use) -> int:
    """Remove the oldest loaded segments until the excess is gone, and return the bytes removed."""
    with connection.cursor() as cursor:
        own, present = lineage.identity(cursor)
    room = max(0.0, (use.parts["journals"] - use.excess) / GIB)
    limits = settings.journal.model_copy(update={"retention_gb": min(room, settings.journal.retention_gb)})
    own_limits = {POLLER: Limits(settings.poller.keep_days, min(room, settings.poller.keep_gb))}
    claim_new(settings)
    return Retention(limits, own_limits).clean(loaded(settings.journal.dir, own), own, present)


def _archived(connection: Connection) -> list[tuple[ArchivedDay, Path]]:
    with connection.cursor() as cursor:
        cursor.execute(_FILES)
        return [(ArchivedDay(*row[:5]), Path(row[5]) / row[6]) for row in cursor.fetchall()]


def _remove_here(connection: Connection, chosen: list[ArchivedDay], work: Work) -> tuple[int, list[str]]:
    """Remove files that the second place has, which is asked once more; the ledger says so first.

    Returns:
        The bytes removed, and why other files stay.
    """
    gone, kept = 0, []
    for one in chosen:
        if work.stop.is_set():
            break
        with connection.cursor() as cursor:
            cursor.execute(_COPY, (one.table, one.day, one.venue))
            row = cursor.fetchone()
            if row is None:
                continue  # another revision, which has no copy yet
            folder, path, digest, address = row
            try:
                there = place_of(address).digest(path)
            except (OSError, ConfigError) as error:
                kept.append(f"{path} stays, because {address} does not give its copy: {error}")
                continue
            if there != digest:
                kept.append(f"{path} stays, because its copy in {address} differs")
                continue
            cursor.execute(_ELSEWHERE, (one.table, one.day, one.venue, path, digest))
            if cursor.rowcount != 1:
                continue
        (Path(folder) / path).unlink(missing_ok=True)
        gone += one.bytes
        _log.warning("archive.second_place_only", table=one.table, day=str(one.day), venue=one.venue, bytes=one.bytes)
    return gone, kept


def _remove_let_go(connection: Connection) -> None:
    """Remove files that were let go, and that a kill left."""
    with connection.cursor() as cursor:
        cursor.execute(_REMAINING)
        for folder, path in cursor.fetchall():
            (Path(folder) / path).unlink(missing_ok=True)


def _let_go(connection: Connection, chosen: list[ArchivedDay], paths: dict[ArchivedDay, Path]) -> int:
    """Remove files for good; the gaps that declare it are stored first."""
    for one in chosen:
        with connection.cursor() as cursor:
            cursor.execute("SELECT let_go(%s, %s, %s, %s)", (one.table, one.day, one.venue, _LET_GO))
            row = cursor.fetchone()
        paths[one].unlink(missing_ok=True)
        _log.error("archive.let_go", table=one.table, day=str(one.day), venue=one.venue, gaps=row[0] if row else 0,
                   action="the budget of the disk is exceeded: raise keeper.budget_gb")  # fmt: skip
    return sum(one.bytes for one in chosen)
