"""The poller and the writer as processes, with their own settings, against the simulated services of Polymarket."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2

from recorder.process.health import PollerFigures, WriterFigures, read_all
from recorder.simulator.services.running import RunningServices
from support.database_server import ROOT


class PollingAppliance:
    """The poller and the writer of one home."""

    def __init__(self, home: Path, database: str, services: RunningServices) -> None:
        self.home = home
        self.database = database
        lines = ["[poller.services]", *(f'{name} = "{url}"' for name, url in services.urls.items())]
        lines += ["[venues.polymarket]", f'rest_url = "{services.urls["gamma"]}"', "symbols = []"]
        config = home / "scale.toml"
        config.write_text("\n".join(lines) + "\n")
        self._environment = {
            **os.environ, "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
        }  # fmt: skip
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "PollingAppliance":
        for name in ("writer", "poller"):
            self.start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()

    def start(self, name: str) -> None:
        """Start a program of bin/."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / name)], env=self._environment, stdout=log, stderr=log
            )

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

    def loaded(self) -> bool:
        """Return whether the writer has loaded everything."""
        report = read_all(self.home).get("writer")
        figures = report.figures if report is not None else None
        return isinstance(figures, WriterFigures) and bool(figures.journals) and not figures.lag_bytes

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.home.glob("*.log")))
