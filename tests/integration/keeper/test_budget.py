"""The budget of the disk and the second place: what goes is copied, compared or declared."""

import threading
import time
from hashlib import sha256
from pathlib import Path

import msgspec
from support.keeping.archives import query, work, write_manifest

from recorder.backup.catalog import NOTE, Backup, Note
from recorder.backup.prove import copied
from recorder.journal.retention import read_claims
from recorder.keeper.budget import measure, watch_disk
from recorder.keeper.copies import copy_archive
from recorder.keeper.job import Every, Job, Outcome
from recorder.keeper.jobs import JOBS
from recorder.keeper.journals import trim_journals
from recorder.keeper.main import health_of
from recorder.keeper.run import Runner, run_once

NOW = time.time()
DAY = "2026-01-02"
MIB = 1 << 20


def archived(url: str, root: Path, table: str, venue: str = "kraken", size: int = 2 * MIB) -> Path:
    """Write a file of the archive with its row in the ledger."""
    name = f"{table}/venue={venue}/date={DAY}/part-0.parquet"
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"x" * size)
    query(
        url,
        "INSERT INTO archive (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes,"
        " sha256, checksum) VALUES (%s, %s, %s, 1, 'kept', %s, %s, 7, 0, %s, %s, 5)",
        table, DAY, venue, str(root), name, size, sha256(b"x" * size).hexdigest(),
    )  # fmt: skip
    files = query(url, "SELECT table_name, sha256 FROM archive WHERE venue = %s", venue)
    write_manifest(root, venue, DAY, dict(files))
    return root / name


def ledger(url: str) -> list[tuple[object, ...]]:
    return query(url, "SELECT table_name, state, here, copied_to IS NOT NULL, row_count, gone FROM archive ORDER BY 1")


def test_a_copy_counts_when_it_was_read_back(database: str, tmp_path: Path) -> None:
    path = archived(database, tmp_path / "archive", "trade")
    settings = {"copy_to": str(tmp_path / "second")}
    assert copy_archive(work(database, settings, now=NOW, home=tmp_path)).state == "done"
    there = tmp_path / "second" / path.relative_to(tmp_path / "archive")
    assert there.read_bytes() == path.read_bytes()
    assert ledger(database) == [("trade", "kept", True, True, 7, 0)]
    assert copy_archive(work(database, settings, now=NOW, home=tmp_path)).state == "skipped"


def test_a_file_that_changed_is_not_taken_for_copied(database: str, tmp_path: Path) -> None:
    archived(database, tmp_path / "archive", "trade").write_bytes(b"y")
    done = copy_archive(work(database, {"copy_to": str(tmp_path / "second")}, now=NOW, home=tmp_path))
    assert "differs there" in done.problem
    assert ledger(database) == [("trade", "kept", True, False, 7, 0)]


def test_beyond_the_budget_copied_files_go_first_and_nothing_is_let_go_unless_asked(
    database: str, tmp_path: Path
) -> None:
    copied, only = archived(database, tmp_path / "archive", "trade"), archived(database, tmp_path / "archive", "book")
    second = tmp_path.parent / f"{tmp_path.name}-second"
    query(database, "UPDATE archive SET here = false, copied_to = '/s', copied_at = now() WHERE table_name = 'book'")
    copy_archive(work(database, {"copy_to": str(second)}, now=NOW, home=tmp_path))
    query(database, "UPDATE archive SET here = true, copied_to = NULL, copied_at = NULL WHERE table_name = 'book'")
    there = second / copied.relative_to(tmp_path / "archive")
    tiny = {"budget_gb": 1 / 1024 / 1024}
    there.rename(there.with_suffix(".aside"))
    done = watch_disk(work(database, tiny, now=NOW, home=tmp_path))
    assert f"stays, because {second} does not give its copy" in done.problem
    assert copied.exists()
    there.write_bytes(b"other")
    assert f"its copy in {second} differs" in watch_disk(work(database, tiny, now=NOW, home=tmp_path)).problem
    assert copied.exists()
    there.with_suffix(".aside").rename(there)
    done = watch_disk(work(database, tiny, now=NOW, home=tmp_path))
    assert "the budget is exceeded by" in done.problem
    assert (copied.exists(), only.exists()) == (False, True)
    assert ledger(database) == [("book", "kept", True, False, 7, 0), ("trade", "kept", False, True, 7, 0)]


