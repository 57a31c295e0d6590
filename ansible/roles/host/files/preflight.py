#!/usr/bin/env python3
"""Check whether a machine can take a deployment, before anything on it is changed. Python 3.9 or later, no packages.

usage: preflight.py REQUIREMENTS   (a JSON object; `Requirements` below has its keys)

Prints every finding, one a line: its level, its subject, what was found, and what to do. Exit code 1 when one of them
is a problem. It opens sockets and reads files; it writes nothing.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
import socket
import ssl
import struct
import sys
from typing import NamedTuple

BYTES_PER_MESSAGE = 450  # journal and tables together, docs/operate.md
DAY_S = 86_400
WAL_GIB = 4
MEMORY_BASE_MIB, MEMORY_PER_PROGRAM_MIB = 1_024, 96
CONNECT_S = 5.0
UNSYNCHRONISED = 0x40  # STA_UNSYNC, adjtimex(2)
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
SUPPORTED = {"debian": 12, "ubuntu": 24}  # the first release with Python 3.11 or later


class Requirements(NamedTuple):
    """What the inventory asks of this machine."""

    messages_per_s: float
    days: float  # that the disk must hold
    folder: str  # of the state
    programs: float
    ports: list[int]  # on 127.0.0.1
    names: list[str]  # of hosts that must resolve
    database: str  # host:port of a server elsewhere, or ""
    database_tls: bool
    time_service: str  # chrony: the deployment installs it; existing: one runs already; none: the clock is not ours
    init: str  # systemd or none; "" where nothing is started


class Finding(NamedTuple):
    """The result of one check."""

    level: str  # ok, warning, problem
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f": {self.advice}" if self.advice else ""
        return f"{self.level:<8} {self.subject:<9} {self.text}{advice}"


def check_system() -> Finding:
    """Check the system: Debian or Ubuntu, because packages come from apt."""
    fields = {}
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            for line in file:
                key, _, value = line.strip().partition("=")
                fields[key] = value.strip('"')
    except OSError:
        return Finding("problem", "system", "there is no /etc/os-release", "use Debian 12 or Ubuntu 24.04, or later")
    name, version = fields.get("ID", ""), fields.get("VERSION_ID", "")
    text = fields.get("PRETTY_NAME", name)
    if name not in SUPPORTED:
        return Finding("problem", "system", f"{text} is not supported", "use Debian 12 or Ubuntu 24.04, or later")
    if version and float(version) < SUPPORTED[name]:
        return Finding("problem", "system", f"{text} is too old", "use Debian 12 or Ubuntu 24.04, or later")
    return Finding("ok", "system", f"{text} on {platform.machine()}")


def check_python() -> Finding:
    """Check the Python of the system, which every release is built on."""
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        advice = "install Python 3.11, 3.12 or 3.13 as python3"
        return Finding("problem", "python", f"python3 is {platform.python_version()}", advice)
    return Finding("ok", "python", f"python3 is {platform.python_version()}")


def check_init(wanted: str) -> Finding:
    """Check that the service manager of the inventory runs here."""
    found = "systemd" if os.path.isdir("/run/systemd/system") else "none"
    if wanted == "systemd" and found != "systemd":
        return Finding("problem", "init", "systemd does not run here", "set app_init: none, which uses cron")
    return Finding("ok", "init", f"{wanted} starts the appliance")


def check_disk(required: Requirements) -> Finding:
    """Check the free disk against what the expected rate of messages writes."""
    place = required.folder
    while not os.path.isdir(place):
        place = os.path.dirname(place) or "/"
    usage = shutil.disk_usage(place)
    used = folder_bytes(required.folder)
    needed = required.messages_per_s * BYTES_PER_MESSAGE * DAY_S * required.days + (WAL_GIB << 30)
    have = usage.free + used
    text = (
        f"{have / 2**30:.0f} GiB for {required.folder}; {required.messages_per_s:g} messages/s over "
        f"{required.days:g} days need {needed / 2**30:.0f} GiB"
    )
    if have < needed:
        return Finding(
            "problem", "disk", text, "give it a larger disk, or expect less (host_messages_per_s, host_days)"
        )
    return Finding("ok", "disk", text)


def folder_bytes(folder: str) -> int:
    """Return the space that files below a folder use; 0 where it cannot be read."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


