"""The program `deriver`: keeps the bars in Postgres equal to what the trades and gaps in Postgres say.

It follows the marks that triggers write in the transactions of the writer, so it needs no position of its own: what is
not derived yet is marked, and a kill at any place leaves the marks. NOTIFY only wakes it.
"""

import importlib.util
import random
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import psycopg2.errors

from analysis.workers import bar_sql
from analysis.workers.derivation import Derivation
from recorder.appliance import embedded_postgres
from recorder.backoff import Backoff
from recorder.errors import ConfigError, StoreError, StoreUnavailable
from recorder.printable import one_line
from recorder.process import program
from recorder.process.health import DeriverFigures, HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import Health, Rate, reporting
from recorder.process.threads import Part, run
from recorder.settings import DeriverSettings, Settings
from recorder.store.database import DERIVER, Connection, classify, connect

if TYPE_CHECKING:
    from analysis.workers.bar_values import BarValues
    from analysis.workers.snapshot_values import SnapshotValues

NEEDED = ("numpy", "talib", "polars", "pyarrow", "adbc_driver_postgresql")
"""Packages that indicators and features need; bars need none of them."""

_STATEMENT_S = 300.0  # a day of the busiest instruments
_WAKE_S = 0.25  # longest wait for a notification, so that a stop is noticed
_LEAVE_S = 2.0

_log = get_logger(__name__)


class Deriver:
    """Derives bars as long as it is not stopped, and waits while Postgres is away."""

    def __init__(self, url: Callable[[], str], settings: DeriverSettings) -> None:
        """
        Args:
            url: Returns the address of the database; it is unknown before the first start of the embedded server.
            settings: Its group of settings.
        """
        self.derivation = Derivation(settings.lateness_s)
        self.database = "Postgres has not answered yet"
        self._url = url
        self._settings = settings
        self.lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        self.values = 0  # bars whose indicators and features were computed
        self.snapshots = 0  # whose features were computed
        self.failed = 0  # snapshots of which none could be computed
        self.ranges = 0  # that are marked to be derived again
        self._mark_s = 0.0  # age of the oldest other mark when it was looked at last
        self._looked_s = time.monotonic()

    @property
    def lag_s(self) -> float:
        """Return for how long a change of trades may not be in the bars yet, less the wait of bars that form."""
        unseen_s = max(0.0, time.monotonic() - self._looked_s - 2 * self._settings.forming_s)
        return self._mark_s + unseen_s

    def part(self, stop: threading.Event) -> None:
        """Derive until it is stopped."""
        backoff = Backoff(0.2, 5.0, random.Random())
        while not stop.is_set():
            try:
                with closing(self._connect()) as connection:
                    self._follow(connection, stop, backoff)
            except (StoreUnavailable, ConfigError, StoreError) as error:
                self.database = f"down: {error}"
                delay_s = max(0.05, backoff.next_s())  # a missing table or role, too, is made by the writer soon
                _log.warning("store.unavailable", error=str(error)[:300], retry_s=round(delay_s, 2))
                stop.wait(delay_s)

    def _connect(self) -> Connection:
        connection = connect(self._url(), application_name="deriver", role=DERIVER, statement_timeout_s=_STATEMENT_S)
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {bar_sql.CHANNEL}")
        except psycopg2.Error as error:
            connection.close()
            raise classify(error) from error
        return connection

    def _follow(self, connection: Connection, stop: threading.Event, backoff: Backoff) -> None:
        """Derive over one connection.

        Raises:
            StoreUnavailable, ConfigError, StoreError: The connection is of no use any more.
        """
        forming_s = float("-inf")  # when bars that form were derived last
        self.derivation.prepare(connection)
        values, snapshots = self._followers()
        while not stop.is_set():
            began_s = time.monotonic()
            forming = began_s - forming_s >= self._settings.forming_s
            try:
                more = self.derivation.recent(connection, forming=forming)
                more |= self._derive_values(connection, values, live=True)
                if forming and not more:
                    forming_s = began_s
                    self._mark_s, self.ranges = self.derivation.waiting(connection)
                    self._looked_s = time.monotonic()
                if not more and (forming or self.ranges):
                    more = self.derivation.backlog(connection)
                if not more:
                    more = self._derive_values(connection, values, live=False)
                if not more:
                    self._derive_snapshots(connection, snapshots)
            except psycopg2.errors.SerializationFailure:  # another deriver was faster
                continue
            self.database = "up"
            backoff.reset()
            if not more:
                due_s = forming_s + self._settings.forming_s - time.monotonic()
                _wait(connection, min(_WAKE_S, max(0.0, due_s)))

    def _followers(self) -> "tuple[BarValues, SnapshotValues] | tuple[None, None]":
        """Return what derives from bars and snapshots; nothing where packages of the extra `derive` are missing."""
        if self.lacking:
            return None, None
        from analysis.workers.bar_values import BarValues
        from analysis.workers.snapshot_values import SnapshotValues

        return BarValues(), SnapshotValues(self._url(), self._settings.lateness_s)

    def _derive_values(self, connection: Connection, values: "BarValues | None", *, live: bool) -> bool:
        """Derive what follows from bars, and return whether there may be more."""
        if values is None:
            return False
        before = values.rows
        try:
            return values.derive(connection, live=live)
        except psycopg2.Error as error:
            raise classify(error) from error
        finally:
            self.values += values.rows - before

    def _derive_snapshots(self, connection: Connection, snapshots: "SnapshotValues | None") -> None:
        if snapshots is None:
            return
        before = snapshots.rows
        try:
            snapshots.derive(connection)
        except psycopg2.Error as error:
            raise classify(error) from error
        finally:
            self.snapshots += snapshots.rows - before
            self.failed = snapshots.failed


