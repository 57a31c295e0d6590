"""A recorder and a writer without processes: a real journal, a real database, and an account of every trade."""

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2

from recorder.journal.reader import JournalReader, StoredBlock
from recorder.load.main import Loader, health_of
from recorder.load.tail import Tail
from recorder.process.health import WriterFigures
from recorder.settings import JournalSettings, Settings
from recorder.store.database import database_name, with_database
from recorder.store.loader import Store
from recorder.verify.check import verify
from support.machine.message_sinks import wait_until
from support.write_buffers import Rig, delta, quote, snapshot, trade

NAME = "recorder-coinbase"
OLDER = "older_"
SYMBOL = "A-USD"


class Lab:
    """One recorder of one symbol, and one database."""

    def __init__(self, home: Path, url: str) -> None:
        self.url = url
        self.journals = home / "journal"
        self.folder = self.journals / NAME
        self.sent: list[int] = []
        self.sent_ns: dict[int, int] = {}  # when each arrived
        self._stamps: dict[int, str] = {}  # the venue's times
        self._id = 0
        self._begin = self._journal_begin = 1  # the first trade of which database or journal may have a trace
        self._copied_begin = 1
        self._session = 0
        self._now_s = 0.0
        self.rig = self.start()
        self.loader = self.writer()

    # ---- the recorder

    def start(self) -> Rig:
        """Start the recorder and its session."""
        if self._session and not self._any_block():
            self._journal_begin = self._id + 1
            self._forget()
        self._session += 1
        settings = JournalSettings(reserve_mb=0, segment_mb=1)
        rig = Rig(self.folder, settings=settings, first_gap_id=1_000_000 * self._session)
        rig.clock.advance(self._now_s)
        rig.buffer.close_sessions(rig.journal.recovered.sessions)
        rig.buffer.flush()
        self.rig = rig
        self._ingest = rig.ingest(SYMBOL, session_id=self._session)
        rig.buffer.flush()
        self._ingest.take([snapshot(SYMBOL)], rig.clock.wall_ns())
        rig.buffer.flush()
        return rig

    def _any_block(self) -> bool:
        """Return whether the journal has a good block."""
        if not (self.folder / "journal.id").exists():
            return False
        reader = JournalReader(self.folder)
        found = any(isinstance(item, StoredBlock) for item in reader.read(reader.first(), 1 << 62))
        reader.close()
        return found

    def _forget(self) -> None:
        """Let the account begin with the journal where the database has loaded nothing.

        Whatever was removed before the first load has left no trace that could be declared.
        """
        if not self.query("SELECT FROM journal"):
            self._begin = self._journal_begin

    def restart(self, *, lost: int = 0) -> None:
        """Kill the recorder and start it; meanwhile the venue sends trades to no one."""
        self.rig.kill()
        self.send_to_no_one(lost)
        self.start()

    def send_to_no_one(self, count: int) -> None:
        """Let the venue make trades that no connection brings."""
        for _ in range(count):
            self._next()

    def record(self, blocks: int, each: int = 2) -> None:
        """Record blocks of trades and quotes."""
        for _ in range(blocks):
            frames = []
            for _ in range(each):
                number = self._next()
                self.sent.append(number)
                self.sent_ns[number] = self.rig.clock.wall_ns()
                self._stamps[number] = self._time()
                frames += [trade(number, SYMBOL, self._stamps[number]), quote(number, SYMBOL), delta(SYMBOL)]
            self._ingest.take(frames, self.rig.clock.wall_ns())
            self.rig.buffer.flush()

    def repeat(self, count: int) -> None:
        """Let the venue send its latest trades again, as it may do to a new connection."""
        again = [trade(number, SYMBOL, self._stamps[number]) for number in self.sent[-count:]]
        self._ingest.take(again, self.rig.clock.wall_ns())
        self.rig.buffer.flush()

    def rotate(self) -> None:
        """Begin a new segment at the next block."""
        self.rig.clock.advance(3601)
        self._now_s += 3601

    def _next(self) -> int:
        self._id += 1
        self.rig.clock.advance(0.1)
        self._now_s += 0.1
        return self._id

    def _time(self) -> str:
        seconds = int(self._now_s)
        time_ = f"{14 + seconds // 3600 % 9:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{self._id % 1000000:06d}"
        return f"2026-03-05T{time_}Z"

    # ---- the writer

    def writer(self, url: str = "") -> Loader:
        """Start a writer on the journals."""
        return Loader(Store(url or self.url), self.journals, Settings())

    def load(self, loader: Loader | None = None) -> None:
        """Load all that can be loaded."""
        loader = loader or self.loader
        while loader.step():
            pass

    def load_until(self, condition: Callable[[], object], deadline_s: float = 20.0) -> None:
        """Load until a condition holds."""
        pause, deadline_s = threading.Event(), time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < deadline_s
            self.load()
            pause.wait(0.05)

    def reload(self) -> None:
        """Restart the writer, and load all that can be loaded."""
        self.loader.reset()
        wait_until(self._unlocked)  # Postgres frees the locks of the ended connection a moment later
        self.loader = self.writer()
        self.load()

    def _unlocked(self) -> bool:
        locks = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        return self.query(f"{locks} WHERE d.datname = current_database() AND l.locktype = 'advisory'") == [(0,)]

    def tail(self) -> Tail:
        """Return the journal as the writer has it."""
        (tail,) = self.loader.tails
        return tail

    def health(self) -> tuple[str, str, WriterFigures]:
        """Return state, detail and figures of the writer."""
        health = health_of(self.loader)()
        assert isinstance(health.figures, WriterFigures)
        return health.state, health.detail, health.figures

    # ---- the account

    def query(self, text: str, *arguments: object) -> list[tuple[object, ...]]:
        """Return the rows of a query."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def undeclared(self) -> list[str]:
        """Return the trades and quotes before the last stored ones that are neither stored nor inside a gap.

        Trades are numbered without holes, whether a connection brought them or not; quotes count when they arrived.
        Of what came before every trace in database and journal nothing can be known.
        """
        lost = []
        for table, number in (("trade", "trade_id"), ("quote", "sequence")):
            stored = [int(str(row[0])) for row in self.query(f"SELECT {number} FROM {table}")]
            assert len(stored) == len(set(stored)), table
            expected = set(range(1, max(stored, default=0))) if table == "trade" else set(self.sent)
            gaps = self.query(
                "SELECT last_id, first_id, (extract(epoch FROM started_at) * 1000000)::bigint, "
                "(extract(epoch FROM ended_at) * 1000000)::bigint FROM gap WHERE channel = %s AND state <> 'healed'",
                table,
            )
            for one in sorted(expected - set(stored)):
                if one >= self._begin and not any(self._inside(one, *map(_optional, gap)) for gap in gaps):
                    lost.append(f"{table} {one}")
        return lost

    def _inside(self, number: int, low: int | None, high: int | None, start: int | None, end: int | None) -> bool:
        if high is not None and (low is None or low < number) and number < high:
            return True
        at_ns = self.sent_ns.get(number)
        return at_ns is not None and start is not None and end is not None and start <= at_ns // 1000 <= end

    def swallowed(self) -> int:
        """Return how many stored trades lie inside gaps: gaps that are wider than the loss."""
        return int(
            str(
                self.query(
                    "SELECT count(*) FROM trade t WHERE EXISTS (SELECT FROM gap g WHERE channel = 'trade' "
                    "AND state <> 'healed' AND trade_id > last_id AND trade_id < first_id)"
                )[0][0]
            )
        )

    def open_ended(self) -> int:
        """Return how many gaps have no end."""
        return int(str(self.query("SELECT count(*) FROM gap WHERE ended_at IS NULL")[0][0]))

    def breaks(self) -> list[str]:
        """Return the reasons of all breaks, oldest first."""
        return [str(row[0]) for row in self.query("SELECT reason FROM journal_break ORDER BY found_at")]

    def dump(self) -> None:
        """Copy the database, in place of an earlier copy."""
        self.loader.reset()
        name = database_name(self.url)
        self._execute(f'DROP DATABASE IF EXISTS "{OLDER}{name}"')
        self._execute(f'CREATE DATABASE "{OLDER}{name}" TEMPLATE "{name}"')

    def restore(self) -> None:
        """Replace the database by its copy."""
        self.loader.reset()
        name = database_name(self.url)
        self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{OLDER}{name}"')
        self._forget()

    def _execute(self, statement: str) -> None:
        connection = psycopg2.connect(with_database(self.url, "postgres"))
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.close()

    def copy(self, target: Path) -> None:
        """Copy the journals."""
        shutil.copytree(self.journals, target)
        self._copied_begin = self._journal_begin

    def put_back(self, source: Path) -> None:
        """Replace the journals by an older copy."""
        shutil.rmtree(self.journals)
        shutil.copytree(source, self.journals)
        self._journal_begin = self._copied_begin
        self._forget()

    def segment(self, number: int) -> Path:
        """Return the path of a segment."""
        return self.folder / f"{number:08d}.tape"

    def accounted(self) -> bool:
        """Return whether `verify` finds the ledger in order."""
        connection = psycopg2.connect(self.url)
        try:
            return verify(connection).ok
        finally:
            connection.close()

    def close(self) -> None:
        """Release the database."""
        self.loader.reset()
        self._execute(f'DROP DATABASE IF EXISTS "{OLDER}{database_name(self.url)}"')
        os.close(self.rig.journal._lock)


def _optional(value: object) -> int | None:
    return None if value is None else int(str(value))
