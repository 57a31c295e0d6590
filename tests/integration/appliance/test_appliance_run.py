"""The appliance under supervisord: it starts, survives kills, verifies clean, and stops without leaving a process."""

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.machine.terminal import in_terminal

from recorder.appliance import processes, supervisor
from recorder.appliance.processes import wait_until
from recorder.appliance.supervisor import Supervisor
from recorder.cli import main
from recorder.errors import ConfigError
from recorder.process.health import WriterFigures, read_all
from recorder.settings import Settings

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence


def rows_loaded(home: Path) -> int:
    figures = read_all(home)["writer"].figures
    assert isinstance(figures, WriterFigures)
    return figures.rows


def healthy() -> bool:
    return main(["status", "--json"]) == 0


@pytest.mark.timeout(480)
def test_the_appliance_survives_the_kill_of_every_program_and_leaves_no_process(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["up"]) == 0, capsys.readouterr().out
    supervisord = Supervisor(home)
    first = {process.name: process.pid for process in supervisord.processes() if process.pid}
    recorders = {f"recorder-{venue}" for venue in Settings.load().venues}
    assert len(recorders) == 7
    others = {"postgres", "simulator", "writer", "deriver", "keeper", "poller", "watchdog", "web"}
    assert set(first) == others | recorders
    assert not supervisor.start(Settings.load(), print), "a second start must change nothing"
    capsys.readouterr()
    assert main(["up"]) == 0
    assert "is already running" in " ".join(capsys.readouterr().out.split())
    assert {process.name: process.pid for process in supervisord.processes() if process.pid} == first
    monkeypatch.setenv("TAPEDECK_CONFIG", "live")
    with pytest.raises(ConfigError, match=r"already running .* with other settings"):
        supervisor.start(Settings.load(), print)
    monkeypatch.delenv("TAPEDECK_CONFIG")

    def kill(name: str) -> None:
        os.kill(first[name], signal.SIGKILL)
        assert wait_until(
            lambda: any(
                p.name == name and p.state == "RUNNING" and p.pid != first[name] for p in supervisord.processes()
            ),
            60.0,
        ), f"{name} did not come back"

    def recording_again() -> bool:
        """Return whether all is healthy and rows grow again."""
        if not wait_until(healthy, 90.0, pause_s=0.5):
            return False
        rows = rows_loaded(home)
        return wait_until(lambda: rows_loaded(home) > rows, 20.0)

    for columns in (80, 60):
        code, lines, styled = in_terminal([sys.executable, "-m", "recorder", "status"], columns)
        assert code == 0, lines
        assert styled
        assert {line.split()[0] for line in lines if line} >= set(first), "every name is shown complete"
        assert all(len(line) <= columns for line in lines)
        assert {"streams", "msg/s", "lag"} <= set(lines[0].split())
        assert any(line.startswith("disk: ") for line in lines)
    assert not in_terminal([sys.executable, "-m", "recorder", "status"], 80, {"NO_COLOR": "1"})[2]

    for name in first:
        kill(name)
    assert recording_again(), capsys.readouterr().out
    capsys.readouterr()
    assert main(["verify", "--truth", str(home / "simulator")]) == 0, capsys.readouterr().out

    pids = [process.pid for process in supervisord.processes() if process.pid] + [supervisord.pid() or 0]
    assert main(["down"]) == 0
    assert not any(processes.alive(pid) for pid in pids)
    assert "no process is left" in " ".join(capsys.readouterr().out.split())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("kills", "within_s"), [(2, 10.0), pytest.param(5, 60.0, marks=pytest.mark.long)])
def test_a_killed_supervisord_leaves_nothing_that_stop_or_the_next_start_cannot_end(
    home: Path, monkeypatch: pytest.MonkeyPatch, kills: int, within_s: float
) -> None:
    """supervisord is killed at random moments after its start: then one stop ends all, and one start recovers."""
    seed = int(os.environ.get("TEST_SEED", time.time_ns() % 10**6))
    print(f"TEST_SEED={seed}")
    moments = random.Random(seed)
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__PROCESSES", "2")
    for venue in Settings.load().venues.keys() - {"coinbase", "kraken", "figure"}:
        monkeypatch.setenv(f"TAPEDECK__VENUES__{venue.upper()}__ENABLED", "false")
    for _ in range(kills):
        for command in ("down", "up"):
            start_and_kill(home, moments.uniform(0.0, within_s))
            left = [process.pid for process in processes.find(home)]
            assert left, "the programs of a killed supervisord live on"
            assert main([command]) == 0
            assert not any(processes.alive(pid) for pid in left)
        assert main(["down"]) == 0
        assert processes.find(home) == []


def start_and_kill(home: Path, after_s: float) -> None:
    """Start the appliance and kill supervisord after this time."""
    print(f"killed after {after_s:.2f} s")
    supervisor.start(Settings.load(), print)
    master = Supervisor(home).pid()
    assert master is not None
    threading.Event().wait(after_s)
    os.kill(master, signal.SIGKILL)
    assert wait_until(lambda: Supervisor(home).pid() is None, 10.0)
