"""TCP ports of 127.0.0.1 for tests, which no other test and no outgoing connection takes.

The ports lie below those that Linux gives to outgoing connections (32768 and up): a port of that range may be free when
a test asks and taken a moment later by any client. A block of ports belongs to one process at a time by a lock on a
file, which ends with the process; so test runs beside each other do not meet.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recorder import portmap

_BLOCKS = range(10_000, 32_600, portmap.RANGE)
_held: list[int] = []  # descriptors of the locks


def free_port_base() -> int:
    """Return a base for all ports of one appliance; they are this process's until it ends."""
    folder = Path(tempfile.gettempdir()) / f"tapedeck-test-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for base in random.sample(_BLOCKS, len(_BLOCKS)):
        lock = os.open(folder / str(base), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if all(map(_free, range(base, base + portmap.RANGE))):
            _held.append(lock)
            return base
        os.close(lock)
    raise AssertionError("every block of test ports is in use")


def free_port() -> int:
    """Return one port that is free now and that is given to no other test."""
    return next(_single_ports)


def _singles() -> Iterator[int]:
    while True:
        base = free_port_base()
        yield from filter(_free, range(base, base + portmap.RANGE))


_single_ports = _singles()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
