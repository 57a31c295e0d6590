"""The poller and the writer as processes, with their own settings, against the simulated services of Polymarket."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg2

from recorder.process.health import PollerFigures, WriterFigures, read_all
from recorder.simulator.services.running import RunningServices
from support.database_server import ROOT


def service_settings(services: RunningServices) -> list[str]:
    """Return the settings of a poller of simulated services in the test's process."""
    lines = ["[poller.services]", *(f'{name} = "{url}"' for name, url in services.urls.items())]
    return [*lines, "[venues.polymarket]", f'rest_url = "{services.urls["gamma"]}"', "symbols = []"]


def full_scale_settings(port_base: int, markets: int) -> list[str]:
    """Return the settings of an appliance with a simulator process that shows many markets, on the stream, too."""
    stream, *ports = range(port_base + 91, port_base + 95)
    services = dict(zip(("gamma", "clob", "data"), ports, strict=True))
    return [
        f"port_base = {port_base}", "[simulator]", 'venues = ["polymarket"]', 'services = ["gamma", "clob", "data"]',
        f"markets = {markets}", "trades_per_s = 4.0", "rate = 20.0", "seed = 3",
        f"ports = {{ polymarket = {stream} }}",
        f"service_ports = {{ {', '.join(f'{name} = {port}' for name, port in services.items())} }}",
        "[poller.services]", *(f'{name} = "http://127.0.0.1:{port}"' for name, port in services.items()),
        "[venues.polymarket]", f'url = "ws://127.0.0.1:{stream}/ws/market"', f'rest_url = "http://127.0.0.1:{services["gamma"]}"',
        "symbols = []",
    ]  # fmt: skip


class PollingAppliance:
    """Programs of one home, by default the poller and the writer.

    Args:
        home: Of the appliance.
        database: Its address.
        lines: Of the settings.
        programs: Of bin/, with their arguments, in the order of their start.
    """

    def __init__(
        self, home: Path, database: str, lines: Sequence[str], programs: Sequence[str] = ("writer", "poller")
    ) -> None:
        self.home = home
        self.database = database
        self._programs = programs
        config = home / "scale.toml"
        config.write_text("\n".join(lines) + "\n")
        self._environment = {
            **os.environ, "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "PollingAppliance":
        for name in self._programs:
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, name: str) -> None:
        """Start a program of bin/."""
        program, *arguments = name.split()
        with (self.home / f"{program}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / program), *arguments],
                env=self._environment, stdout=log, stderr=log,
            )  # fmt: skip

    def query(self, text: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.database)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()
        finally:
            connection.close()

    def figures(self) -> PollerFigures:
        report = read_all(self.home).get("poller")
        return report.figures if report is not None and isinstance(report.figures, PollerFigures) else PollerFigures()

    def listed(self) -> bool:
        """Return whether the first sweep is stored."""
        return bool(self.query("SELECT 1 FROM poll_run WHERE job = 'polymarket-markets' AND state = 'done'"))

    def streaming(self) -> bool:
        """Return whether a snapshot of our own book is stored."""
        return bool(self.query("SELECT 1 FROM market_snapshot WHERE source = 'stream' LIMIT 1"))

    def loaded(self) -> bool:
        """Return whether the writer has loaded everything."""
        report = read_all(self.home).get("writer")
        figures = report.figures if report is not None else None
        return isinstance(figures, WriterFigures) and bool(figures.journals) and not figures.lag_bytes

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.home.glob("*.log")))
