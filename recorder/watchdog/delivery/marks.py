"""What a person has noted about alerts: that one is acknowledged, and that a rule is silent for a time.

`<home>/watchdog/marks.json` has them; commands write it, the watchdog reads it. So both work without the other, and
without Postgres.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from recorder.errors import ConfigError
from recorder.printable import printable
from recorder.process import files
from recorder.process.log import Sparingly, get_logger
from recorder.watchdog import FOLDER
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import Marked

SILENCE_MAX_S = 30 * 86_400.0
"""The longest silence: it ends by itself."""
_MOST = 1_000  # of each kind
_SIZE_MAX = 4 << 20
_LOCK_S = 5.0

_log = get_logger(__name__)


class Ack(msgspec.Struct, frozen=True):
    """An alert that a person has seen. Times are unix seconds."""

    alert_id: int
    at: float
    note: str = ""


class Silence(msgspec.Struct, frozen=True):
    """A rule that sends nothing for a time. Times are unix seconds."""

    rule: str
    subject: str | None  # None: all subjects of the rule
    made_at: float
    until: float
    note: str = ""

    def active(self, now: float) -> bool:
        """Return whether it holds; a clock that was set far back does not make it longer."""
        return self.made_at - 3600 <= now < min(self.until, self.made_at + SILENCE_MAX_S)

    def covers(self, rule: str, subject: str) -> bool:
        """Return whether it is about an alert."""
        return self.rule == rule and self.subject in (None, subject)


class Marks(msgspec.Struct, frozen=True):
    """All of them."""

    acks: tuple[Ack, ...] = ()
    silences: tuple[Silence, ...] = ()

    def acknowledged(self, alert_id: int) -> bool:
        """Return whether a person has seen an alert."""
        return any(ack.alert_id == alert_id for ack in self.acks)

    def silenced_until(self, rule: str, subject: str, now: float) -> float | None:
        """Return the end of the longest silence that covers an alert, unix seconds; None without one."""
        return max((one.until for one in self.silences if one.active(now) and one.covers(rule, subject)), default=None)


def marked(marks: Marks, alert: Alert, before: Marked, now: float) -> Marked:
    """Return what table alert says of an alert besides the alert itself.

    Args:
        marks: Of now. They forget what is long over, the table does not.
        alert: The alert.
        before: What the table says already.
        now: Unix seconds.
    """
    acknowledged_at, note, until = before.acknowledged_at, before.note, before.silenced_until
    ack = next((one for one in marks.acks if one.alert_id == alert.alert_id), None)
    if ack is not None:
        acknowledged_at, note = ack.at, printable(ack.note)
    if alert.state == "firing":
        kept = until if until is not None and until <= now else None  # a later end was called off
        active = marks.silenced_until(alert.rule, alert.subject, now)
        until = kept if active is None else active
    return Marked(acknowledged_at, note, until)


class MarksFile:
    """Reads the marks of a home whenever they have changed."""

    def __init__(self, home: Path) -> None:
        self._path = path_of(home)
        self._seen: tuple[int, int, int] | None = None
        self._marks = Marks()
        self._complaints = Sparingly()

    def read(self) -> Marks:
        """Return the marks; after a fault those that were read last."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._marks = None, Marks()
            return self._marks
        except OSError as error:
            self._complain(str(error))
            return self._marks
        seen = found.st_ino, found.st_mtime_ns, found.st_size
        if seen != self._seen:
            try:
                self._marks = _decoded(self._path)
            except ConfigError as error:
                self._complain(str(error))
            self._seen = seen
        return self._marks

    def _complain(self, reason: str) -> None:
        if self._complaints.turn(time.monotonic()) is not None:
            _log.warning("marks.unreadable", error=reason)


def path_of(home: Path) -> Path:
    """Return where the marks of a home are."""
    return home / FOLDER / "marks.json"


def read_marks(home: Path) -> Marks:
    """Return the marks of a home; none where there is no file.

    Raises:
        ConfigError: the file cannot be read.
    """
    return _decoded(path_of(home))


def change(home: Path, now: float, edit: Callable[[Marks], Marks]) -> Marks:
    """Change the marks durably; what is over is left out.

    Args:
        home: State directory of the appliance.
        now: Unix seconds.
        edit: Returns the new marks.

    Raises:
        ConfigError: the file cannot be read or written, or another command holds it.
    """
    path = path_of(home)
    try:
        files.make_home(path.parent)
        lock = os.open(path.with_name("marks.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(lock)
            edited = edit(_decoded(path))
            kept = Marks(
                edited.acks[-_MOST:],
                tuple(one for one in edited.silences if one.active(now) or one.made_at > now)[-_MOST:],
            )
            files.write(path, msgspec.json.encode(kept))
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(f"{path} cannot be changed: {error.strerror or error}") from None
    return kept


def _lock(file: int) -> None:
    pause = threading.Event()
    for _ in range(int(_LOCK_S / 0.05)):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(0.05)
        else:
            return
    raise ConfigError("another command changes the marks of alerts right now; try again")


def _decoded(path: Path) -> Marks:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_SIZE_MAX), type=Marks)
    except FileNotFoundError:
        return Marks()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {str(error)[:200]}; remove it to begin again") from None
