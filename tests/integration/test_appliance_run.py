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
    for venue in ("COINBASE", "KRAKEN"):
        port = free_port()
        monkeypatch.setenv(f"TAPEDECK__SIMULATOR__PORTS__{venue}", str(port))
        path = "/v2" if venue == "KRAKEN" else ""
        monkeypatch.setenv(f"TAPEDECK__VENUES__{venue}__URL", f"ws://127.0.0.1:{port}{path}")
        monkeypatch.setenv(f"TAPEDECK__VENUES__{venue}__REST_URL", f"http://127.0.0.1:{port}")
    monkeypatch.chdir(appliance.ROOT)
    yield home
    assert appliance.stop(home, 60.0, lambda left: None) == []


def healthy() -> bool:
    return main(["status", "--json"]) == 0


@pytest.mark.timeout(240)
def test_the_appliance_survives_the_kill_of_every_program_and_leaves_no_process(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0, capsys.readouterr().out
    supervisor = Supervisor(home)
    first = {process.name: process.pid for process in supervisor.processes()}
    assert set(first) == {"postgres", "simulator", "recorder-coinbase", "recorder-kraken", "writer", "discovery"}
    with pytest.raises(ConfigError, match="runs already"):
        appliance.start(Settings.load())

    for name, pid in first.items():
        os.kill(pid, signal.SIGKILL)
        assert wait_until(
            lambda name=name, pid=pid: any(  # type: ignore[misc]
                p.name == name and p.state == "RUNNING" and p.pid != pid for p in supervisor.processes()
            ),
            60.0,
        ), f"{name} did not come back"
    assert wait_until(healthy, 60.0, pause_s=0.5), capsys.readouterr().out
    rows = read_all(home)["writer"].metrics["rows"]
    assert wait_until(lambda: read_all(home)["writer"].metrics["rows"] > rows, 20.0)
    capsys.readouterr()
    assert main(["verify", "--truth", str(home / "simulator")]) == 0, capsys.readouterr().out

    pids = [process.pid for process in supervisor.processes()] + [supervisor.pid() or 0]
    assert main(["down"]) == 0
    assert not any(appliance.alive(pid) for pid in pids)
    assert "no process is left" in capsys.readouterr().out


@pytest.mark.timeout(180)
def test_programs_of_a_killed_supervisord_are_found_and_stopped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
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
