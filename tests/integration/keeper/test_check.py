"""The job `check`: a file of the archive that is damaged or missing makes the keeper degraded."""

import time
from hashlib import sha256
from pathlib import Path

import pytest
from support.keeper import query, work

from recorder.errors import StoreUnavailable
from recorder.keeper.check import check_archive
from recorder.keeper.jobs import JOBS
from recorder.keeper.main import health_of
from recorder.keeper.run import Runner, run_once

NOW = time.time()
CONTENT = b"tape" * 1000
CHECK = next(job for job in JOBS if job.name == "check")


def archived(url: str, root: Path, table: str) -> Path:
    """Write a file of the archive with its row in the ledger."""
    path = root / f"{table}.parquet"
    path.write_bytes(CONTENT)
    query(
        url,
        "INSERT INTO archive (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes,"
        " sha256, checksum) VALUES (%s, '2026-01-02', 'kraken', 1, 'kept', %s, %s, 7, 0, %s, %s, 5)",
        table, str(root), path.name, len(CONTENT), sha256(CONTENT).hexdigest(),
    )  # fmt: skip
    return path


def test_a_damaged_file_of_the_archive_makes_the_keeper_degraded(database: str, tmp_path: Path) -> None:
    given = work(database, now=NOW, home=tmp_path / "home")
    path = archived(database, tmp_path, "trade")
    archived(database, tmp_path, "book")
    whole = run_once(CHECK, given)
    assert whole is not None
    assert (whole.state, whole.problem) == ("done", "")
    path.write_bytes(CONTENT[:-1] + b"f")
    run_once(CHECK, given)
    health = health_of(Runner([CHECK], given))()
    assert health.state == "degraded"
    assert f"{path} (7 rows of trade) differs" in health.detail


def test_a_missing_file_is_named_and_one_of_the_second_place_is_not_looked_at(database: str, tmp_path: Path) -> None:
    archived(database, tmp_path, "trade").unlink()
    archived(database, tmp_path, "book").unlink()
    query(database, "UPDATE archive SET here = false, copied_to = '/s', copied_at = now() WHERE table_name = 'book'")
    outcome = check_archive(work(database, now=NOW, home=tmp_path))
    assert outcome.problem.startswith("1 file of the archive is damaged or missing")
    assert "trade.parquet (7 rows of trade) is missing" in outcome.problem
    assert "1 are in the second place only" in outcome.detail


def test_a_check_that_was_stopped_is_repeated(database: str, tmp_path: Path) -> None:
    archived(database, tmp_path, "trade")
    given = work(database, now=NOW, home=tmp_path)
    given.stop.set()
    with pytest.raises(StoreUnavailable, match="stopped before"):
        check_archive(given)
