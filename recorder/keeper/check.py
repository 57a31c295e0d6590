"""The job `check`: every file of the archive and every manifest is read again and compared with table archive."""

from contextlib import closing
from pathlib import Path

from recorder.errors import StoreUnavailable
from recorder.keeper.job import DAY_S, Outcome, Work
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.store.archive_files import REPLACED, FilesCheck, bring_back, check_files
from recorder.store.database import KEEPER, connect

_NAMED = 3
_SPARE_DAYS = 2  # as claims on journals have (recorder/backup/take.py)

_log = get_logger(__name__)


def check_archive(work: Work) -> Outcome:
    """Compare existence, size and SHA-256 of every file that should be here.

    Raises:
        StoreError, ConfigError: The database cannot be used, or the keeper was stopped before all files were read.
    """
    remove_replaced(work)
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        for path in bring_back(connection):
            _log.warning("archive.file_brought_back", path=str(path))
        check = check_files(connection, stopped=work.stop.is_set)
    if not check.complete and not check.faults:
        raise StoreUnavailable("the keeper was stopped before it had read all files of the archive")
    if not check.files and not check.faults and not check.elsewhere:
        return Outcome("skipped", "the archive has no file yet")
    detail = f"{check.files} files with {check.rows:,} rows and {check.manifests} manifests are as they were archived"
    if check.elsewhere:
        detail += f"; {len(check.elsewhere)} are in the second place only and were not looked at"
    return Outcome("done", detail, problem_of(check), len(check.faults))


def remove_replaced(work: Work) -> None:
    """Remove replaced files of the archive that no backup can need any more.

    Raises:
        OSError: The disk failed.
    """
    before = work.now() - (work.settings.backup.keep_days + _SPARE_DAYS) * DAY_S
    for path in replaced_files(work.settings):
        if path.stat().st_mtime < before:
            path.unlink()


def replaced_files(settings: Settings) -> list[Path]:
    """Return the files of the archive that a later revision replaced, the one that was replaced first first."""
    root = settings.keeper.archive_dir or settings.home / "archive"
    return sorted((root / REPLACED).rglob("*.parquet"), key=lambda path: path.stat().st_mtime)


def problem_of(check: FilesCheck) -> str:
    """Return what is damaged or missing; empty when nothing is."""
    if not check.faults:
        return ""
    named = "; ".join(map(str, check.faults[:_NAMED]))
    count = len(check.faults)
    what = "1 file of the archive is" if count == 1 else f"{count} files of the archive are"
    more = "; `tapedeck verify` names all" if count > _NAMED else ""
    return f"{what} damaged or missing: {named}{more}"
