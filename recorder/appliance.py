"""The appliance as a whole: its supervisord, started, asked and stopped from outside."""

import configparser
import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple, cast

from supervisor.xmlrpc import SupervisorTransport

from recorder.errors import ConfigError
from recorder.health import read_all
from recorder.jupyter import runtime_folder
from recorder.settings import Settings, VenueSettings
from recorder.shares import ALL_OF, recorder_names

ROOT = Path(__file__).resolve().parent.parent
SOCKET_PATH_MAX = 100  # the kernel's limit is 104 bytes on macOS, 108 on Linux


class Process(NamedTuple):
    """A program as supervisord sees it."""

    name: str
    state: str  # RUNNING, STARTING, BACKOFF, STOPPED, EXITED, FATAL, ...
    pid: int  # 0: none
    exit_status: int
    uptime_s: float


def programs(settings: Settings) -> list[str]:
    """Names of the programs these settings ask for, in the order of their start."""
    return [
        *(["postgres"] if settings.database.url is None else []),
        *(["simulator"] if settings.simulator.enabled else []),
        *(name for venue, values in _recorded(settings) for name in recorder_names(venue, values.processes)),
        "writer",
        *(["discovery"] if settings.discovery.enabled and any(v.enabled for v in settings.venues.values()) else []),
        *(["jupyter"] if settings.jupyter.enabled else []),
    ]


def _recorded(settings: Settings) -> list[tuple[str, VenueSettings]]:
    return [(name, values) for name, values in settings.venues.items() if values.enabled]


def render(template: str, settings: Settings, cwd: Path, root_user: bool) -> str:
    """The supervisord.conf of these settings.

    Args:
        template: The process list, supervisord.conf of the project.
        settings: Which programs, and where their state is.
        cwd: Working directory of the programs: where `.env` and relative paths are looked for.
        root_user: Says explicitly that root is meant, or supervisord warns at every start.
    """
    source = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    source.read_string(template)
    result = configparser.RawConfigParser()
    for section in source.sections():
        if not section.startswith(("program:", "group:")):
            result[section] = dict(source[section])
    result["supervisorctl"]["serverurl"] = f"unix://{_escape(settings.home)}/supervisor.sock"
    if root_user:
        result["supervisord"]["user"] = "root"
    recorders = []
    for kind in (section.removeprefix("program:") for section in source.sections() if section.startswith("program:")):
        if kind == "recorder":
            for venue, values in _recorded(settings):
                recorders.append(f"recorder-{venue}")
                _add_program(result, recorders[-1], source["program:recorder"], cwd, venue, values.processes)
        elif kind in programs(settings):
            _add_program(result, kind, source[f"program:{kind}"], cwd)
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
    processes: int = ALL_OF,
) -> None:
    """One [program]; several processes are told their share, and each has a log of its own."""
    script, *arguments = options["command"].removeprefix("python ").split()
    words = [sys.executable, str(ROOT / script), *(venue if word == "VENUE" else word for word in arguments)]
    section = dict(options) | {"command": _escape(shlex.join(words)), "directory": _escape(cwd)}
    if processes != ALL_OF:
        own = "%(program_name)s-%(process_num)02d"
        section["command"] += f" --share %(process_num)d/{processes}"
        section |= {"numprocs": str(processes), "process_name": own}
        section["stdout_logfile"] = options["stdout_logfile"].replace("%(program_name)s", own)
    result[f"program:{name}"] = section


def _escape(value: object) -> str:
    return str(value).replace("%", "%%")


class Supervisor:
    """A running supervisord, over its Unix socket."""

    def __init__(self, home: Path) -> None:
        self._socket = home / "supervisor.sock"

    def pid(self) -> int | None:
        """Its process id; None when none answers."""
        return cast(int | None, self._ask("getPID"))

    def processes(self) -> list[Process]:
        """All programs; empty when no supervisord answers."""
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

    def shutdown(self) -> None:
        """Ask it to stop all programs, then itself; returns at once."""
        self._ask("shutdown")

    def _ask(self, method: str) -> object:
        """One call on a connection of its own; None when nobody answers."""
        if not self._socket.exists():
            return None
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            return getattr(xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor, method)()
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None
        finally:
            transport.close()


