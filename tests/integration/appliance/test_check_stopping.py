"""The check from outside while supervisord ends its programs one after the other."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.appliance.processes import wait_until
from recorder.outside import judgement
from recorder.outside.judgement import check
from recorder.outside.processes import running, supervised

CONF = """[supervisord]
nodaemon = true
pidfile = {home}/supervisord.pid
logfile = /dev/null
logfile_maxbytes = 0
[unix_http_server]
file = {home}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:watchdog]
command = sleep 600
priority = 2
[program:slow]
command = sh -c 'trap "" TERM; while :; do sleep 1; done'
priority = 1
stopwaitsecs = 60
killasgroup = true
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A supervisord with a program that ends at once and one that takes long to end."""
    home = tmp_path / "h"
    home.mkdir()
    (home / "running").write_text(f'{tmp_path}/tapedeck.toml\nrecorded_into = "db.example/tape"\n')
    (home / "supervisord.conf").write_text(CONF.format(home=home))
    monkeypatch.setattr(judgement, "START_S", 0.0)  # else nothing counts in the first minute
    monkeypatch.delenv("DATABASE_URL", raising=False)
    command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(home / "supervisord.conf")]
    environment = {**os.environ, "TAPEDECK_HOME": str(home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: (supervised(home)[0] or {}).get("slow") == "RUNNING", 60.0)
            yield home
        finally:
            slow = running(home)["slow"].pids
            process.terminate()
            for pid in slow:
                os.kill(pid, 9)
            process.wait(60)


def test_a_watchdog_that_is_stopped_with_all_others_is_not_taken_for_dead(home: Path) -> None:
    found = running(home)
    assert set(found) == {"supervisord", "watchdog", "slow"}
    os.kill(found["supervisord"].pids[0], 15)
    assert wait_until(lambda: "watchdog" not in running(home), 60.0)
    result = check(home, home, (home / "running").read_text())
    assert "process   supervisord is ending all programs" in result.lines
    assert not result.unwatched
    assert any("watchdog is not running" in text for _, text in result.problems)
