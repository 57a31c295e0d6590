"""JupyterLab under the appliance's supervisord is accessible with the token only."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine.ports import free_port

from recorder.appliance import jupyter, process_list, processes, supervisor
from recorder.appliance.processes import wait_until
from recorder.appliance.supervisor import Supervisor
from recorder.settings import Settings

PATH = "/api/contents/01_first_look.ipynb?content=0"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Run JupyterLab and a writer that waits for a missing database, and return their settings."""
    environ = {
        "TAPEDECK_HOME": str(tmp_path / "home"),
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
        "TAPEDECK__POLLER__ENABLED": "false",
        "TAPEDECK__DERIVER__ENABLED": "false",
        "TAPEDECK__KEEPER__ENABLED": "false",
        "TAPEDECK__WATCHDOG__ENABLED": "false",
        "TAPEDECK__WEB__ENABLED": "false",
        "TAPEDECK__JUPYTER__ENABLED": "true",
        "TAPEDECK__JUPYTER__PORT": str(free_port()),
    }
    config = tmp_path / "tapedeck.toml"
    config.write_text("[simulator]\nenabled = false\n")
    for name in ("DEBUG", "LOG_LEVEL", "JUPYTER_TOKEN", "TAPEDECK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    found = Settings.load(config)
    assert process_list.programs(found) == ["writer", "jupyter"]
    supervisor.start(found, print)
    yield found
    assert supervisor.stop(found.home, 60.0, lambda left: None) == []


def answer(settings: Settings, token: str | None) -> tuple[int, bytes]:
    """Return status and body of a request for a notebook file; status 0 while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.jupyter.port, timeout=10)
    try:
        connection.request("GET", PATH, headers={"Authorization": f"token {token}"} if token else {})
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return 0, b""
    finally:
        connection.close()


def process(settings: Settings) -> int:
    """Return the process id of JupyterLab."""
    return next(one.pid for one in Supervisor(settings.home).processes() if one.name == "jupyter")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc to see where the server listens")
def test_the_notebooks_are_there_for_the_token_alone(settings: Settings) -> None:
    assert wait_until(lambda: answer(settings, None)[0] != 0, 60.0), supervisor.last_lines(settings.home, "jupyter", 30)
    token = jupyter.token_file(settings.home).read_text().strip()
    assert answer(settings, None)[0] == 403
    assert answer(settings, token[:-1])[0] == 403
    status, body = answer(settings, token)
    assert status == 200
    assert json.loads(body)["type"] == "notebook"
    pid = process(settings)
    assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert token not in "".join(path.read_text() for path in (settings.home / "log").glob("*.log"))
    assert listening(pid) == {f"127.0.0.1:{settings.jupyter.port}"}


def test_a_server_whose_supervisord_was_killed_is_found_and_stopped(settings: Settings) -> None:
    assert wait_until(lambda: answer(settings, None)[0] == 403, 60.0)
    pid, supervisord = process(settings), Supervisor(settings.home).pid()
    assert supervisord is not None
    os.kill(supervisord, signal.SIGKILL)
    assert wait_until(lambda: not processes.alive(supervisord), 10.0)
    assert pid in [p.pid for p in processes.find(settings.home) if p.program == "jupyter"]
    assert supervisor.stop(settings.home, 60.0, lambda left: None) == []
    assert not processes.alive(pid)


def listening(pid: int) -> set[str]:
    """Return the addresses on which a process listens, IPv4 and IPv6, as reported by the kernel."""
    own = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                address, port = fields[1].split(":")
                octets = [str(byte) for byte in reversed(bytes.fromhex(address))]
                found.add(f"{'.'.join(octets)}:{int(port, 16)}")
    return found
