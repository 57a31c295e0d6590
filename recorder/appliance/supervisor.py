"""The supervisord of an appliance: how it is started, asked and stopped."""

import contextlib
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, cast

from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

from recorder.appliance import process_list, processes, started
from recorder.appliance.hints import hint
from recorder.errors import ConfigError
from recorder.process import files
from recorder.settings import Settings
from recorder.settings.sources import running_note

_KEPT = (
    "disk.json", "health", "journal", "jupyter", "listings", "log", "models", "poll", "probe", "programs.json", "rates",
    "record", "recorded", "restart.lock", "running", "simulator", "slots", "start.lock", "subscriptions",
    "supervisord.conf", "supervisord.pid", "watchdog", "web",
)  # fmt: skip
SOCKET_PATH_MAX = 100  # the kernel's limit is 104 bytes on macOS, 108 on Linux
ORPHANS_DEADLINE_S = 90.0
END_S = 90.0  # above the longest grace period of a program, Postgres' 60 s
ANSWER_S = 3.0
"""supervisord answers within milliseconds; one that was stopped (SIGSTOP) never does."""


class Process(NamedTuple):
    """A program as supervisord sees it."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL, ...
    pid: int  # 0: none
    exit_status: int
    uptime_s: float


class _Connection(UnixStreamHTTPConnection):  # type: ignore[misc]
    """A connection to supervisord, on which no wait is longer than ANSWER_S."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_S)
        self.sock.connect(self.socketfile)


class _Transport(SupervisorTransport):  # type: ignore[misc]
    """Makes the calls on such connections."""

    def __init__(self, path: Path) -> None:
        super().__init__(None, None, f"unix://{path}")
        self._path = path
        self._get_connection = self._connect

    def _connect(self) -> _Connection:
        connection = _Connection("localhost")
        connection.socketfile = str(self._path)
        return connection


