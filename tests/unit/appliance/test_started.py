"""Which programs a change of the settings concerns."""

from pathlib import Path

from recorder.appliance import started
from recorder.settings import Settings

PROGRAMS = (
    "postgres",
    "simulator",
    "recorder-kraken",
    "recorder-okx",
    "writer",
    "deriver",
    "keeper",
    "poller",
    "watchdog",
)


def load(home: Path, **variables: str) -> Settings:
    return Settings.load(None, {"TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": "demo", **variables})


def concerned(home: Path, **variables: str) -> set[str]:
    before, after = load(home), load(home, **variables)
    return {name for name in PROGRAMS if started.digest(before, name) != started.digest(after, name)}


def test_a_setting_of_a_venue_concerns_its_recorder_and_no_other(tmp_path: Path) -> None:
    found = concerned(tmp_path, TAPEDECK__VENUES__KRAKEN__SYMBOLS="BTC/USD")
    assert "recorder-kraken" in found
    assert not found & {"recorder-okx", "postgres"}


def test_a_secret_counts_by_its_value_and_is_not_kept(tmp_path: Path) -> None:
    first = load(tmp_path, ALERT_WEBHOOK_URL="https://example.org/one")
    second = load(tmp_path, ALERT_WEBHOOK_URL="https://example.org/two")
    assert started.digest(first, "watchdog") != started.digest(second, "watchdog")
    started.write(tmp_path, {"watchdog": started.digest(first, "watchdog")})
    assert "example" not in (tmp_path / started.FILE).read_text()
    assert started.read(tmp_path) == {"watchdog": started.digest(first, "watchdog")}


def test_the_python_of_a_release_concerns_no_program(tmp_path: Path) -> None:
    assert concerned(tmp_path, TAPEDECK__PYTHON="/opt/tapedeck/bin/python") == set()


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    assert started.read(tmp_path) == {}
    (tmp_path / started.FILE).write_text("[1")
    assert started.read(tmp_path) == {}
