"""`tapedeck restart` refuses, before it stops anything, what it could not start again."""

from pathlib import Path

import pytest

from recorder.appliance import supervisor
from recorder.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def test_a_restart_refuses_settings_that_name_another_database(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    note = f'{home.parent}/tapedeck.toml\nport_base = 24320\nrecorded_into = "db.example/tape"\n'
    (home / "running").write_text(note)
    assert main(["restart"]) == 2
    said = " ".join("".join(capsys.readouterr()).split())
    assert "records into db.example/tape, but these settings name" in said
    assert "so nothing was stopped; put DATABASE_URL into .env" in said
    assert (home / "running").read_text() == note


def test_one_restart_runs_at_a_time(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with supervisor.restart_lock(home):
        assert main(["restart"]) == 2
    assert "another restart of the appliance in" in "".join(capsys.readouterr())
