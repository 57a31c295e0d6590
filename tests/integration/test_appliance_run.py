"""The whole appliance under supervisord: up, killed program by program, proved clean, down without a trace."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_server import free_port

from recorder import appliance
from recorder.appliance import Supervisor, wait_until
from recorder.cli import main
from recorder.errors import ConfigError
from recorder.health import read_all
from recorder.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "home"
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(home))
    monkeypatch.setenv("TAPEDECK__DATABASE__PORT", str(free_port()))
    monkeypatch.setenv("TAPEDECK__SIMULATOR__CONTROL_PORT", str(free_port()))
    demo = Settings.load(Path("demo"), {})
    for venue, values in demo.venues.items():
        port = free_port()
        monkeypatch.setenv(f"TAPEDECK__SIMULATOR__PORTS__{venue.upper()}", str(port))
        for key, address in (("URL", values.url), ("REST_URL", values.rest_url)):
            elsewhere = str(address).replace(str(demo.simulator.ports[venue]), str(port))
            monkeypatch.setenv(f"TAPEDECK__VENUES__{venue.upper()}__{key}", elsewhere)
    monkeypatch.chdir(appliance.ROOT)
    yield home
    assert appliance.stop(home, 60.0, lambda left: None) == []


def healthy() -> bool:
    return main(["status", "--json"]) == 0


@pytest.mark.timeout(480)
def test_the_appliance_survives_the_kill_of_every_program_and_leaves_no_process(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0, capsys.readouterr().out
    supervisor = Supervisor(home)
    first = {process.name: process.pid for process in supervisor.processes()}
    recorders = {f"recorder-{venue}" for venue in Settings.load().venues}
    assert len(recorders) == 7
    assert set(first) == {"postgres", "simulator", "writer", "discovery"} | recorders
    with pytest.raises(ConfigError, match="runs already"):
        appliance.start(Settings.load())

    def kill(name: str) -> None:
        os.kill(first[name], signal.SIGKILL)
        assert wait_until(
            lambda: any(
                p.name == name and p.state == "RUNNING" and p.pid != first[name] for p in supervisor.processes()
            ),
            60.0,
        ), f"{name} did not come back"

    def recording_again() -> bool:
        """Whether all is well and rows grow once more."""
        if not wait_until(healthy, 90.0, pause_s=0.5):
            return False
        rows = read_all(home)["writer"].metrics["rows"]
        return wait_until(lambda: read_all(home)["writer"].metrics["rows"] > rows, 20.0)

    for name in first:
        kill(name)
    assert recording_again(), capsys.readouterr().out
    capsys.readouterr()
    assert main(["verify", "--truth", str(home / "simulator")]) == 0, capsys.readouterr().out

    pids = [process.pid for process in supervisor.processes()] + [supervisor.pid() or 0]
    assert main(["down"]) == 0
    assert not any(appliance.alive(pid) for pid in pids)
    assert "no process is left" in capsys.readouterr().out


@pytest.mark.timeout(180)
def test_programs_of_a_killed_supervisord_are_found_and_stopped(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__PROCESSES", "2")
    for venue in Settings.load().venues.keys() - {"coinbase", "kraken"}:
        monkeypatch.setenv(f"TAPEDECK__VENUES__{venue.upper()}__ENABLED", "false")
    assert main(["up"]) == 0, capsys.readouterr().out
    supervisor = Supervisor(home)
    pids = [process.pid for process in supervisor.processes()]
    master = supervisor.pid()
    assert master is not None
    os.kill(master, signal.SIGKILL)
    assert wait_until(lambda: supervisor.pid() is None, 10.0)
    with pytest.raises(ConfigError, match=r"on 127\.0\.0\.1, wanted by"):
        appliance.start(Settings.load())
    assert main(["down"]) == 0
    assert not any(appliance.alive(pid) for pid in pids)
