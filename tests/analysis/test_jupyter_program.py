"""JupyterLab under the appliance's own supervisord: there for who has the token, and for nobody else."""

import http.client
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_server import free_port

from recorder import appliance, jupyter
from recorder.appliance import Supervisor, wait_until
from recorder.settings import Settings

PATH = "/api/contents/01_first_look.ipynb?content=0"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """An appliance of JupyterLab and a writer that waits for a database which is not there; it is running."""
    environ = {
        "TAPEDECK_HOME": str(tmp_path / "home"),
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
        "TAPEDECK__DISCOVERY__ENABLED": "false",
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
    assert appliance.programs(found) == ["writer", "jupyter"]
    appliance.start(found)
    yield found
    assert appliance.stop(found.home, 60.0, lambda left: None) == []


def answer(settings: Settings, token: str | None) -> tuple[int, bytes]:
    """Status and body for a file of the notebooks; 0 while nobody listens."""
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
    """Its process id."""
    return next(one.pid for one in Supervisor(settings.home).processes() if one.name == "jupyter")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc to see where the server listens")
def test_the_notebooks_are_there_for_the_token_alone(settings: Settings) -> None:
    assert wait_until(lambda: answer(settings, None)[0] != 0, 60.0), appliance.last_lines(settings.home, "jupyter", 30)
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
    assert wait_until(lambda: not appliance.alive(supervisord), 10.0)
    assert appliance.orphans(settings.home)["jupyter"] == pid
    assert appliance.stop(settings.home, 60.0, lambda left: None) == []
    assert not appliance.alive(pid)


def listening(pid: int) -> set[str]:
    """Addresses on which a process listens, IPv4 and IPv6, as the kernel says."""
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
