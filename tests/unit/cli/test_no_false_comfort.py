"""Commands that did not look, or look at something old, say so; settings that are not in force are named."""

import os
from pathlib import Path

import pytest

from recorder.appliance import process_list, started
from recorder.appliance.supervisor import Process
from recorder.cli import main
from recorder.cli.appliance import Steps
from recorder.cli.certificates.replayed import compare_stored
from recorder.cli.in_force import not_in_force, not_started
from recorder.settings import Settings
from recorder.settings.sources import PROFILES

HOUR_US = 3_600 * 10**6


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith(("TAPEDECK", "DATABASE_URL", "DB_", "LOG_LEVEL"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return Settings.load(Path("demo"))


def run(settings: Settings) -> list[Process]:
    """Note that an appliance was started with these settings, and return supervisord's list of it."""
    names = process_list.programs(settings)
    started.write(settings.home, {name: started.digest(settings, name) for name in names})
    (settings.home / "running").write_text(f"{settings.file}\n")
    return [Process(name, "RUNNING", 1, 0, 90.0) for name in names]


def test_settings_that_are_in_force_need_no_word(settings: Settings) -> None:
    assert not_in_force(settings, run(settings), settings.home) == []
    assert not_in_force(settings, [], settings.home) == [], "nothing runs"


@pytest.mark.parametrize("program", ["columns", "jupyter", "keeper"])
def test_a_program_switched_on_or_off_is_named_with_the_command_that_applies_it(
    settings: Settings, program: str
) -> None:
    def switched(on: bool) -> Settings:
        own = getattr(settings, program).model_copy(update={"enabled": on})
        return settings.model_copy(update={program: own})

    found = run(switched(False))
    assert not_started(switched(True), found) == [program]
    notes = not_in_force(switched(True), found)
    assert notes[0] == f"the settings ask for {program}, not started yet: `tapedeck upgrade` starts it"
    found = run(switched(True))
    assert not_in_force(switched(False), found)[0] == (
        f"the settings do not ask for {program} any more: `tapedeck upgrade` stops it"
    )


def test_a_changed_value_is_named_with_its_programs(settings: Settings) -> None:
    found = run(settings)
    kraken = settings.venues["kraken"].model_copy(update={"symbols": ("BTC/USD",)})
    changed = settings.model_copy(update={"venues": {**settings.venues, "kraken": kraken}})
    (note,) = not_in_force(changed, found)
    assert "recorder-kraken" in note
    assert "`tapedeck upgrade` restarts what they change" in note


def test_a_settings_file_beside_a_running_profile_is_named(settings: Settings, tmp_path: Path) -> None:
    found = run(settings)
    assert settings.file.parent == PROFILES
    (tmp_path / "tapedeck.toml").write_text('profile = "demo"\n')
    (note,) = not_in_force(settings, found, tmp_path)
    assert note.startswith("tapedeck.toml in this folder is not in force: the appliance was started from the profile")
    assert not_in_force(settings, found, None) == [], "--config named another file"


def test_each_step_of_a_start_is_printed_once_and_in_order() -> None:
    said = [
        "starting",
        "ready",
        "connecting",
        "ready",
        "connecting",
        "down: refused",
        "down: refused",
        "ready",
        "ready",
    ]
    steps = Steps()
    assert [words for words in said if steps.is_news(words)] == ["starting", "ready", "down: refused", "ready"]
    steps = Steps()
    said = ["waiting for Postgres", "starting", "connecting", "ready"]
    assert [words for words in said if steps.is_news(words)] == ["waiting for Postgres", "connecting", "ready"]


def test_a_comparison_of_no_hour_is_no_success(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare_stored(settings, [], 0, HOUR_US, HOUR_US, as_json=True) == 1
    assert "nothing was compared" in capsys.readouterr().err


def test_without_a_watchdog_no_alert_says_nothing_about_now(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.home.is_dir()
    assert main(["alerts"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the watchdog does not run, so nothing is watched now" in out
    assert "no alert fires" not in out
