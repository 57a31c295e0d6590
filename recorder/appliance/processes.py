"""The operating system's view of an appliance: its processes, how to end them, and who listens on a port.

supervisord puts the name of a program into the environment of its process, and `tapedeck up` puts the home there. A
process is found by both, so a program that has not written a health report yet is found as well, and a program that
outlived its supervisord keeps its name.
"""

import errno
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from recorder.portmap import PortUse

SUPERVISORD = "supervisord"
_PAUSE_S = 0.2

_STOP_ORDER = (
    SUPERVISORD, "web", "jupyter", "watchdog", "poller", "deriver", "writer", "recorder", "simulator", "postgres"
)  # fmt: skip
"""The reverse of the start. A living supervisord ends the others by itself, in this order too."""

_GRACE_S = {SUPERVISORD: 120.0, "postgres": 60.0}
_DEFAULT_GRACE_S = 15.0
"""How long a program may take to end before it is killed, as in supervisord.conf (`stopwaitsecs`)."""


class OwnedProcess(NamedTuple):
    """One process of an appliance."""

    program: str  # "recorder-kraken", "postgres", SUPERVISORD
    pid: int
    parent: int
    started_at: float  # unix seconds; tells a process from a later one with the same id


def find(home: Path) -> list[OwnedProcess]:
    """Return every process of the appliance in `home`: supervisord, its programs, and their children.

    This process and its ancestors are left out: a command may be typed in a terminal of the appliance's own JupyterLab.
    """
    home = Path(os.path.realpath(home))
    excluded = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):  # it ended meanwhile, or belongs to another user
            if process.pid in excluded or process.status() == psutil.STATUS_ZOMBIE:
                continue
            program = _program(process, home)
            if program is not None:
                found.append(OwnedProcess(program, process.pid, process.ppid(), process.create_time()))
    return found


def _program(process: Any, home: Path) -> str | None:
    """Return the program that a process of this home belongs to; None for a process of anybody else."""
    command: list[str] = process.cmdline()
    if any(os.path.basename(word) in ("supervisord", "supervisor.supervisord") for word in command):
        folder = process.cwd()
        if any(_same(os.path.join(folder, word), home / "supervisord.conf") for word in command):
            return SUPERVISORD
    # Postgres overwrites the environment of its children with their titles, but all work in its data folder.
    if process.name().startswith("postgres") and _same(process.cwd(), home / "postgres" / "data"):
        return "postgres"
    variables: dict[str, str] = process.environ()
    if "SUPERVISOR_ENABLED" in variables and _same(variables.get("TAPEDECK_HOME", ""), home):
        return variables.get("SUPERVISOR_PROCESS_NAME")
    return None


def _same(path: str, other: Path) -> bool:
    return bool(path) and os.path.realpath(path) == str(other)


def programs_of(processes: Iterable[OwnedProcess]) -> list[str]:
    """Return the names of the programs that these processes belong to, in the order in which they are stopped."""
    return sorted({process.program for process in processes}, key=lambda name: (_rank(name), name))


def end(home: Path, deadline_s: float, report: Callable[[list[str]], None], grace_s: float | None = None) -> list[str]:
    """End every process of the appliance in `home`.

    A living supervisord is asked first, and it stops its programs in order. Without one they are stopped in the same
    order here. A program that does not end in its grace period is killed.

    Args:
        home: The appliance's state directory.
        deadline_s: Longest wait.
        report: Called with the names of the programs that still run, several times a second.
        grace_s: The longest grace period of any program; None leaves each its own.

    Returns:
        The programs that still run at the deadline; empty after a clean stop.
    """
    asked: dict[OwnedProcess, float] = {}

    def ended() -> bool:
        left = find(home)
        report(programs_of(left))
        for process in _next(left):
            own_s = _GRACE_S.get(process.program, _DEFAULT_GRACE_S)
            _ask(process, asked, own_s if grace_s is None else min(own_s, grace_s))
        return not left

    return [] if wait_until(ended, deadline_s, _PAUSE_S) else programs_of(find(home))


def _next(left: list[OwnedProcess]) -> Iterator[OwnedProcess]:
    """Yield the processes to end now: of the programs that stop first, those whose parent is not of the appliance."""
    pids = {process.pid for process in left}
    leaders = [process for process in left if process.parent not in pids]
    first = min((_rank(process.program) for process in leaders), default=0)
    return (process for process in leaders if _rank(process.program) == first)


def _ask(process: OwnedProcess, asked: dict[OwnedProcess, float], grace_s: float) -> None:
    """Ask a process to end; kill it once its grace period is over."""
    now = time.monotonic()
    begun = asked.setdefault(process, now)
    with suppress(ProcessLookupError):
        if begun == now:
            os.kill(process.pid, signal.SIGINT if process.program == "postgres" else signal.SIGTERM)
        elif now - begun > grace_s:
            os.kill(process.pid, signal.SIGKILL)


def _rank(program: str) -> int:
    kind = program.partition("-")[0]
    return _STOP_ORDER.index(kind) if kind in _STOP_ORDER else 1


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not collected yet (a zombie) does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def port_problem(row: PortUse) -> str | None:
    """Return why a program cannot listen on its port, and what to do; None when it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", row.port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"port {row.port} cannot be used ({error.strerror}); {row.service} needs it: set {row.setting}"
            user = port_user(row.port)
            return (
                f"port {row.port} is in use{f' by {user}' if user else ''}; {row.service} needs it: stop that program, "
                f"move all ports with port_base (TAPEDECK__PORT_BASE=25000), or this one with {row.setting}"
            )
    return None


def port_user(port: int) -> str | None:
    """Return who listens on a TCP port, as "nginx (pid 812)"; None when that is not known."""
    for pid, connections in _listening():
        if pid and any(connection.laddr and connection.laddr.port == port for connection in connections):
            with suppress(psutil.Error):
                return f"{psutil.Process(pid).name()} (pid {pid})"
    return None


def _listening() -> Iterator[tuple[int | None, list[Any]]]:
    """Yield process ids with their listening sockets, of this user's processes at least."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                yield connection.pid, [connection]
    except psutil.AccessDenied:  # macOS shows the sockets of all processes to root only
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                sockets = process.net_connections("tcp")
                yield process.pid, [one for one in sockets if one.status == psutil.CONN_LISTEN]


def file_users(path: Path) -> list[str]:
    """Return who has a file open, as "python (pid 812)"; processes of other users may be missing."""
    users = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(_same(file.path, Path(os.path.realpath(path))) for file in process.open_files()):
                users.append(f"{process.name()} (pid {process.pid})")
    return users


def wait_until(condition: Callable[[], bool], deadline_s: float, pause_s: float = 0.1) -> bool:
    """Ask repeatedly until a condition holds: other processes give no event to wait on.

    Returns:
        False when the condition does not hold at the deadline.
    """
    limit = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(pause_s)
    return True
