"""A real appliance whose watchdog sends its messages to a sink of the test."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg2
import requests

from recorder.appliance import embedded_postgres, process_list, processes, supervisor
from recorder.appliance.supervisor import Supervisor
from recorder.process.health import Figures, read_all
from recorder.settings import Settings
from recorder.store.database import with_database
from support.database_server import ROOT
from support.machine.ports import free_port_base

Sections = Mapping[str, Mapping[str, Any]]
_DEMO = ROOT / "recorder" / "profiles" / "demo.toml"


class AlertedAppliance:
    """An appliance of the demo's simulated venues. As a context manager it ends all its processes."""

    def __init__(
        self,
        folder: Path,
        webhook: str,
        *,
        venues: Sequence[str] = (),
        services: Sequence[str] = (),
        sections: Sections | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """
        Args:
            folder: Where its home and its settings are made.
            webhook: Address of the sink.
            venues: Those of the demo that are simulated and recorded; none: all.
            services: Those of the demo that are simulated and polled; none: all.
            sections: Sections of the settings file, which override those of the demo.
            environment: Further variables of its programs.
        """
        self.folder = folder
        self.home = folder / "home"
        self.held = contextlib.ExitStack()  # what an injection holds until its cure, such as a lock
        self._pause = threading.Event()  # never set
        self._file = folder / "own.toml"
        self._file.write_text(_settings(webhook, venues, services, sections or {}))
        kept = {name: value for name, value in os.environ.items() if _is_foreign(name)}
        own = {"TAPEDECK_HOME": str(self.home), "TAPEDECK_CONFIG": str(self._file)}
        self._environment = {**kept, **own}
        self._of_programs = {**self._environment, **(environment or {})}
        self.settings = Settings.load(self._file, self._environment)

    def __enter__(self) -> "AlertedAppliance":
        try:
            self.command("up", statuses=(0, 1))  # 1: a busy machine is not ready after two minutes
            self.wait("every program is live", self._live, 300.0)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self.held.close()
        for process in processes.find(self.home):
            os.kill(process.pid, signal.SIGCONT)
        assert supervisor.stop(self.home, 60.0, lambda left: None) == []

    # ---- its programs

    def _live(self) -> bool:
        reports = read_all(self.home)
        named = [name for name in process_list.programs(self.settings) if name != "postgres"]  # it writes no report
        return all(name in reports and reports[name].state == "live" for name in named)

    def command(self, *words: str, statuses: Sequence[int] = (0,), **environment: str) -> str:
        """Run `tapedeck`, with further variables, and return what it printed."""
        command = [sys.executable, "-m", "recorder", *words]
        variables = {**self._of_programs, **environment}
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=variables)
        assert done.returncode in statuses, done.stdout + done.stderr
        return done.stdout

    def control(self, *words: str) -> None:
        """Run supervisorctl."""
        command = [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(self.home / "supervisord.conf")]
        subprocess.run([*command, *words], check=True, capture_output=True, cwd=ROOT, env=self._of_programs)

    def pid(self, program: str) -> int:
        """Return the process id of a program that runs; 0 when it does not."""
        found = Supervisor(self.home).processes()
        return next((one.pid for one in found if one.name == program and one.state == "RUNNING"), 0)

    def signal(self, program: str, number: signal.Signals) -> None:
        """Send a signal to every process of a program."""
        for process in processes.find(self.home):
            if process.program == program:
                with contextlib.suppress(ProcessLookupError):  # it ended meanwhile, and another one was started
                    os.kill(process.pid, number)

    def figures(self, program: str) -> Figures | None:
        """Return the figures of a program's last report."""
        report = read_all(self.home).get(program)
        return None if report is None else report.figures

    def wait(self, what: str, condition: Callable[[], bool], within_s: float = 60.0) -> None:
        """Return once a condition holds."""
        until_s = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < until_s, f"not within {within_s:.0f} s: {what}"
            self._pause.wait(0.1)

    # ---- the simulator

    def do(self, name: str, action: str, **arguments: object) -> dict[str, Any]:
        """Run an action of a simulated venue or service."""
        ports = self.settings.simulator.ports | self.settings.simulator.service_ports
        url = f"http://127.0.0.1:{ports[name]}/_control"
        answer = requests.post(url, json={"do": action, **arguments}, timeout=10)
        assert answer.status_code == 200, answer.text
        done: dict[str, Any] = answer.json()
        return done

    # ---- the database

    def url(self, database: str = "") -> str:
        """Return the address of the appliance's database, or of another one of its server, for its superuser."""
        url = embedded_postgres.database_url(self.settings, embedded_postgres.SUPERUSER)
        return with_database(url, database) if database else url

    def sql(self, query: str, *values: object, database: str = "") -> list[tuple[Any, ...]]:
        """Run one statement of its own transaction and return its rows."""
        connection = psycopg2.connect(self.url(database))
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def hold(self, query: str = "") -> None:
        """Open a connection, and keep it, and what a statement locks, until `held` is closed."""
        connection = psycopg2.connect(self.url())
        self.held.callback(connection.close)
        if query:
            with connection.cursor() as cursor:
                cursor.execute(query)


def _is_foreign(name: str) -> bool:
    """Return whether a variable of this process is none of an appliance's own, and no proxy."""
    upper = name.upper()
    own = ("TAPEDECK", "DATABASE_URL", "DEBUG", "LOG_LEVEL", "LD_PRELOAD")
    return not upper.startswith(own) and not upper.endswith("_PROXY")


def _settings(webhook: str, venues: Sequence[str], services: Sequence[str], sections: Sections) -> str:
    """Return the text of the settings file."""
    demo = tomllib.loads(_DEMO.read_text())
    for chosen, group, key in ((venues, "venues", "venues"), (services, "poller", "services")):
        if chosen:
            demo["simulator"][key] = list(chosen)
            table = demo["venues"] if group == "venues" else demo["poller"]["services"]
            for name in set(table) - set(chosen):
                del table[name]
    if "yahoo" not in demo["simulator"]["services"]:
        del demo["yahoo"]
    demo.setdefault("monitoring", {})["alert_webhook_url"] = webhook
    for section, values in sections.items():
        table = demo
        for word in section.split("."):
            table = table.setdefault(word, {})
        table.update(values)
    return f"port_base = {free_port_base()}\n" + "\n".join(_tables(demo, ()))


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Yield the lines of a TOML table; JSON of the values here is TOML."""
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if path:
        yield f"[{'.'.join(path)}]"
    yield from (f"{json.dumps(key)} = {json.dumps(value)}" for key, value in values.items())
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _tables(value, (*path, json.dumps(key)))
