"""Who hears of alerts, and the book of alerts on disk, which Postgres gets a copy of when it is up.

`<home>/watchdog/alerts.json` has the alerts that fire and the last ones that are over; `round.json` has what a round
leaves to the next one: conditions, counters, silences. A restart of the watchdog continues from both.
"""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from recorder.process import files
from recorder.process.log import get_logger
from recorder.watchdog import FOLDER
from recorder.watchdog.alerts import Alert, Change, Held, Severity, alert_of
from recorder.watchdog.totals import Total

MOST_ALERTS = 1_000  # in the book; older ones are in table alert
_MOST_HELD = 1_000

_log = get_logger(__name__)


class Marked(msgspec.Struct, frozen=True):
    """What a person has noted about an alert, as table alert has it. Times are unix seconds."""

    acknowledged_at: float | None = None
    note: str = ""  # of the acknowledgement
    silenced_until: float | None = None


class Record(msgspec.Struct):
    """An alert, and what Postgres has of it."""

    alert: Alert
    stored: int = 0  # its revision
    marked: Marked = Marked()


class Memory(msgspec.Struct):
    """What a round leaves to the next one."""

    held: list[Held] = []
    totals: dict[str, Total] = {}
    quiet_s: dict[str, float] = {}
    kinds: dict[str, float] | None = None


class Delivery(Protocol):
    """Gets every change of an alert."""

    def deliver(self, change: Change, severity: Severity, alert: Alert | None) -> None:
        """Take a change; never waits.

        Args:
            change: What became of the condition.
            severity: Of its rule.
            alert: The alert as it is now; None for a condition that has not fired.
        """
        ...


class LogDelivery:
    """Writes every change into the log of the program."""

    def deliver(self, change: Change, severity: Severity, alert: Alert | None) -> None:
        """Log a change: a page that fires is an error, a ticket a warning."""
        held = change.held
        log = _log.debug
        if alert is not None:
            log = {"page": _log.error, "ticket": _log.warning}.get(severity, _log.info)
            log = log if change.to == "firing" else _log.info
        log(f"alert.{change.to}", rule=held.rule, subject=held.subject, severity=severity, summary=held.text)


class AlertBook:
    """All alerts that fire, and the last ones that are over. Threads may share it."""

    def __init__(self, home: Path) -> None:
        self._path = home / FOLDER / "alerts.json"
        self._lock = threading.Lock()
        self._records = {record.alert.alert_id: record for record in read_records(home)}
        self._changed = False

    def deliver(self, change: Change, severity: Severity, alert: Alert | None) -> None:
        """Take a change; `save` writes it."""
        if alert is None:
            return
        with self._lock:
            record = self._records.setdefault(alert.alert_id, Record(alert))
            record.alert = alert
            self._changed = True

    def note_action(self, alert_id: int, action: str) -> None:
        """Note what the watchdog does about an alert; `save` writes it."""
        with self._lock:
            record = self._records.get(alert_id)
            if record is not None and record.alert.action != action:
                revision = record.alert.revision + 1
                record.alert = msgspec.structs.replace(record.alert, action=action, revision=revision)
                self._changed = True

    def alert(self, change: Change, severity: Severity) -> Alert | None:
        """Return the alert after a change; None for a condition that has not fired."""
        if change.to not in ("firing", "resolved"):
            return None
        with self._lock:
            record = self._records.get(change.held.alert_id)
        return alert_of(change, severity, None if record is None else record.alert)

    def alerts(self) -> list[Alert]:
        """Return all alerts, the newest first."""
        with self._lock:
            return sorted((one.alert for one in self._records.values()), key=lambda one: one.fired_at, reverse=True)

    def unsaved(self, marked: Callable[[Alert, Marked], Marked]) -> list[Record]:
        """Return the alerts that Postgres lacks, or of which it has other marks, as it should have them.

        Args:
            marked: Returns the marks of an alert, given those that Postgres has.
        """
        with self._lock:
            wanted = [(one, marked(one.alert, one.marked)) for one in self._records.values()]
            lacking = [
                Record(one.alert, one.alert.revision, marks)
                for one, marks in wanted
                if one.stored < one.alert.revision or one.marked != marks
            ]
        return sorted(lacking, key=lambda record: record.alert.fired_at)[:100]

    @property
    def unsaved_count(self) -> int:
        """How many alerts Postgres lacks."""
        with self._lock:
            return sum(one.stored < one.alert.revision for one in self._records.values())

    def saved(self, records: Sequence[Record]) -> None:
        """Note that Postgres has these, as `unsaved` returned them; the next `save` writes it."""
        with self._lock:
            for saved in records:
                record = self._records.get(saved.alert.alert_id)
                if record is not None:
                    record.stored, record.marked = max(record.stored, saved.stored), saved.marked
            self._changed = True

    def save(self) -> bool:
        """Write the book where it changed, durably; return False when the disk does not take it."""
        with self._lock:
            if not self._changed:
                return True
            over = sorted(
                (one for one in self._records.values() if one.alert.state == "resolved"),
                key=lambda one: (one.stored < one.alert.revision, one.alert.fired_at),
            )
            for one in over[: max(0, len(self._records) - MOST_ALERTS)]:
                del self._records[one.alert.alert_id]
            encoded = msgspec.json.encode(list(self._records.values()))
            self._changed = False
        try:
            files.make_home(self._path.parent)
            files.write(self._path, encoded)
        except OSError as error:
            self._changed = True
            _log.warning("alerts.not_saved", error=str(error))
            return False
        return True


def read_records(home: Path) -> list[Record]:
    """Return the alerts on disk; none where there is no file, or a damaged one."""
    path = home / FOLDER / "alerts.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Record])
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("alerts.unreadable", path=str(path), error=str(error)[:200])
        return []


def read_memory(home: Path, alerts: Sequence[Alert]) -> Memory:
    """Return what the last round left, in agreement with the alerts.

    Args:
        home: State directory of the appliance.
        alerts: Of the book: a kill between the two files leaves one of them older.
    """
    path = home / FOLDER / "round.json"
    try:
        memory = msgspec.json.decode(path.read_bytes(), type=Memory)
    except FileNotFoundError:
        memory = Memory()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("memory.unreadable", path=str(path), error=str(error)[:200])
        memory = Memory()
    firing = {(one.rule, one.subject): one for one in alerts if one.state == "firing"}
    held = {one.key: one for one in memory.held[:_MOST_HELD] if one.firing == (one.key in firing)}
    for key, alert in firing.items():
        if key not in held:
            held[key] = Held(
                alert.rule, alert.subject, alert.summary, alert.value, alert.started_at, 0.0, 0.0, alert.alert_id,
                alert.fired_at,
            )  # fmt: skip
    memory.held = list(held.values())
    return memory


def write_memory(home: Path, memory: Memory) -> bool:
    """Replace what a round leaves to the next one; return False when the disk does not take it.

    It is not synced: after a power cut the counters of all programs begin again anyway.
    """
    path = home / FOLDER / "round.json"
    draft = path.with_name(f"round.json.{os.getpid()}.new")
    try:
        files.make_home(path.parent)
        draft.write_bytes(msgspec.json.encode(memory))
        draft.replace(path)
    except OSError as error:
        _log.warning("memory.not_saved", error=str(error))
        return False
    return True