def check_memory(programs: float) -> Finding:
    """Check the memory against the number of programs."""
    needed = MEMORY_BASE_MIB + MEMORY_PER_PROGRAM_MIB * programs
    with open("/proc/meminfo", encoding="ascii") as file:
        have = int(next(line for line in file if line.startswith("MemTotal:")).split()[1]) >> 10
    text = f"{have} MiB; {programs:g} programs and Postgres need {needed:g} MiB"
    if have < needed:
        return Finding("problem", "memory", text, "give it more memory, or record fewer venues here (app_venues)")
    return Finding("ok", "memory", text)


def check_clock(time_service: str) -> Finding:
    """Check what the kernel says about its clock."""
    buffer = ctypes.create_string_buffer(512)  # struct timex, modes = 0: only read
    state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    status = struct.unpack_from("@Illlli", buffer)[5]
    if state < 0:
        return Finding("warning", "clock", "the kernel does not say whether it is synchronised")
    if status & UNSYNCHRONISED:
        text = "no time service synchronises the clock"
        if time_service == "chrony":
            return Finding("warning", "clock", text, "the deployment installs chrony")
        if time_service == "none":
            return Finding("warning", "clock", text, "the machine it runs on must keep the time")
        return Finding("problem", "clock", text, "set host_time_service: chrony, or have the machine's own clock set")
    return Finding("ok", "clock", "synchronised")


def runs_here(folder: str) -> bool:
    """Return whether the appliance runs here already, so that its ports are in use."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.path.join(folder, "supervisor.sock"))
        except OSError:
            return False
        return True


def check_ports(ports: list[int]) -> list[Finding]:
    """Check that nothing listens on the ports of the appliance."""
    findings = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                text = f"port {port} cannot be used ({error.strerror})"
                findings.append(Finding("problem", "ports", text, "stop what uses it, or set app_port_base"))
    return findings or [Finding("ok", "ports", f"free: {', '.join(map(str, ports)) or 'none is needed'}")]


def check_names(names: list[str]) -> list[Finding]:
    """Check that names of other hosts resolve."""
    findings = []
    for name in names:
        try:
            socket.getaddrinfo(name, None)
        except OSError as error:
            advice = "check the name server, /etc/hosts, and the spelling in the inventory"
            findings.append(Finding("problem", "names", f"{name} does not resolve ({error.strerror})", advice))
    return findings or [Finding("ok", "names", f"resolved: {', '.join(names) or 'none is needed'}")]


def check_database(address: str, tls: bool) -> Finding | None:
    """Check that the Postgres of another host answers, and speaks TLS where it must."""
    if not address:
        return None
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S) as connection:
            connection.sendall(SSL_REQUEST)
            answer = connection.recv(1)
            if answer == b"S":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # libpq verifies, with its own file
                context.wrap_socket(connection).close()
    except (OSError, ValueError) as error:
        advice = "check the address, the firewall, and listen_addresses of the server"
        return Finding("problem", "database", f"{address} does not answer ({error})", advice)
    if answer not in (b"S", b"N"):
        return Finding("problem", "database", f"{address} is no Postgres", "check the address")
    if answer == b"N" and tls:
        return Finding("problem", "database", f"{address} does not speak TLS", "set `ssl = on` there")
    return Finding("ok", "database", f"{address} answers{' with TLS' if answer == b'S' else ''}")


def examine(required: Requirements) -> list[Finding]:
    """Run every check."""
    findings = [
        check_system(),
        check_python(),
        *([check_init(required.init)] if required.init else []),
        check_disk(required),
        check_memory(required.programs),
        check_clock(required.time_service),
        *([] if runs_here(required.folder) else check_ports(required.ports)),
        *check_names(required.names),
    ]
    database = check_database(required.database, required.database_tls)
    return findings if database is None else [*findings, database]


def main(words: list[str]) -> int:
    """Print the findings; return 1 when one of them is a problem."""
    given = json.loads(words[0])
    for name in ("messages_per_s", "days", "programs"):
        given[name] = float(given[name])
    findings = examine(Requirements(**given))
    for finding in findings:
        print(finding)
    return 1 if any(finding.level == "problem" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
