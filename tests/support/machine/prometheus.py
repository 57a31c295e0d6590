"""Debian's Prometheus and Alertmanager on loopback ports of a test, with the files of ansible/roles/monitoring."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.database_server import ROOT
from support.machine.ports import free_port

ROLE = ROOT / "ansible" / "roles" / "monitoring"
FILES = ROLE / "files"
PROGRAMS = ("prometheus", "prometheus-alertmanager", "promtool", "amtool")
_EVERY = "2s"


def require_prometheus() -> None:
    """Skip a test where Prometheus is not installed; fail it in CI as root, where .ci/run has installed it.

    Call it in a test or in a fixture, not while tests are collected.
    """
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        reason = f"{', '.join(missing)} not found: apt-get install prometheus prometheus-alertmanager"
        if os.environ.get("CI") == "true" and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)


class Series(NamedTuple):
    """One result of a query."""

    labels: dict[str, str]
    value: float


class PanelQuery(NamedTuple):
    """One query of a dashboard."""

    dashboard: str
    panel: str
    unit: str
    expr: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Return every dashboard by the name of its file."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((FILES / "dashboards").glob("*.json"))}


def panel_queries() -> Iterator[PanelQuery]:
    """Yield every query of every dashboard, with its variables filled in as Grafana does it."""
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                expr = target["expr"].replace("$venue", ".+").replace("$__rate_interval", "1m")
                yield PanelQuery(name, panel["title"], panel["fieldConfig"]["defaults"]["unit"], expr)


class Monitoring:
    """A running Prometheus and Alertmanager."""

    def __init__(self, folder: Path, watchdog_port: int, receiver_url: str) -> None:
        """Write their settings: the files of the role with other ports, receivers and shorter times.

        Args:
            folder: Where their data and settings go.
            watchdog_port: The port to scrape.
            receiver_url: Gets what the receivers for pages and of the dead man's switch get, as paths below it.
        """
        self._folder = folder
        self._port, self._alert_port = free_port(), free_port()
        shutil.copytree(FILES / "rules", folder / "rules")
        ports = {"8080": watchdog_port, "9090": self._port, "9093": self._alert_port}
        prometheus = _with_ports((FILES / "prometheus.yml").read_text(), ports)
        (folder / "prometheus.yml").write_text(
            re.sub(r"(scrape|evaluation)_interval: \w+", rf"\1_interval: {_EVERY}", prometheus).replace(
                "scrape_timeout: 5s", f"scrape_timeout: {_EVERY}"
            )
        )
        recording = folder / "rules" / "recording.yml"
        recording.write_text(re.sub(r"interval: \w+", f"interval: {_EVERY}", recording.read_text()))
        alertmanager = (FILES / "alertmanager.yml").read_text()
        receivers = {r"https://pager\.example\.org/tapedeck": "pages", r"https://hc-ping\.com/[0-9-]+": "dead-man"}
        for url, name in receivers.items():
            alertmanager, found = re.subn(url, f"{receiver_url}/{name}", alertmanager)
            assert found == 1, url
        (folder / "pager_token").write_text("token-of-the-pager")
        alertmanager = alertmanager.replace("/etc/prometheus/secrets", str(folder))
        (folder / "alertmanager.yml").write_text(re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", alertmanager))
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both."""
        self._run(
            "prometheus-alertmanager",
            f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{self._alert_port}",
            "--cluster.listen-address=",
        )
        self._run(
            "prometheus",
            f"--config.file={self._folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._folder / 'series'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--rules.alert.resend-delay=2s",  # the first is sent before Alertmanager is found, and lost
        )

    def stop(self) -> None:
        """Stop both."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)

    def query(self, expr: str) -> list[Series]:
        """Return what Prometheus answers to a query now; nothing while it starts.

        Raises:
            AssertionError: it refuses the query.
        """
        url = f"http://127.0.0.1:{self._port}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as reply:
                data = json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{expr}: {error.read().decode()}") from None
        except OSError:
            return []
        if data["resultType"] == "scalar":
            return [Series({}, float(data["result"][1]))]
        return [Series(one["metric"], float(one["value"][1])) for one in data["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule as Prometheus has it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/rules", timeout=10) as reply:
            groups = json.load(reply)["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def logs(self) -> str:
        """Return the ends of both logs."""
        return "\n".join(path.read_text()[-3000:] for path in sorted(self._folder.glob("*.log")))

    def _run(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.log").open("wb") as log:
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder))


def _with_ports(text: str, ports: dict[str, int]) -> str:
    for usual in ports:
        assert f"127.0.0.1:{usual}" in text, usual
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)


@contextmanager
def monitoring(folder: Path, watchdog_port: int, receiver_url: str) -> Iterator[Monitoring]:
    """Run Prometheus and Alertmanager; arguments as for `Monitoring`."""
    folder.mkdir()
    running = Monitoring(folder, watchdog_port, receiver_url)
    try:
        running.start()
        yield running
    finally:
        running.stop()
