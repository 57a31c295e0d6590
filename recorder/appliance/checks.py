"""The checks of `tapedeck doctor`: whether this machine can run the appliance, each with what to do when it cannot."""

import contextlib
import fcntl
import importlib.metadata
import os
import platform
import pwd
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from recorder.appliance import disk, processes
from recorder.appliance.embedded_postgres import as_user, binary
from recorder.appliance.hints import hint
from recorder.errors import ConfigError
from recorder.settings import Settings

Level = Literal["ok", "warning", "problem"]

NETWORK_S = 6.0  # for all hosts together: they are asked side by side
MIN_FILES = 1024  # open files of one process: connections, journal segments, logs
LOW_DISK = 5 << 30
CLOCK_WARNING_S, CLOCK_PROBLEM_S = 2.0, 60.0
_PYTHONS = ((3, 11), (3, 14))  # from, and below

_CONNECT = """
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
try:
    socket.create_connection((host, port), timeout=5).close()
except socket.gaierror as error:
    sys.exit(f"its name does not resolve ({error.strerror})")
except OSError as error:
    sys.exit(f"it does not accept connections ({error.strerror or error})")
"""


class Finding(msgspec.Struct, frozen=True):
    """The result of one check."""

    check: str
    level: Level
    text: str
    advice: str = ""  # what to do about it


def check_python(version: tuple[int, int], name: str) -> Finding:
    """Check the version of the interpreter."""
    if _PYTHONS[0] <= version < _PYTHONS[1]:
        return Finding("python", "ok", name)
    return Finding("python", "problem", f"{name} is not supported", "use Python 3.11, 3.12 or 3.13")


def check_packages() -> Finding:
    """Check that every package that Tapedeck requires is installed."""
    try:
        required = importlib.metadata.requires("tapedeck") or []
    except importlib.metadata.PackageNotFoundError:
        return Finding("packages", "warning", "tapedeck is not installed as a package", "run `make setup`")
    names = [_package(line) for line in required if ";" not in line]
    versions = {name: version for name in names if (version := _version(name)) is not None}
    missing = sorted(set(names) - versions.keys())
    if missing:
        return Finding("packages", "problem", f"missing: {', '.join(missing)}", "run `make setup`, or pip install them")
    shown = ", ".join(f"{name} {versions[name]}" for name in ("supervisor", "psycopg2-binary", "msgspec"))
    return Finding("packages", "ok", f"{len(versions)} installed, among them {shown}")


def _package(requirement: str) -> str:
    return requirement.translate(str.maketrans("<>=!~[ ", "\0\0\0\0\0\0\0")).partition("\0")[0]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_postgres(settings: Settings) -> Finding:
    """Check that the embedded Postgres can be run by this user."""
    if settings.database.url is not None:
        return Finding("postgres", "ok", "DATABASE_URL names the server to use")
    try:
        pwd.getpwuid(os.geteuid())
        as_user()
        answer = subprocess.run([binary("postgres"), "--version"], capture_output=True, text=True, check=False)
    except KeyError:
        advice = "run as a user that /etc/passwd knows, or set DATABASE_URL"
        return Finding(
            "postgres", "problem", f"the user id {os.geteuid()} has no name, which Postgres requires", advice
        )
    except ConfigError as error:
        return Finding("postgres", "problem", str(error))
    if answer.returncode:
        return Finding("postgres", "problem", f"the embedded server does not run: {answer.stderr.strip()}")
    return Finding("postgres", "ok", f"embedded server {answer.stdout.split()[-1]}")


def check_ports(settings: Settings, running: bool) -> Iterator[Finding]:
    """Check that nothing else listens on the ports of these settings."""
    rows = [row for row in settings.port_table() if row.used]
    if running:
        yield Finding("ports", "ok", f"{len(rows)} in use by the running appliance")
        return
    problems = [problem for row in rows if (problem := processes.port_problem(row)) is not None]
    for problem in problems:
        text, _, advice = problem.partition(": ")
        yield Finding("ports", "problem", text, advice)
    if not problems:
        yield Finding("ports", "ok", f"free: {', '.join(str(row.port) for row in rows) or 'none is needed'}")


def check_disk(free: int, reserve: int, folder: Path) -> Finding:
    """Check the free space where the journal is."""
    text = f"{free / 2**30:.1f} GiB free for {folder}"
    if free < reserve:
        advice = "free some space: below journal.reserve_mb messages are dropped and declared as gaps"
        return Finding("disk", "problem", text, advice)
    if free < LOW_DISK:
        return Finding(
            "disk", "warning", text, "seven busy venues write several GiB an hour; lower journal.retention_gb"
        )
    return Finding("disk", "ok", text)