class Changes(NamedTuple):
    """Programs whose place in the process list differs from what runs."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class Supervisor:
    """A running supervisord, over its Unix socket."""

    def __init__(self, home: Path) -> None:
        self._socket = home / "supervisor.sock"

    def pid(self) -> int | None:
        """Return its process id; None when no supervisord answers, or one that is ending its programs and itself."""
        return cast(int | None, self._ask("getPID"))

    def processes(self) -> list[Process]:
        """Return all its programs; an empty list when no supervisord answers."""
        infos = cast(list[dict[str, Any]], self._ask("getAllProcessInfo") or [])
        return [
            Process(
                info["name"],
                info["statename"],
                info["pid"],
                info["exitstatus"],
                float(info["now"] - info["start"]) if info["pid"] else 0.0,
            )
            for info in infos
        ]

    def add(self, program: str) -> None:
        """Start a program that is new in the process list; return before it runs."""
        self._ask("reloadConfig")
        if self._ask("addProcessGroup", program) is None:  # it is there already
            self._ask("startProcess", program, False)

    def stop(self, program: str) -> None:
        """Ask a program to end; return before it has."""
        self._ask("stopProcess", program, False)

    def remove(self, program: str) -> None:
        """Forget a program that has ended and is not in the process list any more."""
        self._ask("reloadConfig")
        self._ask("removeProcessGroup", program)

    def reread(self) -> Changes:
        """Read the process list again, and return the programs that differ from those that run; change none."""
        found, *_ = cast(list[list[list[str]]], self._ask("reloadConfig") or [[[], [], []]])
        return Changes(*found)

    def replace(self, changes: Changes) -> None:
        """End the programs that are gone or changed, and start those that are new or changed."""
        for program in (*changes.removed, *changes.changed):
            self._end(program)
            self._ask("removeProcessGroup", program)
        for program in (*changes.changed, *changes.added):
            self._ask("addProcessGroup", program)

    def restart(self, program: str) -> None:
        """Stop a program, and start it again; return once it is starting."""
        self._end(program)
        self._ask("startProcess", program, False)

    def _end(self, program: str) -> None:
        self._ask("stopProcess", program, False)
        processes.wait_until(lambda: all(p.pid == 0 for p in self.processes() if p.name == program), END_S)

    def process(self, program: str) -> Process | None:
        """Return one of its programs; None when it has none of this name, or no supervisord answers."""
        return next((one for one in self.processes() if one.name == program), None)

    def send_signal(self, program: str, pid: int, number: signal.Signals) -> bool:
        """Have a signal sent to a program; return False where that was not done.

        Args:
            program: Its name.
            pid: Its process; none is sent where the program has another one by now.
            number: Of the signal. After the end of the process supervisord starts the program again.
        """
        found = self.process(program)
        if found is None or found.pid != pid:
            return False
        return self._ask("signalProcess", program, str(int(number))) is True

    def _ask(self, method: str, *arguments: object) -> object:
        """Make one call on a connection of its own; None when no supervisord answers, or it refuses."""
        if not self._socket.exists():
            return None
        transport = _Transport(self._socket)
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor
            return getattr(proxy, method)(*arguments)
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None
        finally:
            transport.close()


def start(settings: Settings, report: Callable[[str], None], venues: Collection[str] = ()) -> bool:
    """Start supervisord and with it every program; return before they are ready.

    Programs that outlived an earlier supervisord are ended first.

    Args:
        settings: Which programs run.
        report: Called with a sentence when something unusual is done.
        venues: The venues that these settings were narrowed to; empty when they were not.

    Returns:
        False when the appliance runs already with these settings, and nothing was done.

    Raises:
        ConfigError: it runs with other settings, a port is in use, or the home cannot be written.
    """
    home = settings.home
    prepare_home(home, report)
    with _start_lock(home):
        command = _prepare_start(settings, report, venues)
        if command is None:
            return False
        result = subprocess.run(
            command, env=settings.environment(), capture_output=True, text=True, timeout=60, check=False
        )
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines() or [f"status {result.returncode}"]
            reason = next((line for line in lines if line.startswith("Error")), lines[-1])  # a hint at the help is last
            raise ConfigError(f"supervisord does not start: {reason}")
    return True


def foreground_command(settings: Settings, report: Callable[[str], None], venues: Collection[str] = ()) -> list[str]:
    """Prepare a start and return the command of a supervisord that stays in the foreground. Arguments as of `start`.

    Raises:
        ConfigError: as `start`, and when the appliance runs already.
    """
    home = settings.home
    prepare_home(home, report)
    with _start_lock(home):
        command = _prepare_start(settings, report, venues)
    if command is None:
        raise ConfigError(f"the appliance in {home} is already running; {hint('down')} stops it")
    return [*command, "--nodaemon"]


def _prepare_start(settings: Settings, report: Callable[[str], None], venues: Collection[str]) -> list[str] | None:
    """End what is left of an earlier start, check the ports, and write the files that supervisord and commands read.

    Returns:
        The command of supervisord; None when it runs already with these settings.
    """
    home = settings.home
    note = _note(settings, venues)
    pid = Supervisor(home).pid()
    if pid is not None:
        _require_same(home, note, pid)
        return None
    _end_orphans(home, report)
    for row in settings.port_table():
        if row.used and (problem := processes.port_problem(row)) is not None:
            raise ConfigError(problem)
    for slots in process_list.slots_of(settings):
        if slots.read().python:
            slots.forget_pythons()
    config = process_list.write_config(settings)
    files.write(home / "running", note.encode())
    started.write(home, {name: started.digest(settings, name) for name in process_list.programs(settings)})
    return [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)]


def stop(home: Path, deadline_s: float, report: Callable[[list[str]], None], grace_s: float | None = None) -> list[str]:
    """Stop every program and supervisord itself, also the programs that outlived a killed supervisord.

    Args:
        home: The appliance's state directory.
        deadline_s: Longest wait.
        report: Called with the names of the programs that still run, several times a second.
        grace_s: How long a program may take to end before it is killed; None leaves each its own time.

    Returns:
        The programs that still run at the deadline; empty after a clean stop.
    """
    left = processes.end(home, deadline_s, report, grace_s)
    if not left:
        (home / "running").unlink(missing_ok=True)
    return left


def only_venues(settings: Settings, venues: Collection[str]) -> Settings:
    """Return the settings with exactly these venues enabled."""
    changed = {name: values.model_copy(update={"enabled": name in venues}) for name, values in settings.venues.items()}
    return settings.model_copy(update={"venues": changed})


def running_venues(settings: Settings) -> tuple[str, ...]:
    """Return the venues that the running appliance was narrowed to by --venues; empty when it was not."""
    running = running_note(settings.home)
    if running is None or running.file != settings.file or "venues" not in running.values:
        return ()
    return tuple(name for name, values in settings.venues.items() if values.enabled)


def _note(settings: Settings, venues: Collection[str]) -> str:
    """Return the note about the running appliance, which the settings of every program and command include."""
    if not venues and not running_venues(settings):
        return settings.running_note()
    chosen = (f"[venues.{name}]\nenabled = {str(v.enabled).lower()}\n" for name, v in settings.venues.items())
    return settings.running_note() + "".join(chosen)


def write_note(settings: Settings) -> None:
    """Write the note again for an appliance that goes on with other settings."""
    files.write(settings.home / "running", _note(settings, ()).encode())


def _require_same(home: Path, note: str, pid: int) -> None:
    """Refuse to call an appliance started that runs with other settings."""
    try:
        running = (home / "running").read_text()
    except OSError:
        running = ""
    if running != note:
        raise ConfigError(
            f"the appliance in {home} is already running (pid {pid}) with other settings "
            f"({'; '.join(running.splitlines())}); {hint('down')} stops it"
        )


def _end_orphans(home: Path, report: Callable[[str], None]) -> None:
    """End what an earlier supervisord of this home left."""
    orphans = processes.find(home)
    if not orphans:
        return
    names = processes.programs_of(orphans)
    what = "is stopping" if processes.SUPERVISORD in names else "ended without stopping its programs"
    report(f"an earlier appliance in {home} {what}; waiting for the end of {', '.join(names)}")
    left = processes.end(home, ORPHANS_DEADLINE_S, lambda _names: None)
    if left:
        raise ConfigError(f"programs of an earlier start do not end: {', '.join(left)}; {hint('down')} tries again")


def log_sizes(home: Path) -> dict[str, int]:
    """Return the bytes in the log of each program, for `last_lines` of processes that are started after this."""
    return {path.stem: path.stat().st_size for path in (home / "log").glob("*.log")}


def last_lines(home: Path, program: str, count: int = 5, since: int = 0) -> list[str]:
    """Return the end of a program's log.

    Args:
        home: The appliance's state directory.
        program: Its name.
        count: How many lines.
        since: Bytes that earlier processes wrote, which are left out; a log that is shorter was begun again.
    """
    try:
        with (home / "log" / f"{program}.log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since if since <= size else 0, size - 8192))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


@contextlib.contextmanager
def restart_lock(home: Path) -> Iterator[None]:
    """Let one restart of this home run at a time: of two, one would stop what the other has started.

    Raises:
        ConfigError: another one runs.
    """
    with (home / "restart.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another restart of the appliance in {home} is running") from None
        yield


@contextlib.contextmanager
def _start_lock(home: Path) -> Iterator[None]:
    """Let one start of this home at a time look at what runs and change it."""
    with (home / "start.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prepare_home(home: Path, report: Callable[[str], None]) -> None:
    """Make the home where it is missing, and close it to other users.

    Args:
        home: The appliance's state directory.
        report: Called with a sentence when other users could read something.

    Raises:
        ConfigError: the home cannot be used.
    """
    if len(os.fsencode(home / "supervisor.sock")) > SOCKET_PATH_MAX:
        raise ConfigError(f"the path {home} is too long for a Unix socket; set TAPEDECK_HOME to a shorter one")
    try:
        files.make_home(home / "log")
        _close(home, report)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{home} cannot be written ({error.strerror}); make it writable or set TAPEDECK_HOME"
        ) from None


def _close(home: Path, report: Callable[[str], None]) -> None:
    """Take the rights of other users on the home and on what Tapedeck keeps there, from a version that left them.

    Raises:
        ConfigError: the home is a folder that all users share, such as /tmp.
        OSError: a file belongs to another user.
    """
    if home.stat().st_mode & stat.S_ISVTX:
        raise ConfigError(f"{home} is a folder that all users share; set TAPEDECK_HOME to a folder of its own")
    closed = sum(_close_one(path) for path in (home, *_kept(home)))
    if closed:
        report(f"{home} could be read by other users ({closed} files and folders); now only by its owner")


def _close_one(path: Path) -> bool:
    """Take the rights of other users on a file; return whether they had any."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)
        return bool(mode & 0o077)
    except FileNotFoundError:  # a running program replaced it
        return False


def _kept(home: Path) -> Iterator[Path]:
    """Yield the files and folders of ours in the home; Postgres keeps its own rights, and links lead elsewhere."""
    for name in _KEPT:
        yield from (path for path in (home / name, *(home / name).rglob("*")) if not path.is_symlink())
