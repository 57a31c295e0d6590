"""The budget of the disk and the second place: what goes is copied, compared or declared."""

import time
from hashlib import sha256
from pathlib import Path

from support.keeper import query, work, write_manifest

from recorder.keeper.budget import measure, watch_disk
from recorder.keeper.copies import copy_archive

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
    query(database, "UPDATE archive SET copied_to = '/second', copied_at = now() WHERE table_name = 'trade'")
    tiny = {"budget_gb": 1 / 1024 / 1024}
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
