"""The supervisord of an appliance: its process list, how it is started, asked and stopped."""

import configparser
import contextlib
import fcntl
import io
import os
import re
import shlex
import socket
import stat
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Collection, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, cast

from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

from recorder.appliance import processes
from recorder.appliance.hints import hint
from recorder.errors import ConfigError
from recorder.process import files
from recorder.resources import SUPERVISORD_CONF
from recorder.settings import Settings, VenueSettings
from recorder.settings.sources import running_note
from recorder.shards import ALL_OF, recorder_names

_HOME = "%(ENV_TAPEDECK_HOME)s"  # in supervisord.conf of the project
_KEPT = (
    "disk.json", "health", "journal", "jupyter", "listings", "log", "models", "poll", "probe", "rates", "record",
    "recorded", "restart.lock", "running", "simulator", "start.lock", "subscriptions", "supervisord.conf",
    "supervisord.pid", "watchdog",
)  # fmt: skip
SOCKET_PATH_MAX = 100  # the kernel's limit is 104 bytes on macOS, 108 on Linux
ORPHANS_DEADLINE_S = 90.0
ANSWER_S = 3.0
"""supervisord answers within milliseconds; one that was stopped (SIGSTOP) never does."""


class Process(NamedTuple):
    """A program as supervisord sees it."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL, ...
    pid: int  # 0: none
    exit_status: int
    uptime_s: float


def programs(settings: Settings) -> list[str]:
    """Return the names of the programs that these settings ask for, in the order of their start."""
    return [
        *(["postgres"] if settings.database.url is None else []),
        *(["simulator"] if settings.simulator.enabled else []),
        *(name for venue, values in _recorded(settings) for name in recorder_names(venue, values.processes)),
        "writer",
        *(["poller"] if settings.poller.enabled and any(v.enabled for v in settings.venues.values()) else []),
        *(["watchdog"] if settings.watchdog.enabled else []),
        *(["jupyter"] if settings.jupyter.enabled else []),
    ]


def _recorded(settings: Settings) -> list[tuple[str, VenueSettings]]:
    return [(name, values) for name, values in settings.venues.items() if values.enabled]


def render(template: str, settings: Settings, cwd: Path, root_user: bool) -> str:
    """Return the supervisord.conf of these settings.

    Args:
        template: The process list, supervisord.conf of the project.
        settings: Which programs run, and where their state is.
        cwd: Working directory of the programs: where `.env` and relative paths are looked for.
        root_user: Name root as the user of supervisord, or it warns at every start.
    """
    source = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    source.read_string(template)
    result = configparser.RawConfigParser()
    own = {section: _at_home(source[section], settings.home) for section in source.sections()}
    for section in source.sections():
        if not section.startswith(("program:", "group:")):
            result[section] = own[section]
    result["supervisorctl"]["serverurl"] = f"unix://{_escape(settings.home)}/supervisor.sock"
    if root_user:
        result["supervisord"]["user"] = "root"
    recorders = []
    for kind in (section.removeprefix("program:") for section in source.sections() if section.startswith("program:")):
        if kind == "recorder":
            for venue, values in _recorded(settings):
                recorders.append(f"recorder-{venue}")
                _add_program(result, recorders[-1], own["program:recorder"], cwd, venue, values.processes)
        elif kind in programs(settings):
            _add_program(result, kind, own[f"program:{kind}"], cwd)
    if recorders:
        result["group:recorders"] = dict(source["group:recorders"]) | {"programs": ",".join(recorders)}
    text = io.StringIO()
    result.write(text)
    return text.getvalue()


def _add_program(
    result: configparser.RawConfigParser,
    name: str,
    options: Mapping[str, str],
    cwd: Path,
    venue: str = "",
    count: int = ALL_OF,
) -> None:
    """Add one [program]; each of several processes is given its shard and has a log of its own."""
    words = options["command"].removeprefix("python ").split()
    command = [sys.executable, *(venue if word == "VENUE" else word for word in words)]
    section = dict(options) | {"command": _escape(shlex.join(command)), "directory": _escape(cwd)}
    if count != ALL_OF:
        own = "%(program_name)s-%(process_num)02d"
        section["command"] += f" --shard %(process_num)d/{count}"
        section |= {"numprocs": str(count), "process_name": own}
        section["stdout_logfile"] = options["stdout_logfile"].replace("%(program_name)s", own)
    result[f"program:{name}"] = section


def _escape(value: object) -> str:
    """Return a path or a command as the file holds it.

    Raises:
        ConfigError: supervisord cannot read it, because the rest of it would be a comment or another line.
    """
    text = str(value)
    if re.search(r"\s[;#]|[\r\n]|^\s|\s$", text):
        raise ConfigError(
            f"supervisord cannot use the path {text!r}: it has a blank at an end or before ; or #, or a line break; "
            "set TAPEDECK_HOME to another folder, and start Tapedeck in another one"
        )
    return text.replace("%", "%%")


def _at_home(options: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the options of a section with the path of the home in its place; supervisord expands log files twice."""
    once = _escape(home)
    return {
        name: value.replace(_HOME, once.replace("%", "%%") if name == "stdout_logfile" else once)
        for name, value in options.items()
    }


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

    def _ask(self, method: str) -> object:
        """Make one call on a connection of its own; None when no supervisord answers."""
        if not self._socket.exists():
            return None
        transport = _Transport(self._socket)
        try:
            return getattr(xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)()
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
        supervisor = Supervisor(home)
        note = _note(settings, venues)
        pid = supervisor.pid()
        if pid is not None:
            _require_same(home, note, pid)
            return False
        _end_orphans(home, report)
        for row in settings.port_table():
            if row.used and (problem := processes.port_problem(row)) is not None:
                raise ConfigError(problem)
        config = home / "supervisord.conf"
        config.write_text(render(SUPERVISORD_CONF.read_text(), settings, Path.cwd(), os.geteuid() == 0))
        (home / "running").write_text(note)
        result = subprocess.run(
            [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", str(config)],
            env=settings.environment(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines() or [f"status {result.returncode}"]
            reason = next((line for line in lines if line.startswith("Error")), lines[-1])  # a hint at the help is last
            raise ConfigError(f"supervisord does not start: {reason}")
    return True


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


def last_lines(home: Path, program: str, count: int = 5) -> list[str]:
    """Return the end of a program's log."""
    try:
        with (home / "log" / f"{program}.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
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
