"""Debian machines of a test's own that a deployment is tried on, made by test_host.sh."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from recorder.appliance import processes
from recorder.appliance.processes import wait_until
from support.database_server import ROOT

_SCRIPT = Path(__file__).parent / "test_host.sh"
_CANNOT = 77
_DEPLOY_S = 900.0
DEMO = {
    "app_settings_file": str(ROOT / "recorder" / "profiles" / "demo.toml"),
    "app_venues": ["coinbase", "kraken"],
    "app_environment": {"TAPEDECK__SIMULATOR__RATE": "40"},
    "app_selftest": "never",
    "host_messages_per_s": 1,
}
"""Variables of a small appliance on simulated venues."""

Finished = subprocess.CompletedProcess[str]


class Host:
    """A machine that runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.inventory = folder / "inventory.ini"
        self.address = self.inventory.read_text().split("\n")[1]

    def run(self, command: str) -> Finished:
        """Run a command on it as root."""
        words = ["ssh", "-F", str(self._folder / "ssh_config"), self.address, f"sudo sh -c {_quoted(command)}"]
        return subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)

    def output(self, command: str) -> str:
        """Run a command on it as root, which must succeed, and return what it prints."""
        done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    def deploy(self, playbook: str = "site", checkout: Path = ROOT, **variables: object) -> Finished:
        """Run a playbook of a checkout against it. It uses the environments of this checkout."""
        words = [str(checkout / ".ci" / "deploy"), playbook, "-e", json.dumps({**DEMO, **variables})]
        environment = {**os.environ, "INVENTORY": str(self.inventory), "ANSIBLE_NOCOLOR": "1"}
        return subprocess.run(
            words, cwd=checkout, env=environment, capture_output=True, text=True, timeout=_DEPLOY_S, check=False
        )

    def reboot(self) -> None:
        """Shut it down in order, and boot it again."""
        self.run("systemctl poweroff")
        pid = int((self._folder / "pid").read_text())
        assert wait_until(lambda: not processes.alive(pid), 120.0), "the machine does not end"
        subprocess.run([str(_SCRIPT), "boot", str(self._folder)], capture_output=True, text=True, check=True)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@contextmanager
def running_host(folder: Path, init: str = "systemd", environ: Mapping[str, str] = os.environ) -> Iterator[Host]:
    """Run a machine, or skip the test where none can be made."""
    start = subprocess.run(
        [str(_SCRIPT), "start", str(folder)],
        env={**environ, "INIT": init}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if start.returncode == _CANNOT:
        pytest.skip(start.stderr.strip().splitlines()[-1])
    assert start.returncode == 0, start.stderr
    try:
        yield Host(folder)
    finally:
        subprocess.run([str(_SCRIPT), "stop", str(folder)], check=True)
