"""The restarts that the watchdog has made, on disk; Postgres gets a copy when it is up.

`<home>/watchdog/restarts.json` is replaced durably before a program is touched, so that no kill lets the watchdog
forget that it has restarted something.
"""

import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from recorder.process import files
from recorder.process.log import get_logger
from recorder.watchdog import FOLDER
from recorder.watchdog.acting.policy import Memory, Stuck
from recorder.watchdog.delivery.message import utc

MOST = 200  # in the file; older ones are in table program_restart
_SIZE_MAX = 4 << 20
_REASON_LENGTH = 200

Outcome = Literal["running", "restarted", "failed", "unknown"]

_log = get_logger(__name__)


class Restart(msgspec.Struct):
    """One restart. Times are unix seconds."""

    restart_id: int
    program: str
    pid: int  # of the process that was stuck
    still_s: float  # how long nothing of it had moved
    started_at: float
    ended_at: float | None = None
    outcome: Outcome = "running"  # unknown: the watchdog ended meanwhile
    killed: bool = False  # because it did not end by itself
    reason: str = ""  # of a failure
    revision: int = 1
    stored: int = 0  # the revision that Postgres has


class _File(msgspec.Struct):
    memory: Memory = msgspec.field(default_factory=Memory)
    restarts: list[Restart] = []


class RestartBook:
    """All restarts that are known here. Threads may share it.

    Attributes:
        memory: What the policy must not forget; `save` writes it with the restarts.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / FOLDER / "restarts.json"
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        found = _read(self._path)
        self.memory = found.memory
        self._restarts = found.restarts[-MOST:]
        for one in self._restarts:
            if one.outcome == "running":
                one.outcome, one.reason = "unknown", "the watchdog ended meanwhile"
                one.revision += 1

    def begin(self, stuck: Stuck, now: float) -> Restart | None:
        """Note a restart durably before it is made; None where the disk does not take it: then none must be made.

        Args:
            stuck: The program.
            now: Unix seconds.
        """
        restart = Restart(secrets.randbits(62) + 1, stuck.program, stuck.pid, stuck.still_s, now)
        with self._lock:
            self._restarts = [*self._restarts[1 - MOST :], restart]
        if not self.save():
            with self._lock:
                self._restarts.remove(restart)
            return None
        with self._lock:
            self._counts[stuck.program] = self._counts.get(stuck.program, 0) + 1
        return restart

    def end(self, restart: Restart, outcome: Outcome, now: float, *, killed: bool, reason: str = "") -> None:
        """Note what became of a restart."""
        with self._lock:
            restart.outcome, restart.killed, restart.reason = outcome, killed, reason[:_REASON_LENGTH]
            restart.ended_at = max(now, restart.started_at)
            restart.revision += 1
        self.save()

    def save(self) -> bool:
        """Write the file durably; return False when the disk does not take it."""
        with self._lock:
            encoded = msgspec.json.encode(_File(self.memory, self._restarts))
        try:
            files.make_home(self._path.parent)
            files.write(self._path, encoded)
        except OSError as error:
            _log.warning("restarts.not_saved", error=str(error))
            return False
        return True

    @property
    def counts(self) -> Mapping[str, int]:
        """Restarts since the start of the watchdog, by program."""
        with self._lock:
            return dict(self._counts)

    def action(self, program: str, since: float, until: float | None) -> str:
        """Return for a person what was done about a program in a time; empty where nothing was.

        Args:
            program: Its name.
            since: Unix seconds.
            until: Its end; None while it goes on.
        """
        with self._lock:
            done = [
                one
                for one in self._restarts
                if one.program == program and since <= one.started_at and (until is None or one.started_at <= until)
            ]
            if not done:
                return ""
            last = done[-1]
            at = utc(last.started_at)
            text = {
                "running": f"being restarted since {at}",
                "restarted": f"restarted at {at}",
                "failed": f"could not be restarted at {at}: {last.reason}",
                "unknown": f"restarted at {at}, and {last.reason}",
            }[last.outcome]
            if last.killed:
                text += ", killed because it did not end by itself"
            return text if len(done) == 1 else f"{text}, the last of {len(done)} restarts"

    def unsaved(self) -> list[Restart]:
        """Return the restarts that Postgres lacks, the oldest first."""
        with self._lock:
            return [msgspec.structs.replace(one) for one in self._restarts if one.stored < one.revision]

    def saved(self, restarts: Sequence[Restart]) -> None:
        """Note that Postgres has these restarts."""
        revisions = {one.restart_id: one.revision for one in restarts}
        with self._lock:
            for one in self._restarts:
                one.stored = max(one.stored, revisions.get(one.restart_id, 0))
        self.save()


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_SIZE_MAX), type=_File)
    except FileNotFoundError:
        return _File()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("restarts.unreadable", path=str(path), error=str(error)[:200])
        return _File()
