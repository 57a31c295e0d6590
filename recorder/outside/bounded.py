"""Work under a deadline that also ends a wait for a disk or a name server that hangs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any


class Fault(Exception):
    """The check cannot judge; the text says why."""


def bounded(work: Callable[[], object], seconds: float) -> Any:
    """Do work in a child process, since nothing else ends a wait for a disk or a name server that hangs.

    Returns:
        What it returned, through JSON.

    Raises:
        TimeoutError: it did not end in time; it is killed, and not waited for.
        Fault: it raised this.
    """
    sys.stdout.flush()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        try:
            answer = json.dumps([True, work()])
        except Fault as fault:
            answer = json.dumps([False, str(fault)])
        except Exception as error:  # a fault of this script must not pass for a healthy appliance
            answer = json.dumps([False, f"a fault in the check itself: {type(error).__name__}: {error}"])
        with open(writing, "w") as pipe, contextlib.suppress(OSError):
            pipe.write(answer)
        os._exit(0)
    os.close(writing)
    until, data = time.monotonic() + seconds, b""
    with open(reading, "rb", buffering=0) as pipe_end:
        while select.select([pipe_end], [], [], max(0.0, until - time.monotonic()))[0]:
            more = pipe_end.read(65536)
            if not more:
                os.waitpid(child, 0)
                good, value = json.loads(data or b'[false, "the check was killed"]')
                if not good:
                    raise Fault(value)
                return value
            data += more
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    raise TimeoutError
