"""Requests of a person to the running program: a small file each, in a folder of the home, and its answer beside it.

Only the owner of the home can write there. A file and not a socket: whoever asks may ask before the program is ready.
"""

import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from recorder.poller.job import Job
from recorder.poller.journal import RunRow
from recorder.process import files
from recorder.process.log import get_logger

_EVERY_S = 0.5
_OLD_S = 600.0
_LARGEST = 1000  # bytes of a request
_TOKEN = re.compile(r"[0-9a-f]{16}\.request")

_log = get_logger(__name__)


class Request(msgspec.Struct, frozen=True):
    """A round of a job that a person asks for."""

    job: str


class Reply(msgspec.Struct, frozen=True):
    """What became of a request: a round, or a sentence that says why there was none."""

    run: RunRow | None
    refused: str = ""


Run = Callable[[str, Callable[[RunRow | None], None]], None]
"""Runs a round of a job soon, and then calls a function with what became of it."""


class Requests:
    """The folder of requests.

    Args:
        home: Of the appliance.
    """

    def __init__(self, home: Path) -> None:
        self._folder = home / "poll"

    def ask(self, job: str) -> str:
        """Leave a request, and return its token.

        Raises:
            OSError: the home cannot be written.
        """
        files.make_home(self._folder)
        token = secrets.token_hex(8)
        files.write(self._folder / f"{token}.request", msgspec.json.encode(Request(job)))
        return token

    def reply(self, token: str) -> Reply | None:
        """Return the answer to a request, once; None as long as there is none."""
        path = self._folder / f"{token}.reply"
        try:
            found = msgspec.json.decode(path.read_bytes(), type=Reply)
        except FileNotFoundError:
            return None
        path.unlink(missing_ok=True)
        return found

    def withdraw(self, token: str) -> bool:
        """Take a request back; return whether no program has read it."""
        try:
            (self._folder / f"{token}.request").unlink()
        except FileNotFoundError:
            return False
        return True

    def part(self, jobs: Mapping[str, Job], run: Run) -> Callable[[threading.Event], None]:
        """Return a part that answers requests until it is stopped."""

        def body(stop: threading.Event) -> None:
            while not stop.wait(_EVERY_S):
                try:
                    self._answer(jobs, run)
                except OSError as error:  # the program can do without this folder
                    _log.warning("poll.requests_unreadable", error=str(error))
                    stop.wait(_OLD_S)

        return body

    def _answer(self, jobs: Mapping[str, Job], run: Run) -> None:
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            if time.time() - path.stat().st_mtime > _OLD_S:
                path.unlink(missing_ok=True)  # whoever asked has gone
            elif _TOKEN.fullmatch(path.name):
                try:
                    with path.open("rb") as file:
                        request = msgspec.json.decode(file.read(_LARGEST), type=Request)
                except (FileNotFoundError, msgspec.MsgspecError):
                    path.unlink(missing_ok=True)
                    continue
                path.unlink(missing_ok=True)
                self._run(path.with_suffix(".reply"), request.job, jobs, run)

    def _run(self, path: Path, name: str, jobs: Mapping[str, Job], run: Run) -> None:
        if name not in jobs:
            self._write(path, Reply(None, f"the running poller has no job {name}"))
            return
        busy = Reply(None, f"a round of {name} is running already, or the poller stops")
        run(name, lambda done: self._write(path, busy if done is None else Reply(done)))

    def _write(self, path: Path, reply: Reply) -> None:
        try:
            files.write(path, msgspec.json.encode(reply))
        except OSError as error:
            _log.warning("poll.reply_not_written", error=str(error))