def start(settings: Settings) -> None:
    """Start supervisord and with it every program; returns before they are ready.

    Raises:
        ConfigError: one runs already, a port is taken, or the home cannot be written.
    """
    home = settings.home
    _prepare_home(home)
    if (pid := Supervisor(home).pid()) is not None:
        raise ConfigError(
            f"the appliance in {home} runs already (pid {pid}); `make status` shows it, `make stop` ends it"
        )
    for port, owner, key in _ports(settings):
        _require_free(port, owner, key)
    config = home / "supervisord.conf"
    config.write_text(render((ROOT / "supervisord.conf").read_text(), settings, Path.cwd(), os.geteuid() == 0))
    (home / "running").write_text(f"{settings.file}\n")
    result = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
        env=settings.environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if result.returncode:
        raise ConfigError(f"supervisord does not start: {(result.stderr or result.stdout).strip().splitlines()[-1]}")


def stop(home: Path, deadline_s: float, tell: Callable[[list[str]], None]) -> list[str]:
    """Stop every program and supervisord itself.

    Args:
        home: The appliance's state directory.
        deadline_s: Longest wait.
        tell: Called with the names still running, now and then.

    Returns:
        Names of what still runs at the deadline; empty after a clean stop.
    """
    supervisor = Supervisor(home)
    pid = supervisor.pid()
    watched = {process.name: process.pid for process in supervisor.processes() if process.pid}
    if pid is not None:
        watched["supervisord"] = pid
        supervisor.shutdown()
    else:  # supervisord was killed: its programs went on, and nobody restarts them
        watched = orphans(home)
        for name, number in watched.items():
            os.kill(number, signal.SIGINT if name == "postgres" else signal.SIGTERM)

    def running() -> list[str]:
        return [name for name, number in watched.items() if alive(number)]

    def stopped() -> bool:
        tell(running())
        return not running()

    if not wait_until(stopped, deadline_s):
        return running()
    (home / "running").unlink(missing_ok=True)
    return []


def orphans(home: Path) -> dict[str, int]:
    """Programs of this home that run although no supervisord answers, by name."""
    found = {}
    for name, report in read_all(home).items():
        script = str(ROOT / "bin" / name.partition("-")[0])
        if alive(report.pid) and script in _command(report.pid):
            found[name] = report.pid
    leader = _postgres_leader(home)
    if leader is not None:
        found["postgres"] = leader
    for path in runtime_folder(home).glob("jpserver-*.json"):  # one is left behind by each server that was killed
        number = path.stem.removeprefix("jpserver-")
        if number.isdigit() and alive(int(number)) and str(home) in _command(int(number)):
            found["jupyter"] = int(number)
    return found


def _postgres_leader(home: Path) -> int | None:
    """The process of the embedded server, by the file Postgres keeps of it."""
    data = home / "postgres" / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if alive(pid) and str(data) in _command(pid) else None


def last_lines(home: Path, program: str, count: int = 5) -> list[str]:
    """The end of a program's log."""
    try:
        with (home / "log" / f"{program}.log").open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def wait_until(condition: Callable[[], bool], deadline_s: float, pause_s: float = 0.1) -> bool:
    """Ask again and again; False when it does not hold by the deadline. Other processes give no event to wait on."""
    limit = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(pause_s)
    return True


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not collected yet (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # it ended this moment, or there is no /proc, as on macOS
        return not Path("/proc/self").exists()


def _command(pid: int) -> str:
    """The command line of a process; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return ""
    ps = ["ps", "-o", "command=", "-p", str(pid)]
    return subprocess.run(ps, capture_output=True, text=True, timeout=10, check=False).stdout


def _prepare_home(home: Path) -> None:
    if len(os.fsencode(home / "supervisor.sock")) > SOCKET_PATH_MAX:
        raise ConfigError(f"the path {home} is too long for a Unix socket; set TAPEDECK_HOME to a shorter one")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (home / "log").mkdir(exist_ok=True)
        probe = home / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"{home} cannot be written ({error.strerror}); make it writable or set TAPEDECK_HOME"
        ) from None


def _ports(settings: Settings) -> list[tuple[int, str, str]]:
    """(port, who listens on it, its setting) of everything that will listen on loopback."""
    wanted = []
    if settings.database.url is None:
        wanted.append((settings.database.port, "the embedded Postgres", "database.port"))
    if settings.simulator.enabled:
        wanted.append((settings.simulator.control_port, "the simulator", "simulator.control_port"))
        wanted += [(p, "the simulator", f"simulator.ports.{name}") for name, p in settings.simulator.ports.items()]
    if settings.jupyter.enabled:
        wanted.append((settings.jupyter.port, "JupyterLab", "jupyter.port"))
    return wanted


def _require_free(port: int, owner: str, key: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"port {port} on 127.0.0.1, wanted by {owner}, cannot be had ({error.strerror}); "
                f"stop what uses it, or set {key} to another"
            ) from None
