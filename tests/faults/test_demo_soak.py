"""The demo runs on: simulated venues, recorders, writer and database are healthy and complete after a long time.

The markets run ten times as fast as in the demo. The short form passes 2 simulated minutes, the long form 30.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.captured_data import ROOT
from support.machine.ports import free_port_base

from recorder.appliance import supervisor
from recorder.appliance.processes import wait_until
from recorder.cli import main
from recorder.process.health import SimulatorFigures, read_all
from recorder.settings import Settings

SPEED = 10.0
DEMO_RATE = 200.0  # market events per second and venue


@pytest.fixture
def home(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Path]:
    home = tmp_path / "home"
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(home))
    monkeypatch.setenv("TAPEDECK__PORT_BASE", str(free_port_base()))
    monkeypatch.setenv("TAPEDECK__SIMULATOR__SEED", str(seed))
    monkeypatch.setenv("TAPEDECK__SIMULATOR__RATE", str(DEMO_RATE * SPEED))
    monkeypatch.chdir(ROOT)
    yield home
    assert supervisor.stop(home, 60.0, lambda left: None) == []


def market_events(home: Path) -> dict[str, int]:
    """Return how many events each market has had; empty before the first report."""
    report = read_all(home).get("simulator")
    if report is None or not isinstance(report.figures, SimulatorFigures):
        return {}
    return {name: venue.events for name, venue in report.figures.venues.items()}


def healthy() -> bool:
    return main(["status", "--json"]) == 0


@pytest.mark.long  # make smoke is the short form
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("minutes", [2, 30])
def test_the_demo_is_healthy_and_complete_after_simulated_minutes(
    minutes: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = round(minutes * 60 * DEMO_RATE)
    assert main(["up"]) == 0, capsys.readouterr().out
    began_s = time.monotonic()

    def passed() -> bool:
        return min(market_events(home).values(), default=0) >= expected

    assert wait_until(passed, 60.0 + minutes * 100.0, pause_s=0.5), market_events(home)
    print(f"{minutes} simulated minutes took {time.monotonic() - began_s:.0f} s")
    assert set(market_events(home)) == set(Settings.load().venues)
    capsys.readouterr()
    assert wait_until(healthy, 60.0, pause_s=1.0), capsys.readouterr().out
    capsys.readouterr()
    assert main(["verify", "--truth", str(home / "simulator")]) == 0, capsys.readouterr().out
    assert healthy(), capsys.readouterr().out