def _wait(connection: Connection, longest_s: float) -> None:
    """Wait for a notification.

    Raises:
        StoreUnavailable: The connection is lost.
    """
    try:
        connection.poll()
        if not connection.notifies:
            select.select([connection], [], [], longest_s)
            connection.poll()
        connection.notifies.clear()
    except psycopg2.Error as error:
        raise classify(error) from error


def health_of(deriver: Deriver, max_lag_s: float) -> Callable[[], Health]:
    """Return a function that gives the health of the deriver."""
    rate = Rate()

    def check() -> Health:
        done, lag_s = deriver.derivation.counts, deriver.lag_s
        figures = DeriverFigures(
            bars=done.bars,
            bars_per_s=rate.per_s(done.bars),
            revised=done.revised,
            removed=done.removed,
            marks=done.marks,
            lag_s=round(lag_s, 3),
            ranges=deriver.ranges,
            database=deriver.database,
        )
        if deriver.database != "up":
            return Health("waiting", deriver.database, figures)
        if deriver.derivation.unreadable:
            reason = next(iter(deriver.derivation.unreadable.values()))
            days = len(deriver.derivation.unreadable)
            return Health("degraded", f"bars of {days} archived days cannot be derived: {one_line(reason)}", figures)
        if lag_s > max_lag_s:
            return Health("degraded", f"the bars are {lag_s:.0f} s behind the trades in Postgres", figures)
        notes = [f"{deriver.ranges} ranges of days are still to be derived"] if deriver.ranges else []
        if deriver.failed:
            notes.append(f"features of {deriver.failed} snapshots could not be computed; the log says why")
        if deriver.lacking:
            notes.append(f"bars only: indicators and features need {', '.join(deriver.lacking)} (extra `derive`)")
        return Health("live", "; ".join(notes), figures)

    return check


def main(settings: Settings) -> int:
    """Derive bars until the process is stopped."""
    deriver = Deriver(lambda: embedded_postgres.database_url(settings, DERIVER), settings.deriver)
    parts: dict[str, Part] = {
        "derive": deriver.part,
        "health": reporting(
            HealthFile(settings.home, "deriver"), health_of(deriver, settings.deriver.max_lag_s), settings.monitoring
        ),
    }
    return run(parts, leave_s={"derive": _LEAVE_S})


def start() -> int:
    """Run the program and return its exit status."""
    return program.run("deriver", main)


if __name__ == "__main__":
    sys.exit(start())
