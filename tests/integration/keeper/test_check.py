"""The job `check`: a file of the archive that is damaged or missing makes the keeper degraded."""

import time
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import psycopg2
import pytest
from support.keeping.archives import query, work, write_manifest

from recorder.cli import main
from recorder.errors import StoreUnavailable
from recorder.keeper.archive import archive_days
from recorder.keeper.check import check_archive
from recorder.keeper.jobs import JOBS
from recorder.keeper.main import health_of
from recorder.keeper.run import Runner, run_once
from recorder.verify.check import verify

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
    files = query(url, "SELECT table_name, sha256 FROM archive")
    write_manifest(root, "kraken", "2026-01-02", dict(files))
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


def test_a_replaced_file_comes_back_for_a_restored_database_and_goes_with_the_backups(
    database: str, tmp_path: Path
) -> None:
    root = tmp_path / "home" / "archive"
    root.mkdir(parents=True)
    path = archived(database, root, "trade")
    aside = root / "replaced" / path.name
    aside.parent.mkdir()
    path.rename(aside)
    given = work(database, now=NOW, home=tmp_path / "home")
    assert check_archive(given).problem == ""
    assert path.exists()
    aside.write_bytes(b"of an earlier revision")
    check_archive(given)
    assert aside.exists()
    check_archive(given._replace(now=lambda: NOW + 30 * 86_400))
    assert not aside.exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _change(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schema_version": 1', b'"schema_version": 2'))


def _rename_seal(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"seal"', b'"sael"'))


def _other_files(path: Path) -> None:
    write_manifest(path.parents[2], "kraken", "2026-01-02", {"trade": "0" * 64})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (Path.unlink, "is missing"), (_cut, "is damaged"), (_change, "differs from what was written"),
        (_rename_seal, "is damaged"), (_other_files, "names another file of trade"),
    ],
)  # fmt: skip
def test_a_manifest_that_is_missing_cut_or_changed_is_named_by_the_job_and_by_verify(
    database: str, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    archived(database, tmp_path, "trade")
    manifest = tmp_path / "manifest" / "venue=kraken" / "date=2026-01-02.json"
    given = work(database, now=NOW, home=tmp_path / "home")
    assert check_archive(given).problem == ""
    damage(manifest)
    outcome = check_archive(given)
    assert outcome.damaged == 1
    assert f"{manifest} (manifest) {reason}" in outcome.problem
    with closing(psycopg2.connect(database)) as connection:
        assert any(f"{manifest} (manifest) {reason}" in text for text in verify(connection).problems)


def test_a_manifest_that_waits_for_its_place_after_a_kill_is_no_damage(database: str, tmp_path: Path) -> None:
    archived(database, tmp_path, "trade")
    manifest = tmp_path / "manifest" / "venue=kraken" / "date=2026-01-02.json"
    manifest.rename(manifest.with_name(".date=2026-01-02.json.next"))
    _other_files(manifest)
    assert check_archive(work(database, now=NOW, home=tmp_path / "home")).problem == ""


def test_archiving_by_hand_names_a_damaged_file_and_exits_with_2(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    path = archived(database, tmp_path, "trade")
    assert main(["keep", "--once", "archive"]) == 0
    capsys.readouterr()
    path.write_bytes(CONTENT[:-1] + b"f")  # of the same size
    assert main(["keep", "--once", "archive"]) == 2
    assert "trade.parquet (7 rows of trade) differs" in " ".join(capsys.readouterr().out.split())
    path.write_bytes(CONTENT[:-1])  # which the program itself finds at its next run
    outcome = archive_days(work(database, now=NOW, home=tmp_path / "home"))
    assert outcome.damaged == 1
    assert "3,999 bytes" in outcome.problem
