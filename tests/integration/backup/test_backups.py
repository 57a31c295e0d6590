"""A backup is verified, proved by a restore, and restored: what a journal has is loaded, and the rest is declared."""

import shutil
import stat
import threading
import time
from pathlib import Path

import pytest
from support.keeping.backups import Vault

from recorder.backup import catalog
from recorder.backup.restore import restore
from recorder.backup.take import CLAIM
from recorder.errors import ConfigError
from recorder.journal.retention import Retention, read_claims
from recorder.settings import JournalSettings, Settings
from recorder.store.database import READER, connect

pytestmark = pytest.mark.timeout(300)  # a server of its own for each test


def damage(file: Path) -> None:
    """Change one byte in the middle of a file."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def largest(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_backup_is_taken_while_rows_come_and_is_proved_by_a_restore(vault: Vault) -> None:
    vault.lab.record(10)
    vault.lab.load()
    made = vault.back_up()
    vault.lab.record(5)
    vault.lab.load()
    assert stat.S_IMODE(made.folder.stat().st_mode) == stat.S_IMODE(made.data.stat().st_mode) == 0o700
    proof = vault.prove()
    assert (proof.verdict, proof.rows["trade"]) == ("proved", 0)  # the rows are of another day than today
    assert vault.lab.query("SELECT name, verdict FROM restore_proof") == [(made.note.name, "proved")]
    assert vault.lab.query("SELECT name, removed_at FROM backup") == [(made.note.name, None)]
    assert not list(vault.settings.backup.dir.glob("proof-*"))


def test_the_last_complete_day_is_compared_by_counts_and_hashes(vault: Vault) -> None:
    vault.lab.record(10)
    vault.lab.load()
    after_that_day = 1_772_719_200 + 86_400.0  # the rows are of 2026-03-05
    vault.back_up(now=after_that_day)
    proof = vault.prove()
    assert (proof.verdict, proof.rows["trade"], proof.rows["quote"]) == ("proved", 20, 20)
    assert str(proof.since) == "2026-03-05 00:00:00+00:00"
    vault.lab.query("UPDATE trade SET price = price + 1e-9 WHERE trade_id = 3")
    proof = vault.prove()
    assert (proof.verdict, "trade has 20 rows, and some have other values" in proof.detail) == ("differs", True)
    vault.lab.query("DELETE FROM quote WHERE sequence = 5")
    assert "quote has 19 rows, and 20 in the backup" in vault.prove().detail


def test_a_damaged_file_is_found_and_never_restored(vault: Vault) -> None:
    vault.lab.record(3)
    vault.lab.load()
    made = vault.back_up()
    damage(largest(made.data / "base"))
    proof = vault.prove()
    assert (proof.verdict, "checksum mismatch" in proof.detail) == ("damaged", True)
    vault.lab.loader.reset()
    vault.server.stop()
    with pytest.raises(ConfigError, match="is damaged, and nothing was changed"):
        restore(vault.settings, made, threading.Event())
    vault.server.start()
    assert vault.lab.query("SELECT count(*) FROM trade") == [(6,)]


def test_a_restore_on_the_same_machine_ends_with_every_row_once(vault: Vault) -> None:
    vault.lab.record(10)
    vault.lab.load()
    made = vault.back_up()
    vault.lab.record(10)
    vault.lab.load()
    earlier = vault.restore(made)
    assert earlier is not None
    assert (earlier / "PG_VERSION").exists()
    assert vault.lab.query("SELECT count(*) FROM trade") == [(20,)]
    vault.lab.record(3)
    vault.lab.load()
    assert vault.lab.undeclared() == []
    assert vault.lab.query("SELECT count(*), count(DISTINCT trade_id) FROM trade") == [(46, 46)]
    assert vault.lab.query("SELECT count(*) FROM gap") == [(0,)]


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_restore_on_a_clean_machine_makes_its_own_passwords(vault: Vault, tmp_path: Path) -> None:
    vault.lab.record(5)
    vault.lab.load()
    made = vault.back_up()
    moved = tmp_path / "carried"
    shutil.copytree(vault.settings.backup.dir, moved)
    home = tmp_path / "other"
    port = str(vault.server.port)
    settings = Settings.load(
        Path("demo"), {"TAPEDECK_HOME": str(home), "DB_NAME": "tape", "TAPEDECK__DATABASE__PORT": port}
    )
    vault.lab.loader.reset()
    vault.server.stop()
    assert restore(settings, catalog.named(moved, made.note.name), threading.Event()) is None
    other = type(vault.server)(home, vault.server.port)
    other.start()
    try:
        connection = connect(other.url("tape"), application_name="test", role=READER)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM trade")
            assert cursor.fetchone() == (10,)
        connection.close()
        assert other.url() != vault.server.url()
    finally:
        other.stop()
        vault.server.start()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_older_backup_under_a_trimmed_journal_declares_what_is_gone(vault: Vault) -> None:
    vault.lab.record(5)
    vault.lab.load()
    made = vault.back_up()
    for _ in range(2):
        vault.lab.rotate()
        vault.lab.record(5)
    vault.lab.load()
    folder = vault.lab.folder
    vault.lab.segment(2).unlink()  # what a backup of two weeks ago meets
    assert vault.restore(made) is not None
    vault.lab.record(3)
    vault.lab.load()
    assert vault.lab.undeclared() == []
    assert len(vault.lab.breaks()) == 1
    assert vault.lab.query("SELECT count(*) FROM (SELECT FROM trade GROUP BY trade_id HAVING count(*) > 1) t") == [(0,)]
    assert folder.exists()


def test_journals_keep_what_the_oldest_backup_lacks(vault: Vault) -> None:
    vault.lab.record(2)
    vault.lab.load()
    vault.back_up()
    for _ in range(3):
        vault.lab.rotate()
        vault.lab.record(2)
    vault.lab.load()
    assert read_claims(vault.lab.folder)[CLAIM].segment == 1
    place = vault.lab.tail().place
    limits = Retention(JournalSettings(retention_days=0, retention_gb=0, reserve_mb=0))
    assert limits.clean([(vault.lab.folder, place)], "1-2") == 0
    (vault.lab.folder / "loaded" / f"{CLAIM}.json").unlink()
    assert limits.clean([(vault.lab.folder, place)], "1-2") > 0


@pytest.mark.long
@pytest.mark.timeout(600)
def test_old_backups_are_removed_and_the_newest_never(vault: Vault) -> None:
    vault.lab.record(1)
    vault.lab.load()
    now = time.time()
    old, newer = vault.back_up(now - 30 * 86_400), vault.back_up(now - 29 * 86_400)
    assert [one.note.name for one in catalog.backups(vault.settings.backup.dir)] == [old.note.name, newer.note.name]
    newest = vault.back_up(now)
    assert [one.note.name for one in catalog.backups(vault.settings.backup.dir)] == [newest.note.name]
    assert catalog.remove_old(vault.settings.backup.dir, 7, now + 365 * 86_400) == []


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_attempt_that_was_killed_leaves_no_backup(vault: Vault) -> None:
    left = vault.settings.backup.dir / "2026-01-01T00-00-00Z.new" / "data"
    left.mkdir(parents=True)
    assert catalog.backups(vault.settings.backup.dir) == []
    vault.back_up()
    assert not left.exists()
    assert len(catalog.backups(vault.settings.backup.dir)) == 1
