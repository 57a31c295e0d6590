"""The processes of an appliance, from /proc, pid files, supervisord and health reports."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import shlex
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any, NamedTuple

from recorder.outside.bounded import Fault
from recorder.outside.sources import ROOT
from recorder.outside.texts import read

SUPERVISORD_S = 3.0
SHUTDOWN_STATE = 6  # the answer of a supervisord that ends its programs, to every question (supervisor.xmlrpc.Faults)


class Running(NamedTuple):
    """The processes of one program."""

    pids: list[int]  # the first is their parent
    stopped: bool  # by SIGSTOP
    uptime_s: float
    memory: int  # bytes


def expected(home: Path) -> tuple[list[str], Path]:
    """Return the programs and the Python of supervisord.conf, which `tapedeck up` writes.

    Raises:
        OSError: the file cannot be read.
        Fault: it is damaged.
    """
    config = configparser.RawConfigParser()
    names, python = [], ROOT / ".venv" / "bin" / "python"
    try:
        config.read_string(read(home / "supervisord.conf"))
        for section in config.sections():
            kind, _, name = section.partition(":")
            if kind != "program":
                continue
            python = Path(shlex.split(config[section].get("command", "python").replace("%%", "%"))[0])
            names.append(name)
    except (configparser.Error, ValueError, IndexError):
        raise Fault(f"{home}/supervisord.conf is damaged") from None
    return names, python


def running(home: Path) -> dict[str, Running]:
    """Return the processes of the appliance in `home` by program, found as recorder/appliance/processes.py does."""
    if not Path("/proc/self/stat").exists():
        return running_by_files(home)
    found: dict[str, list[tuple[int, int, str, float, int, int]]] = {}
    uptime_s = float(read(Path("/proc/uptime")).split()[0])
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        place = Path("/proc", name)
        with contextlib.suppress(OSError, ValueError, IndexError):  # it ended, or belongs to another user
            comm, _, rest = read(place / "stat").partition("(")[2].rpartition(")")
            fields = rest.split()
            if fields[0] in "ZX":
                continue
            program = program_of(place, comm, home)
            if program is not None:
                status = dict(line.partition(":")[::2] for line in read(place / "status").splitlines())
                anonymous, shared = (int(status.get(key, "0").split()[0]) for key in ("RssAnon", "RssShmem"))
                age_s = uptime_s - int(fields[19]) / os.sysconf("SC_CLK_TCK")
                row = int(name), int(fields[1]), fields[0], age_s, anonymous << 10, shared << 10
                found.setdefault(program, []).append(row)
    result = {}
    for program, rows in found.items():
        pids = {row[0] for row in rows}
        rows.sort(key=lambda row: (row[1] in pids, -row[3]))
        # All processes of Postgres share one memory: it counts once.
        memory = sum(row[4] for row in rows) + max(row[5] for row in rows)
        result[program] = Running([row[0] for row in rows], rows[0][2] in "Tt", rows[0][3], memory)
    return result


def program_of(place: Path, comm: str, home: Path) -> str | None:
    """Return the program that a process of this home belongs to; None for every other process."""
    words = read(place / "cmdline").split("\0")
    if any(os.path.basename(word) in ("supervisord", "supervisor.supervisord") for word in words):
        folder = os.readlink(place / "cwd")
        if any(same(os.path.join(folder, word), home / "supervisord.conf") for word in words if word):
            return "supervisord"
    if comm.startswith("postgres") and same(os.readlink(place / "cwd"), home / "postgres" / "data"):
        return "postgres"
    variables = dict(word.partition("=")[::2] for word in read(place / "environ").split("\0"))
    if "SUPERVISOR_ENABLED" in variables and same(variables.get("TAPEDECK_HOME", ""), home):
        return variables.get("SUPERVISOR_PROCESS_NAME")
    return None


def same(path: str, other: Path) -> bool:
    """Return whether two paths lead to one place."""
    return bool(path) and os.path.realpath(path) == os.path.realpath(other)


def running_by_files(home: Path) -> dict[str, Running]:
    """Return the processes that pid files and health reports name, where there is no /proc."""
    named: list[tuple[str, int | None]] = [
        ("supervisord", pid_in(home / "supervisord.pid")),
        ("postgres", pid_in(home / "postgres" / "data" / "postmaster.pid")),
        *((name, report.get("pid")) for name, report in reports(home).items()),
    ]
    found = {}
    for name, pid in named:
        if isinstance(pid, int) and pid > 0:
            with contextlib.suppress(OSError, OverflowError):
                os.kill(pid, 0)
                found[name] = Running([pid], False, 0.0, 0)
    return found


def pid_in(path: Path) -> int | None:
    """Return the process id that a file names; None where there is none."""
    try:
        return int(read(path).split()[0])
    except (OSError, ValueError, IndexError):
        return None


class _Connection(http.client.HTTPConnection):
    """A connection to supervisord through its Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SUPERVISORD_S)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SUPERVISORD_S)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """Makes calls on one such connection."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        kept = self._connection[1]
        connection = _Connection(self._path) if kept is None else kept
        self._connection = host, connection
        return connection


def supervised(home: Path) -> tuple[dict[str, str] | None, bool]:
    """Return the state of each program as supervisord reports it, and whether it ends all of them now.

    The states are None when it does not answer.
    """
    transport = _Transport(home / "supervisor.sock")
    try:
        proxy: Any = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
        states = {str(info["name"]): str(info["statename"]) for info in proxy.supervisor.getAllProcessInfo()}
    except xmlrpc.client.Fault as fault:
        return ({}, True) if fault.faultCode == SHUTDOWN_STATE else (None, False)
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError, KeyError, TypeError):
        return None, False
    finally:
        transport.close()
    return states, False


def reports(home: Path) -> dict[str, dict[str, Any]]:
    """Return the health reports by program; one that cannot be read is left out, as if it were too old."""
    found = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(home / "health")):
            with contextlib.suppress(OSError, ValueError, RecursionError):
                report = json.loads(read(home / "health" / name)) if name.endswith(".json") else None
                if isinstance(report, dict):
                    found[name[:-5]] = report
    return found