def check_clock(offsets_s: Mapping[str, float]) -> Finding:
    """Check this machine's clock against other clocks.

    Args:
        offsets_s: This clock less another, in seconds, by the name of the other.
    """
    if not offsets_s:
        return Finding(
            "clock", "ok", f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} UTC; no other clock was asked"
        )
    name, offset = max(offsets_s.items(), key=lambda item: abs(item[1]))
    text = f"{abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} the clock of {name}"
    if abs(offset) >= CLOCK_PROBLEM_S:
        return Finding("clock", "problem", text, "synchronise this machine's clock (NTP)")
    if abs(offset) >= CLOCK_WARNING_S:
        return Finding("clock", "warning", text, "synchronise this machine's clock (NTP)")
    return Finding("clock", "ok", text)


def http_offset_s(date: str, now: float) -> float:
    """Return this clock less that of an HTTP server, from the header `Date`, which has a resolution of a second."""
    return now - parsedate_to_datetime(date).timestamp() - 0.5


def check_rights(home: Path) -> Iterator[Finding]:
    """Check that this user can write the home, and that other users cannot read it."""
    place = home
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding("rights", "problem", f"{place} cannot be written", "make it writable, or set TAPEDECK_HOME")
    elif place == home and home.stat().st_mode & 0o077:
        yield Finding("rights", "warning", f"{home} can be read by other users", f"chmod 700 {home}")
    elif place == home and home.stat().st_uid != os.geteuid():
        yield Finding("rights", "warning", f"{home} belongs to another user", "run tapedeck as that user")
    else:
        yield Finding("rights", "ok", f"{home} can be written")
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < MIN_FILES:
        yield Finding("rights", "warning", f"a process may open {soft} files only", f"ulimit -n {MIN_FILES}")


def check_secrets(files: Sequence[Path]) -> Iterator[Finding]:
    """Check that other users cannot read the files that may hold a password."""
    for file in files:
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # there is none
        if mode & 0o077:
            text = f"{file} may hold a password and can be read by other users"
            yield Finding("rights", "warning", text, f"chmod 600 {file}")


def check_locks(settings: Settings, running: bool) -> Finding:
    """Check that no process outside a running appliance holds a lock of this home."""
    orphans = [] if running else processes.programs_of(processes.find(settings.home))
    if orphans:
        text = f"programs of an earlier start still run: {', '.join(orphans)}"
        return Finding("locks", "problem", text, f"{hint('down')} ends them, {hint('up')} recovers")
    files = [*sorted(settings.journal.dir.glob("*/lock")), settings.home / "postgres" / "lock"]
    held = [] if running else [file for file in files if locked(file)]
    if held:
        users = processes.file_users(held[0]) or ["another process"]
        return Finding("locks", "problem", f"{held[0]} is held by {', '.join(users)}", "end that process")
    return Finding("locks", "ok", "held by the running appliance" if running else "none is held")


def locked(file: Path) -> bool:
    """Return whether another process holds the lock of a file."""
    try:
        with file.open("r+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def check_network(hosts: Sequence[tuple[str, str, int]]) -> Iterator[Finding]:
    """Check that the venues can be reached: their names resolve and they accept a connection.

    Each host is asked by a process of its own, since a name look-up cannot be interrupted.

    Args:
        hosts: (venue, host, port) of each venue.
    """
    limit = time.monotonic() + NETWORK_S
    with contextlib.ExitStack() as stack:
        asked = []
        for venue, host, port in hosts:
            words = [sys.executable, "-I", "-c", _CONNECT, host, str(port)]
            asked.append((venue, host, stack.enter_context(subprocess.Popen(words, stderr=subprocess.PIPE, text=True))))
        for venue, host, process in asked:
            try:
                _out, reason = process.communicate(timeout=max(0.1, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                reason = f"it did not answer in {NETWORK_S:.0f} s"
            if process.returncode == 0:
                yield Finding("network", "ok", f"{venue}: {host} accepts connections")
            else:
                advice = "check the network, the name server and the firewall"
                yield Finding("network", "problem", f"{venue}: {host}: {reason.strip()}", advice)


def public_hosts(endpoints: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """Return (venue, host, port) of the endpoints that are not on this machine."""
    hosts = []
    for venue, url in endpoints.items():
        parts = urlsplit(url)
        if parts.hostname and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
            hosts.append((venue, parts.hostname, parts.port or (443 if parts.scheme in ("wss", "https") else 80)))
    return hosts


def local_checks(settings: Settings, running: bool) -> Iterator[Finding]:
    """Run every check that needs neither the network nor the database."""
    yield check_python(sys.version_info[:2], f"Python {platform.python_version()} on {platform.system()}")
    yield check_packages()
    yield check_postgres(settings)
    yield from check_ports(settings, running)
    yield check_disk(disk.free_bytes(settings.journal.dir), settings.journal.reserve_mb << 20, settings.journal.dir)
    yield from check_rights(settings.home)
    yield from check_secrets([Path(".env"), *settings.files_with_secrets()])
    yield check_locks(settings, running)