def test_what_is_let_go_is_declared_by_a_gap_of_each_stream(database: str, tmp_path: Path) -> None:
    query(
        database,
        "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (1, 'kraken', 'A', '2026-01-01'),"
        " (2, 'okx', 'B', '2026-01-01')",
    )
    path = archived(database, tmp_path / "archive", "book")
    within = measure(work(database, now=NOW, home=tmp_path).settings).used - MIB
    given = work(database, {"budget_gb": within / (1 << 30), "let_go": True}, now=NOW, home=tmp_path)
    done = watch_disk(given)
    assert done.problem == ""
    assert not path.exists()
    assert measure(given.settings).used <= within
    assert ledger(database) == [("book", "let go", False, False, 0, 7)]
    gaps = query(database, "SELECT instrument_id, channel, cause, state, started_at::date::text FROM gap")
    assert gaps == [(1, "book", "let_go", "unhealable", DAY)]


def test_column_files_and_backups_count_wherever_they_are(database: str, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home / "columns", home / "log", elsewhere):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * MIB)
    given = work(database, now=NOW, home=home, columns={"dir": home / "columns"}, backup={"dir": elsewhere}).settings
    parts = measure(given).parts
    assert all(MIB <= parts[name] < 1.1 * MIB for name in ("columns", "backups", "logs"))
    assert parts["other"] < MIB / 10
    assert 3 * MIB <= measure(given).used < 3.3 * MIB


def test_a_file_that_was_let_go_and_that_a_kill_left_is_removed(database: str, tmp_path: Path) -> None:
    path = archived(database, tmp_path / "archive", "book")
    query(database, "SELECT let_go('book', %s, 'kraken', 'no room')", DAY)
    assert path.exists()
    watch_disk(work(database, {"budget_gb": 1 / 1024 / 1024}, now=NOW, home=tmp_path))
    assert not path.exists()


def test_a_journal_that_is_younger_than_the_backups_is_kept_for_them(database: str, tmp_path: Path) -> None:
    journal = tmp_path / "journal" / "recorder-new"
    journal.mkdir(parents=True)
    (journal / "journal.id").write_text("0123456789abcdef0123456789abcdef\n")
    given = work(
        database, now=NOW, home=tmp_path, journal={"dir": journal.parent}, backup={"dir": tmp_path / "backups"}
    )
    trim_journals(given)
    assert "backup" not in read_claims(journal)  # there is no backup yet
    note = Note("one", NOW, NOW, 1, "16", "tape", "7", NOW, {"another": 3})
    (tmp_path / "backups" / "one").mkdir(parents=True)
    (tmp_path / "backups" / "one" / NOTE).write_bytes(msgspec.json.encode(note))
    trim_journals(given)
    assert read_claims(journal)["backup"].segment == 0


def test_the_copy_of_a_proof_that_was_killed_is_removed_by_the_next(tmp_path: Path) -> None:
    backup = Backup(tmp_path / "one", Note("one", NOW, NOW, 1, "16", "tape", "7", NOW, {}))
    backup.data.mkdir(parents=True)
    (backup.data / "file").write_bytes(b"x")
    (tmp_path / "proof-killed" / "postgres").mkdir(parents=True)
    with copied(tmp_path, backup) as home:
        assert (home / "postgres" / "data" / "file").read_bytes() == b"x"
        assert list(tmp_path.glob("proof-*")) == [home]
    assert list(tmp_path.glob("proof-*")) == []


def test_a_job_whose_lock_cannot_be_had_fails_alone(database: str, tmp_path: Path) -> None:
    (tmp_path / "keeper" / "budget.lock").mkdir(parents=True)
    job = next(job for job in JOBS if job.name == "budget")
    ran = run_once(job, work(database, now=NOW, home=tmp_path))
    assert ran is not None
    assert ran.state == "failed"
    assert "cannot be used" in ran.problem


def test_a_run_by_hand_replaces_what_the_program_reports(database: str, tmp_path: Path) -> None:
    given = work(database, now=NOW, home=tmp_path)
    job = Job("one", Every(3600), lambda _: Outcome("done", "", "a problem"), "")
    run_once(job, given)
    runner = Runner([job], given._replace(now=lambda: NOW + 2))
    assert health_of(runner)().state == "degraded"
    mended = job._replace(handler=lambda _: Outcome("done"))
    run_once(mended, given._replace(now=lambda: NOW + 1))
    stop = threading.Event()
    thread = threading.Thread(target=runner.part(job), args=(stop,))
    thread.start()
    deadline_s = time.monotonic() + 20
    while health_of(runner)().state != "live" and time.monotonic() < deadline_s:
        stop.wait(0.05)
    stop.set()
    thread.join()
    assert health_of(runner)().state == "live"
