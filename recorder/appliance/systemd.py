"""Reports to the service manager, in the protocol of sd_notify(3)."""

import socket
from contextlib import suppress

from recorder.printable import one_line

VARIABLE = "NOTIFY_SOCKET"


def notify_ready(address: str, status: str) -> None:
    """Report that the service is ready.

    Args:
        address: Value of NOTIFY_SOCKET: a path, or @ and an abstract name. Empty where no service manager listens.
        status: A sentence about the service, which `systemctl status` shows.
    """
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        place = f"\0{address[1:]}" if address.startswith("@") else address
        sender.sendto(f"READY=1\nSTATUS={one_line(status)}\n".encode(), place)
