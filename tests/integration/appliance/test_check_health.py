"""bin/check-health and bin/restart at a real appliance that is killed piece by piece, by hand and under a real cron."""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.database_server import ROOT
from support.machine.cron import running_cron
from support.machine.ports import free_port_base

from recorder.appliance import processes, supervisor
from recorder.appliance.processes import wait_until
from recorder.cli import main

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence

SYSTEM_PYTHON = shutil.which("python3", path="/usr/bin:/bin")
PERIOD_S = 60.0


class Answer(NamedTuple):
    """What the check printed."""

    code: int
    first: str
    text: str


class Appliance:
    """An appliance that records, and the commands as cron runs them."""

    def __init__(self, home: Path, port_base: int) -> None:
        self.home = home
        self.variables = {"TAPEDECK_HOME": str(home), "TAPEDECK__PORT_BASE": str(port_base)}
        self.environment = {"PATH": "/usr/bin:/bin", "HOME": "/root", "LOGNAME": "root", "SHELL": "/bin/sh"}

    def run(self, program: str, *words: str, **more: str) -> Answer:
        command = [str(ROOT / "bin" / program), *words]
        environment = {**self.environment, **self.variables, **more}
        done = subprocess.run(
            command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=400, check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout.partition("\n")[0], done.stdout)

    def check(self, *words: str, **more: str) -> Answer:
        return self.run("check-health", *words, **more)

    def signal(self, program: str, number: int) -> None:
        """Send a signal to the first process of a program."""
        pids = {process.pid: process for process in processes.find(self.home) if process.program == program}
        first = next(pid for pid, process in pids.items() if process.parent not in pids)
        os.kill(first, number)


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Appliance]:
    """Two venues of the simulator, recorded for more than a minute: then nothing counts as starting."""
    if SYSTEM_PYTHON is None:
        pytest.skip("the system has no python3 for cron")
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    made = Appliance(tmp_path / "home", free_port_base())
    for name, value in made.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    try:
        assert main(["up", "--venues", "kraken,coinbase"]) == 0
        assert wait_until(lambda: uptime_s(made.check()) > PERIOD_S, 120.0, pause_s=1.0)
        yield made
    finally:
        assert supervisor.stop(made.home, 120.0, lambda left: None) == []


def uptime_s(answer: Answer) -> float:
    found = re.search(r"uptime=(\d+)s", answer.first)
    return float(found[1]) if found else 0.0


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """Address that accepts alerts, and the texts that came."""
    texts: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret", texts
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.timeout(600)
def test_the_check_says_what_is_dead_and_a_restart_repairs_all(
    appliance: Appliance, webhook: tuple[str, list[str]]
) -> None:
    url, posts = webhook
    well = appliance.check("--alert", ALERT_WEBHOOK_URL=url)
    assert (well.code, posts) == (0, []), well.text
    assert re.search(
        r"^in 5 min +[1-9][\d,]* quote, [1-9][\d,]* trade, [1-9][\d,]* book rows$", well.text, re.MULTILINE
    )
    assert re.search(r"^last +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, \d s ago$", well.text, re.MULTILINE), well.text
    assert re.search(r"^memory +\d+ MiB", well.text, re.MULTILINE)
    assert appliance.check("--quiet").text == ""

    appliance.signal("watchdog", signal.SIGSTOP)
    found = appliance.check("--alert", ALERT_WEBHOOK_URL=url)
    assert (found.code, len(posts)) == (1, 1), found.text
    assert found.first.startswith("TAPEDECK WARNING - watchdog is stopped by a signal")
    appliance.signal("watchdog", signal.SIGCONT)

    appliance.signal("postgres", signal.SIGSTOP)
    found = appliance.check()
    assert (found.code, "postgres is stopped by a signal" in found.first) == (2, True), found.text
    appliance.signal("postgres", signal.SIGCONT)

    appliance.signal("supervisord", signal.SIGSTOP)
    found = appliance.check()
    assert (found.code, "supervisord is stopped by a signal" in found.first) == (2, True), found.text
    appliance.signal("supervisord", signal.SIGKILL)
    found = appliance.check()
    assert (found.code, "supervisord is not running (stale pid" in found.first) == (2, True), found.text
    appliance.signal("watchdog", signal.SIGKILL)
    appliance.signal("postgres", signal.SIGKILL)
    # The backends of a killed server end by themselves; until then it runs, and does not answer.
    assert wait_until(lambda: "postgres" not in {one.program for one in processes.find(appliance.home)}, 30.0)
    found = appliance.check()
    assert found.code == 2
    for name in ("supervisord", "postgres", "watchdog"):
        assert f"{name} is not running" in found.first, found.text
    assert "postgres  not asked: the server does not run" in found.text
    assert re.search(r"^received  data \d+ s ago$", found.text, re.MULTILINE), "the recorders go on"

    appliance.signal("recorder-kraken", signal.SIGSTOP)  # it ignores SIGTERM now
    done = appliance.run("restart", "--wait", "3")
    assert done.code == 0, done.text
    assert "recorder-kraken      stopped" in done.text
    names = {process.name for process in supervisor.Supervisor(appliance.home).processes()}
    assert {name for name in names if name.startswith("recorder-")} == {"recorder-kraken", "recorder-coinbase"}
    assert appliance.check().code == 0
    assert main(["verify", "--truth", str(appliance.home / "simulator")]) == 0


@pytest.mark.timeout(600)
@pytest.mark.long
def test_cron_reports_a_dead_appliance_within_a_minute_and_can_restart_it(
    appliance: Appliance, webhook: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, posts = webhook
    out, code = tmp_path / "out", tmp_path / "code"
    crontab = tmp_path / "crontab"
    variables = "".join(f"{name}={value}\n" for name, value in appliance.variables.items())
    line = f"{ROOT}/bin/check-health --alert > {out} 2>&1; echo $? > {code}.new; mv {code}.new {code}"
    crontab.write_text(f"{variables}ALERT_WEBHOOK_URL={url}\n* * * * * root {line}\n")

    def next_answer() -> Answer:
        code.unlink(missing_ok=True)
        assert wait_until(code.exists, 2 * PERIOD_S), "cron did not run the check"
        text = out.read_text()
        return Answer(int(code.read_text()), text.partition("\n")[0], text)

    with running_cron(crontab):
        well = next_answer()
        assert (well.code, posts) == (0, []), well.text
        for name in ("supervisord", "watchdog", "postgres"):
            appliance.signal(name, signal.SIGKILL)
        found = next_answer()
        assert found.code == 2
        for name in ("supervisord", "postgres", "watchdog"):
            assert f"{name} is not running" in found.first, found.text
        assert len(posts) == 1
        assert "supervisord is not running" in posts[0]
        log = tmp_path / "restart.log"
        restart = f"{ROOT}/bin/restart --wait 10 > {log} 2>&1; echo $? > {code}.new; mv {code}.new {code}"
        code.unlink()
        crontab.write_text(f"{variables}* * * * * root test -e {log} || {{ {restart}; }}\n")
        assert wait_until(code.exists, 4 * PERIOD_S), "cron did not run the restart"
    assert code.read_text().strip() == "0", log.read_text()
    assert appliance.check().code == 0
