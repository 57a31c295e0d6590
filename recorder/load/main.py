"""The writer: follows every journal and loads it into Postgres, batch by batch. It knows no venue.

Rows and journal position are stored in one transaction, so a crash at any point repeats or skips nothing. While
Postgres is unavailable the writer waits; the journals grow, its memory does not.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from recorder.appliance import embedded_postgres
from recorder.backoff import Backoff
from recorder.errors import ConfigError, JournalError, NoAnswer, StoreError, StoreUnavailable
from recorder.journal.reader import JournalReader
from recorder.journal.retention import write_claim
from recorder.load.reserve import DiskReserve
from recorder.load.schema import SchemaKeeper
from recorder.load.tail import REPORTED_S, Tail
from recorder.load.watch import Attempt, watching
from recorder.process.health import HealthFile, JournalFigures, WriterFigures
from recorder.process.log import get_logger
from recorder.process.reporting import Health, Rate, reporting
from recorder.process.threads import Part, run
from recorder.settings import Settings
from recorder.store.batch import Loaded
from recorder.store.database import WRITER
from recorder.store.lineage import Known
from recorder.store.loader import STATEMENT_S, Store
from recorder.store.migrate import migrate_of

_POLL_BUSY_S = 0.002
_POLL_IDLE_S = 0.05
_IDLE_AFTER_S = 2.0
_DISCOVER_S = 1.0
_UNREADABLE_S = 5.0
_LOOK_S = 3.0
_NAME_S = 30.0
_STATEMENT_S_PER_MB = 2.0
_LEAVE_S = 2.0
_IDENTIFY_S = 60.0
_CLAIM_S = 60.0

_log = get_logger(__name__)


class Loader:
    """Loads the journals in turn and keeps the counts."""

    def __init__(self, store: Store, folder: Path, settings: Settings) -> None:
        self.attempt = Attempt()
        self.shortage: str | None = None  # why nothing may be loaded though the database is up
        self._store = store
        self._reserve = DiskReserve(settings)
        self._folder = folder
        self._settings = settings
        self._tails: dict[str, Tail] = {}
        self._levels_s: dict[str, float] = {}  # unix seconds, of journals that are to be found again
        self._refused: set[str] = set()  # journals that another writer has locked
        self._gone: set[str] = set()  # journals that were removed while they were loaded
        self.unreadable: dict[str, float] = {}  # journals that cannot be read, and when to try again
        self._discovered_s = self._looked_s = self._named_s = self._identified_s = float("-inf")
        self._dropped: dict[str, float] = {}  # partitions that were dropped, and until when that is reported
        self.databases: tuple[str, Sequence[str]] = ("", ())  # identity of this database, and those of its server
        self.rows = self.duplicates = self.quarantined = self.transactions = 0
        self.database = "Postgres has not answered yet"

    @property
    def tails(self) -> Sequence[Tail]:
        """The journals being loaded."""
        return tuple(self._tails.values())

    def problems(self) -> list[str]:
        """Return what a person should know, most urgent first."""
        problems = [] if self.shortage is None else [self.shortage]
        problems += [f"{name} cannot be read" for name in sorted(self.unreadable)]
        problems += [f"{name} is loaded by another writer" for name in sorted(self._refused)]
        problems += [f"the journal {name} was removed" for name in sorted(self._gone)]
        dropped = [name for name, until_s in sorted(self._dropped.items()) if until_s > time.monotonic()]
        problems += [f"the partition {name} was dropped: a gap declares the loss of its rows" for name in dropped]
        return problems + [problem for tail in self.tails for problem in tail.problems()]

    def late(self, journals: Mapping[str, JournalFigures]) -> list[str]:
        """Return which journals the database is too far behind."""
        limit_s = self._settings.writer.max_lag_s
        late = sorted(((figures.lag_s, name) for name, figures in journals.items()), reverse=True)
        return [
            f"the database is {lag_s:.0f} s behind the journal of {name}" for lag_s, name in late if lag_s > limit_s
        ]

    def step(self) -> bool:
        """Load one batch of every journal that has something.

        Returns:
            Whether anything was loaded.

        Raises:
            StoreUnavailable, ConfigError, StoreError: The batch does not count. Call `reset` before the next step.
        """
        now_s = time.monotonic()
        if now_s - self._looked_s >= _LOOK_S:
            self._look(now_s)
            self._looked_s = now_s
        self.shortage = self._reserve.shortage()
        if self.shortage is not None:
            self.database = "up"
            return False
        if now_s - self._identified_s >= _IDENTIFY_S:
            self.databases = self._store.identity()
            self._identified_s = now_s
        if now_s - self._discovered_s >= _DISCOVER_S:
            self._discover()
            self._discovered_s = now_s
        worked = False
        for name, tail in list(self._tails.items()):
            try:
                batch = tail.batch(int(self._settings.writer.batch_mb * (1 << 20)))
            except (OSError, JournalError) as error:  # concerns this journal only; the others are loaded
                if tail.reader.replaced(tail.place):
                    self._drop_replaced(name)
                else:
                    self._suspend_journal(name, str(error))
                continue
            if batch is not None:
                loaded = self._store.load(batch)
                self.attempt.alive()  # the next journal may have a large batch too
                tail.loaded(loaded.end)
                self._count(loaded)
                worked = True
                self.shortage = self._reserve.shortage()
                if self.shortage is not None:
                    break
        if now_s - self._named_s >= _NAME_S:
            for tail in self._tails.values():
                self._store.name_instruments(tail.reader.venue, tail.names())
            self._store.end_idle_readers()
            self._store.fold_bar_marks()
            self._named_s = now_s
        self.database = "up"
        return worked

    def _look(self, now_s: float) -> None:
        """Notice what was done to the database while it is loaded; also that it answers, when nothing else is asked."""
        dropped = self._store.look()
        if dropped:
            self._dropped |= dict.fromkeys(dropped, now_s + REPORTED_S)

    def reset(self) -> None:
        """Drop all that is known of the database after a failure."""
        for tail in self._tails.values():
            tail.reader.close()
        self._levels_s |= {name: tail.level_s for name, tail in self._tails.items()}
        self._tails.clear()
        self._refused.clear()
        self._discovered_s = self._named_s = self._identified_s = float("-inf")
        self._store.close()

    def _discover(self) -> None:
        """Begin to load journals that are new."""
        try:
            folders = sorted(path.parent for path in self._folder.glob("*/journal.id"))
        except OSError as error:
            self._suspend_journal(str(self._folder), str(error))
            return
        self.unreadable.pop(str(self._folder), None)
        for name, tail in list(self._tails.items()):
            if tail.reader.replaced(tail.place):
                self._drop_replaced(name)
        for folder in folders:
            name = folder.name
            if name in self._tails or self.unreadable.get(name, 0.0) > time.monotonic():
                continue
            try:
                reader = JournalReader(folder)
            except JournalError as error:
                self._suspend_journal(name, str(error))
                continue
            if not self._store.lock(reader.journal_id):
                if name not in self._refused:
                    self._refused.add(name)
                    _log.error("journal.locked", journal=name, action="another writer loads it; this one does not")
                continue
            self._refused.discard(name)
            try:
                tail = Tail(reader, self._known(reader, folders), self._store.last_rows)
                write_claim(folder, self.databases[0], tail.place)
            except (OSError, JournalError) as error:
                reader.close()
                self._suspend_journal(name, str(error))
                continue
            self.unreadable.pop(name, None)
            self._gone.discard(name)
            # Each retry finds the journals again: the lag is since they were level last, not since the retry.
            tail.level_s = min(tail.level_s, self._levels_s.pop(name, tail.level_s))
            self._tails[name] = tail
            _log.info("journal.found", journal=name, position=str(tail.stored), place=str(tail.place))

    def _known(self, reader: JournalReader, folders: Sequence[Path]) -> Known:
        """Return what the database has of a journal, or of the one that it replaces."""
        known = self._store.known(reader.journal_id)
        if known.position is not None and not known.state.replaced_by:
            return known
        present = []
        for folder in folders:
            with contextlib.suppress(JournalError):  # an unreadable one is reported where it is opened
                present.append(JournalReader(folder).journal_id)
        if known.position is not None:
            return self._store.replaced(known, present)
        return self._store.lost_journal(reader.recorder, present) or known

    def _drop_replaced(self, name: str) -> None:
        """Forget a journal whose files were replaced; what is there now is found again at the next step."""
        tail = self._tails.pop(name)
        tail.reader.close()
        self._gone.add(name)
        self._discovered_s = float("-inf")
        _log.warning("journal.replaced", journal=name, position=str(tail.place))

    def _suspend_journal(self, name: str, error: str) -> None:
        """Stop reading a journal for a while."""
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


def load(loader: Loader, migrate: Callable[[], object], batch_s: float) -> Callable[[threading.Event], None]:
    """Return a part that loads until it is stopped, and waits while the database is unavailable.

    The schema is looked at before the first batch of each connection, because the database may be another one by then.
    """

    def body(stop: threading.Event) -> None:
        backoff = Backoff(0.2, 5.0, random.Random())
        migrated = False
        worked_s = time.monotonic()
        while not stop.is_set():
            began_s = time.monotonic()
            loader.attempt.begin()
            try:
                if not migrated:
                    migrate()
                    migrated = True
                    loader.attempt.alive()
                worked = loader.step()
                backoff.reset()
                loader.attempt.answered()
            except (StoreUnavailable, ConfigError, StoreError) as error:
                loader.reset()
                migrated = False
                loader.database = f"down: {error}"
                if isinstance(error, NoAnswer) or loader.attempt.given_up:
                    loader.attempt.timed_out(str(error))
                else:
                    loader.attempt.answered()
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


def health_of(loader: Loader) -> Callable[[], Health]:
    """Return a function that gives the health of the writer."""
    rate = Rate()

    def check() -> Health:
        journals = {tail.reader.folder.name: tail.figures(time.time()) for tail in loader.tails}
        figures = WriterFigures(
            rows=loader.rows,
            rows_per_s=rate.per_s(loader.rows),
            duplicates=loader.duplicates,
            quarantined=loader.quarantined,
            transactions=loader.transactions,
            lag_bytes=sum(journal.lag_bytes for journal in journals.values()),
            database=loader.database,
            journals=journals,
        )
        silent = loader.attempt.sentence()
        if silent is not None:
            return Health("degraded", silent, msgspec.structs.replace(figures, database=f"down: {silent}"))
        if loader.database != "up":
            return Health("waiting", loader.database, figures)
        problems = [*loader.problems(), *loader.late(journals)]
        if problems:
            more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
            return Health("degraded", "; ".join(problems[:3]) + more, figures)
        return Health("live", "", figures)

    return check


def claiming(loader: Loader) -> Part:
    """Return a part that records once a minute how far each journal is loaded; the keeper removes what is behind."""

    def body(stop: threading.Event) -> None:
        while not stop.wait(_CLAIM_S):
            database = loader.databases[0]
            for tail in loader.tails if database else ():
                write_claim(tail.reader.folder, database, tail.place)

    return body


def main(settings: Settings) -> int:
    """Load journals until the process is stopped."""
    url = lambda: embedded_postgres.database_url(settings, WRITER)  # noqa: E731 - known after the server's first start
    admin = lambda: embedded_postgres.database_url(settings, embedded_postgres.SUPERUSER)  # noqa: E731
    store = Store(url, statement_s=STATEMENT_S + settings.writer.batch_mb * _STATEMENT_S_PER_MB)
    schema = SchemaKeeper(admin, lambda: migrate_of(settings))
    loader = Loader(store, settings.journal.dir, settings)
    return run(
        {
            "load": load(loader, schema, settings.writer.batch_ms / 1000),
            "watch": watching(loader.attempt, store.lifeline, url, lambda: store.patience_s),
            "health": reporting(HealthFile(settings.home, "writer"), health_of(loader), settings.monitoring),
            "claims": claiming(loader),
        },
        leave_s={"load": _LEAVE_S, "watch": _LEAVE_S},
    )
