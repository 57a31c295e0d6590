"""A Postgres for tests that can be stopped, killed and started again: the embedded server of bin/postgres."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg2

from recorder.appliance.embedded_postgres import EmbeddedPostgres
from support.machine.ports import free_port

ROOT = Path(__file__).parents[2]
_RUN = """
import pathlib, sys
from recorder.appliance.embedded_postgres import EmbeddedPostgres
EmbeddedPostgres(pathlib.Path(sys.argv[1]), int(sys.argv[2])).run()
"""


def wait_until_answers(url: str, deadline_s: float = 30.0) -> None:
    """Return once a server accepts connections."""
    deadline = time.monotonic() + deadline_s
    pause = threading.Event()
    while True:
        try:
            psycopg2.connect(url, connect_timeout=2).close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > deadline:
                raise
            pause.wait(0.05)


class DatabaseServer:
    """An embedded server with its own folder and port."""

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.embedded = EmbeddedPostgres(home, self.port)
        self.log = home / "postgres.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return the process number of the server, which is the process that was started."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Return the address of one of its databases, for the superuser."""
        return self.embedded.url(database)

    def launch(self) -> "subprocess.Popen[bytes]":
        """Start the server without waiting for it."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _RUN, str(self.home), str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        return self._process

    def start(self) -> None:
        """Start the server, and return once it answers."""
        process = self.launch()
        deadline = time.monotonic() + 60
        pause = threading.Event()
        while not (self.embedded.data / "postmaster.pid").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"postgres did not start: {self.log.read_text()[-2000:]}")
            pause.wait(0.02)
        wait_until_answers(self.url())

    def stop(self) -> None:
        """Stop the server as supervisord does."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._reap()

    def kill(self) -> None:
        """Kill the server process with SIGKILL; its backends notice by themselves."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def pause(self) -> None:
        """Stop the process with SIGSTOP, so that connections stay open and get no answer."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def hang(self) -> None:
        """Stop the server and all its backends with SIGSTOP: it accepts connections, and answers nothing."""
        self.pause()
        for child in self._children():
            os.kill(child, signal.SIGSTOP)

    def recover(self) -> None:
        """Undo `hang`."""
        for child in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGCONT)
        self.resume()

    def _children(self) -> list[int]:
        found = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        return [int(child) for child in found.split()]

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=60)
            self._process = None
