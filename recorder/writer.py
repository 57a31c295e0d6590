"""The process that loads every journal into Postgres: tail, batch, commit, again. It knows no venue.

Rows and journal position are one transaction, so a crash anywhere repeats or skips nothing. While Postgres
is away it waits; the journals grow, memory does not.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from recorder import postgres, rows
from recorder.backoff import Backoff
from recorder.damage import Hole, ended_in_damage, gaps_of_hole, gaps_of_sections
from recorder.errors import ConfigError, JournalError, StoreError, StoreUnavailable
from recorder.events import Gap
from recorder.health import HealthFile
from recorder.instruments import instrument_id
from recorder.journal_reader import Damaged, JournalReader, Part, StoredBlock
from recorder.log import get_logger
from recorder.migrate import wait_and_migrate
from recorder.position import Position
from recorder.retention import Retention
from recorder.service import run
from recorder.settings import Settings
from recorder.store import Store
from recorder.store_batch import Batch, Damage, Loaded

_POLL_BUSY_S = 0.002
_POLL_IDLE_S = 0.05
_IDLE_AFTER_S = 2.0
_DISCOVER_S = 1.0
_UNREADABLE_S = 5.0
_AHEAD_S = 3600.0
_MIGRATE_WAIT_S = 30.0

_log = get_logger(__name__)


class Tail:
    """One journal on its way into the database."""

    def __init__(self, reader: JournalReader, start: Position | None) -> None:
        self.reader = reader
        self.stored = start  # as the database has it; None before the first batch
        self.lag_bytes = 0
        self._written_ns = 0  # of the last block taken
        self._recalled = False  # whether the reader knows all streams of the segment we began in the middle of
        self._unsure: dict[tuple[str, str], Gap] = {}  # gaps that were open before damage, which may hold their end

    def batch(self, max_bytes: int) -> Batch | None:
        """What comes next; None when nothing does.

        Damage is taken together with the block behind it, since only that tells what was lost.
        """
        reader = self.reader
        start = end = self.stored or reader.first()
        blocks: list[StoredBlock] = []
        damage: list[Damage] = []
        waiting: list[Damage] = []
        hole: Hole | None = None
        for item in reader.read(start, max_bytes, with_frames=True):
            if isinstance(item, Damaged) or item.lost:
                self._recall(item)
            if isinstance(item, Damaged):
                self._unsure |= {key: mark.gap for key, mark in reader.marks.items() if mark.gap is not None}
                waiting.append(Damage(item.position, item.reason))
                hole = hole or Hole(item.position, item.reason, list(reader.marks.values()), self._written_ns)
                continue
            gaps: list[Gap] = []
            if hole is not None:
                gaps += gaps_of_hole(hole, item.header, reader.journal_id)
                hole = None
            if item.lost:
                reason = f"damaged sections: {', '.join(name or 'frames' for name in item.lost)}"
                waiting.append(Damage(item.position, reason))
                gaps += gaps_of_sections(item.position, item.header, item.lost, reader.journal_id, self._written_ns)
            if self._unsure:
                gaps += self._ends(item)
            if gaps:
                item.parts.append(self._gap_part(gaps))
            damage += waiting
            waiting = []
            self._written_ns = item.header.written_ns
            blocks.append(item)
            end = item.next
        if not blocks:
            return None
        for found in damage:
            _log.error("journal.damaged", journal=reader.folder.name, reason=found.reason,
                       segment=found.position.segment, offset=found.position.offset)  # fmt: skip
        return Batch(reader.journal_id, reader.recorder, self.stored, end, blocks, damage)

    def _recall(self, item: StoredBlock | Damaged) -> None:
        """What damage took can only be told from how every stream stood before it."""
        if not self._recalled:
            self._recalled = True
            end = item.position if isinstance(item, Damaged) else item.next
            self._written_ns = max(self._written_ns, self.reader.recall(item.position, end))

    def _ends(self, item: StoredBlock) -> list[Gap]:
        """Ends of gaps that are over by this block and whose own end stood in the damage."""
        ends = []
        for mark in item.header.marks:
            gap = self._unsure.pop((mark.symbol, mark.channel), None)
            if gap is not None and (mark.gap is None or mark.gap.gap_id != gap.gap_id):
                ends.append(ended_in_damage(gap, item.header.written_ns, mark))
        return ends

    def _gap_part(self, gaps: Sequence[Gap]) -> Part:
        ids = {gap.symbol: instrument_id(self.reader.venue, gap.symbol) for gap in gaps}
        return Part("gap", rows.COLUMNS["gap"], len(gaps), rows.encode_gaps(gaps, ids), ())


class Loader:
    """Takes turns between the journals and keeps the figures."""

    def __init__(self, store: Store, folder: Path, settings: Settings) -> None:
        self._store = store
        self._folder = folder
        self._settings = settings
        self._tails: dict[str, Tail] = {}
        self._refused: set[str] = set()  # journals another writer holds
        self.unreadable: dict[str, float] = {}  # journals whose disk fails, and when to try again
        self._discovered_s = self._ahead_s = float("-inf")
        self.rows = self.duplicates = self.quarantined = self.transactions = 0
        self.database = "down: not tried yet"

    @property
    def tails(self) -> Sequence[Tail]:
        """The journals being loaded."""
        return tuple(self._tails.values())

    def step(self) -> bool:
        """Load one batch of every journal that has something.

        Returns:
            Whether anything was loaded.

        Raises:
            StoreUnavailable, ConfigError, StoreError: nothing of the batch counts; positions are asked for anew.
        """
        now_s = time.monotonic()
        if now_s - self._ahead_s >= _AHEAD_S:
            self._store.ensure_ahead(self._settings.writer.partitions_ahead_days)
            self._ahead_s = now_s
        if now_s - self._discovered_s >= _DISCOVER_S:
            self._discover()
            self._discovered_s = now_s
        worked = False
        for name, tail in list(self._tails.items()):
            try:
                batch = tail.batch(int(self._settings.writer.batch_mb * (1 << 20)))
            except OSError as error:  # of this journal alone: the others are loaded
                self._put_aside(name, str(error))
                continue
            if batch is not None:
                loaded = self._store.load(batch)
                tail.stored = loaded.end
                self._count(loaded)
                worked = True
        self.database = "up"
        return worked

    def forget(self) -> None:
        """After a failure: nothing is assumed about what the database has."""
        for tail in self._tails.values():
            tail.reader.close()
        self._tails.clear()
        self._refused.clear()
        self._discovered_s = float("-inf")
        self._store.close()

    def _discover(self) -> None:
        """Take up journals that are new."""
        try:
            folders = sorted(path.parent for path in self._folder.glob("*/journal.id"))
        except OSError as error:
            self._put_aside(str(self._folder), str(error))
            return
        self.unreadable.pop(str(self._folder), None)
        for folder in folders:
            name = folder.name
            if name in self._tails or self.unreadable.get(name, 0.0) > time.monotonic():
                continue
            try:
                reader = JournalReader(folder)
            except JournalError as error:
                self._put_aside(name, str(error))
                continue
            self.unreadable.pop(name, None)
            if not self._store.lock(reader.journal_id):
                if name not in self._refused:
                    self._refused.add(name)
                    _log.error("journal.taken", journal=name, action="another writer loads it; this one does not")
                continue
            self._tails[name] = Tail(reader, self._store.position(reader.journal_id))
            _log.info("journal.found", journal=name, position=str(self._tails[name].stored))

    def _put_aside(self, name: str, error: str) -> None:
        """Leave a journal alone for a while."""
        tail = self._tails.pop(name, None)
        if tail is not None:
            tail.reader.close()
        self.unreadable[name] = time.monotonic() + _UNREADABLE_S
        _log.error("journal.unreadable", journal=name, error=error, retry_s=_UNREADABLE_S)

    def _count(self, loaded: Loaded) -> None:
        total = loaded.total
        self.rows += total.inserted
        self.duplicates += total.duplicate
        self.quarantined += total.quarantined
        self.transactions += 1
        if total.quarantined:
            _log.error("rows.quarantined", rows=total.quarantined, see="SELECT * FROM quarantine WHERE scope = 'row'")


def load(
    loader: Loader, migrate: Callable[[threading.Event], object], batch_s: float
) -> Callable[[threading.Event], None]:
    """A part that loads until told to stop, and waits out a database that is away."""

    def body(stop: threading.Event) -> None:
        backoff = Backoff(0.2, 5.0, random.Random())
        migrated = False
        worked_s = time.monotonic()
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                if not migrated:
                    migrate(stop)
                    migrated = True
                worked = loader.step()
                backoff.reset()
            except (StoreUnavailable, ConfigError, StoreError) as error:
                loader.forget()
                loader.database = f"down: {error}"
                delay_s = max(0.05, backoff.next_s()) if isinstance(error, StoreUnavailable) else 5.0
                _log.warning("store.unavailable", error=str(error)[:300], retry_s=round(delay_s, 2))
                stop.wait(delay_s)
                continue
            if worked:
                worked_s = time.monotonic()
                stop.wait(max(0.0, batch_s - (worked_s - began_s)))
            else:
                stop.wait(_POLL_BUSY_S if time.monotonic() - worked_s < _IDLE_AFTER_S else _POLL_IDLE_S)

    return body


def report(loader: Loader, settings: Settings) -> Callable[[threading.Event], None]:
    """A part that writes health once a second and logs a summary now and then."""
    health = HealthFile(settings.home, "writer")

    def body(stop: threading.Event) -> None:
        last_rows, last_s = 0, time.monotonic()
        summary_s = last_s
        while not stop.wait(1.0):
            now_s = time.monotonic()
            journals = {}
            for tail in loader.tails:
                with contextlib.suppress(OSError):  # the loading part finds it too, and says so
                    tail.lag_bytes = tail.reader.lag_bytes(tail.stored or tail.reader.first())
                journals[tail.reader.folder.name] = {"lag_bytes": tail.lag_bytes}
            metrics = {
                "rows": loader.rows,
                "rows_per_s": round((loader.rows - last_rows) / max(now_s - last_s, 1e-9), 1),
                "duplicates": loader.duplicates,
                "quarantined": loader.quarantined,
                "transactions": loader.transactions,
                "lag_bytes": sum(tail.lag_bytes for tail in loader.tails),
                "database": loader.database,
                "journals": journals,
            }
            last_rows, last_s = loader.rows, now_s
            up = loader.database == "up"
            if up and loader.unreadable:
                health.write("degraded", f"cannot be read: {', '.join(sorted(loader.unreadable))}", metrics)
            else:
                health.write("live" if up else "waiting", "" if up else loader.database, metrics)
            if settings.monitoring.enabled and now_s - summary_s >= settings.monitoring.metrics_interval_s:
                summary_s = now_s
                metrics.pop("journals")
                _log.info("metrics", program="writer", **metrics)
        health.write("stopping")

    return body


def main(settings: Settings) -> int:
    """Load journals until told to stop."""
    url = lambda: postgres.database_url(settings)  # noqa: E731 - known only after the server's first start
    store = Store(url)
    loader = Loader(store, settings.journal.dir, settings)
    retention = Retention(settings.journal)
    return run(
        {
            "load": load(
                loader, lambda stop: wait_and_migrate(url, _MIGRATE_WAIT_S, stop), settings.writer.batch_ms / 1000
            ),
            "health": report(loader, settings),
            "retention": retention.part(lambda: [(tail.reader.folder, tail.stored) for tail in loader.tails]),
        }
    )
