"""An upgrade restarts what changed and nothing else; the appliance in the foreground; the self-test."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine.ports import free_port_base

from recorder.appliance import processes, supervisor, upgrade
from recorder.appliance.supervisor import Supervisor
from recorder.cli import main
from recorder.profiles import __file__ as profiles
from recorder.settings import Settings

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence

DEMO = Path(profiles).parent / "demo.toml"
VENUES = "coinbase,kraken"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in [name for name in os.environ if name.startswith(("TAPEDECK", "DATABASE_URL", "DB_", "LOG_LEVEL"))]:
        monkeypatch.delenv(name)
    file = tmp_path / "tapedeck.toml"
    file.write_text(DEMO.read_text())
    monkeypatch.setenv("TAPEDECK_CONFIG", str(file))
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAPEDECK__PORT_BASE", str(free_port_base()))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "home"
    assert supervisor.stop(tmp_path / "home", 60.0, lambda left: None) == []


def pids(home: Path) -> dict[str, int]:
    return {process.name: process.pid for process in Supervisor(home).processes()}


@pytest.mark.timeout(400)
def test_a_setting_of_one_venue_replaces_its_recorder_only(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--venues", VENUES]) == 0, capsys.readouterr().out
    before = pids(home)
    assert main(["upgrade", "--plan"]) == 0
    assert "nothing is to be restarted" in capsys.readouterr().out

    file = home.parent / "tapedeck.toml"
    file.write_text(file.read_text().replace('["BTC/USD", "ETH/USD"]', '["BTC/USD"]'))
    changes = [change.program for change in upgrade.plan(Settings.load())]
    assert "recorder-kraken" in changes
    assert not set(changes) & {"postgres", "recorder-coinbase"}
    assert main(["upgrade"]) == 0, capsys.readouterr().out
    after = pids(home)
    assert {name for name in before if before[name] != after.get(name)} == set(changes)
    assert set(after) - set(before) == {"recorder-kraken-b"}, "a recorder is replaced by a process beside it"
    assert upgrade.plan(Settings.load()) == []

    # A program that refuses its settings is named, and the others go on.
    file.write_text(file.read_text().replace("[venues.kraken]", '[venues.kraken]\noptions = { no_such = "x" }'))
    capsys.readouterr()
    assert main(["upgrade"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "recorder-kraken did not take over: " in said
    assert "; recorder-kraken-b records on" in said
    assert {name: pids(home)[name] for name in ("recorder-coinbase", "recorder-kraken-b")} == {
        name: after[name] for name in ("recorder-coinbase", "recorder-kraken-b")
    }


@pytest.mark.timeout(400)
def test_in_the_foreground_it_reports_when_it_records_and_ends_with_supervisord(home: Path) -> None:
    address = home.parent / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(150.0)
        command = [sys.executable, "-P", "-m", "recorder", "up", "--foreground", "--venues", VENUES]
        with (home.parent / "output").open("w") as output:
            process = subprocess.Popen(
                command, env={**os.environ, "NOTIFY_SOCKET": str(address)}, stdout=output, stderr=output
            )
        assert manager.recv(4096).decode() == "READY=1\nSTATUS=recording\n", (home.parent / "output").read_text()
    assert Supervisor(home).pid() == process.pid, "the process that was started is supervisord itself"
    assert main(["status"]) == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert processes.find(home) == []


def test_an_upgrade_of_what_does_not_run_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade"]) == 2
    assert "no appliance is running" in capsys.readouterr().err


@pytest.mark.timeout(400)
def test_the_self_test_passes_here_and_leaves_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["selftest"]) == 0, capsys.readouterr().out
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith("selftest: passed in")
    assert any("was killed; all is healthy again" in line for line in lines)
    assert any("postgres was stopped; all is healthy again" in line for line in lines)
    assert not home.exists()
