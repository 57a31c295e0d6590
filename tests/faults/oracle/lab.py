"""The real programs between the fake venues and a real Postgres: processes, files and databases, seen from outside."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg2
from faults.oracle.binance import Binance
from faults.oracle.checker import COVERED, Finding, check_database
from faults.oracle.coinbase import Coinbase
from faults.oracle.kraken import Kraken
from faults.oracle.sent import SentLog, now_us
from faults.oracle.venue import Fakes
from psycopg2 import sql

ROOT = Path(__file__).parents[3]
SYMBOLS = {
    "coinbase": ("BTC-USD", "ETH-USD"),
    "kraken": ("BTC/USD", "ETH/USD"),
    "binance": ("BTCUSDT", "ETHUSDT"),
}
CHANNELS = ("trade", "quote", "book")
STREAMS = len(CHANNELS) * 2
RATE = 30.0  # market events per second and venue
_SETTLE_S = 120.0  # a venue that allows few connects a minute makes a reconnect wait


class Server(Protocol):
    """A Postgres server that can be killed."""

    def url(self, database: str = ...) -> str:
        """Return the address of a database, for the superuser."""

    def kill(self) -> None:
        """Kill the server process with SIGKILL."""

    def start(self) -> None:
        """Start it, and return once it answers."""


class Unsettled(AssertionError):
    """The appliance did not come back to work in time."""


class Lab:
    """One home with its recorders and its writer. As a context manager it ends all that it started."""

    def __init__(self, home: Path, server: Server, ports: list[int], seed: int) -> None:
        """
        Args:
            home: State directory of the programs; it is made here.
            server: The Postgres server.
            ports: One for each venue.
            seed: Of everything random.
        """
        self.home = home
        self.server = server
        self.name = f"oracle_{seed}"
        self.rng = random.Random(seed)
        self.log = SentLog()
        made = [one(self.log, SYMBOLS[one.name], seed, RATE) for one in (Coinbase, Kraken, Binance)]
        self.fakes = Fakes(made, ports)
        self.addresses = dict(zip(SYMBOLS, ports, strict=True))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.covered = COVERED  # stored rows that one gap may cover
        self._started: dict[str, tuple[str, Path]] = {}  # program and home, by the name of the process
        self._pause = threading.Event()  # never set

    def __enter__(self) -> "Lab":
        self.home.mkdir(parents=True)
        (self.home / "log").mkdir()
        self._write_settings()
        self.create_database()
        self.fakes.__enter__()
        for program in self.programs:
            self.start(program)
        return self

    def __exit__(self, *_: object) -> None:
        for program in list(self.processes):
            self.kill(program)
        self.fakes.__exit__(None, None, None)

    def _write_settings(self) -> None:
        sections: dict[str, dict[str, object]] = {
            "journal": {"dir": str(self.home / "journal"), "segment_minutes": 1, "reserve_mb": 16},
            "websocket": {
                "reconnect_delay_s": 0.1,
                "reconnect_cap_s": 1.0,
                "start_interval_s": 0.0,
                "reconnect_interval_s": 0.0,
                "heartbeat_interval_s": 2.0,
                "heartbeat_timeout_s": 3.0,
            },
            "monitoring": {"metrics_interval_s": 1.0},
        }
        paths = {"coinbase": "", "kraken": "/v2", "binance": "/stream"}
        for name, port in self.addresses.items():
            sections[f"venues.{name}"] = {
                "url": f"ws://127.0.0.1:{port}{paths[name]}",
                "rest_url": f"http://127.0.0.1:{port}",
                "symbols": list(SYMBOLS[name]),
                "connects_per_minute": 6000,  # a round reconnects more often than a venue allows
            }
        sections["venues.kraken.options"] = {"book_depth": 10}
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        (self.home / "tapedeck.toml").write_text("\n".join(lines) + "\n")

    # ---- programs

    @property
    def recorders(self) -> list[str]:
        """Return the names of the recorders."""
        return [f"recorder-{name}" for name in SYMBOLS]

    @property
    def programs(self) -> list[str]:
        """Return the names of all programs."""
        return [*self.recorders, "writer"]

    @property
    def url(self) -> str:
        """Return the address of the database."""
        return self.server.url(self.name)

    def journal(self, recorder: str) -> Path:
        """Return the folder of a recorder's journal."""
        return self.home / "journal" / recorder

    def start(self, program: str, home: Path | None = None, name: str = "") -> None:
        """Start a program, as supervisord would.

        Args:
            program: Its name.
            home: Another home with the same settings.
            name: Under which it is kept; the program's by default.
        """
        home = home or self.home
        self._started[name or program] = program, home
        kind, _, venue = program.partition("-")
        with open(home / "log" / f"{program}.log", "ab") as log:
            self.processes[name or program] = subprocess.Popen(
                [sys.executable, str(ROOT / "bin" / kind), *([venue] if venue else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                env=self._environment(home),
            )

    def kill(self, program: str) -> None:
        """Kill a program with SIGKILL."""
        process = self.processes.pop(program)
        process.kill()
        process.wait(20)

    def stop(self, program: str) -> None:
        """Stop a program as supervisord does: SIGTERM, and SIGKILL after 15 seconds."""
        process = self.processes.pop(program)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)
            raise AssertionError(f"{program} did not end within 15 s of SIGTERM") from None

    def signal(self, program: str, number: signal.Signals) -> None:
        """Send a signal to a program."""
        self.processes[program].send_signal(number)

    def restart(self, program: str) -> None:
        """Stop a program and start it again."""
        self.stop(program)
        self.start(program)

    def revive(self) -> None:
        """Start again what has ended, as supervisord would."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(*self._started[name], name)

    def verify(self) -> tuple[int, str]:
        """Return the exit status of `tapedeck verify`, and what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", "recorder", "verify"],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.home,
            env=self._environment(self.home),
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def _environment(self, home: Path) -> dict[str, str]:
        own = ("TAPEDECK", "DB_", "DATABASE", "WEBSOCKET", "PG")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(own)}
        return kept | {
            "TAPEDECK_HOME": str(home),
            "TAPEDECK_CONFIG": str(home / "tapedeck.toml"),
            "DATABASE_URL": self.url,
            "PYTHONPATH": str(ROOT),
        }

    def logs(self) -> str:
        """Return the ends of all logs, without the figures that they repeat."""
        tails = []
        for path in sorted((self.home / "log").glob("*.log")):
            lines = [line for line in path.read_text().splitlines() if " INFO metrics " not in line]
            tails.append(f"--- {path.name}\n" + "\n".join(lines[-12:]))
        return "\n".join(tails)

    # ---- databases

    def create_database(self) -> None:
        """Create the database, empty; a writer that runs may be faster."""
        with contextlib.suppress(psycopg2.errors.DuplicateDatabase):
            self._administer("CREATE DATABASE {}", self.name)

    def drop_database(self) -> None:
        """Drop the database under the running programs."""
        self._administer("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)

    def copy_database(self, copy: str) -> None:
        """Copy the database, which must have no connections of the writer."""
        self._administer("DROP DATABASE IF EXISTS {}", copy)
        for _ in range(50):  # a program may connect between the two
            self.end_backends()
            try:
                self._administer("CREATE DATABASE {} TEMPLATE {}", copy, self.name)
                return
            except psycopg2.errors.ObjectInUse:
                self.pause(0.1)
        raise AssertionError("the database could not be copied: something is connected to it")

    def restore_database(self, copy: str) -> None:
        """Put a copy in the place of the database."""
        for _ in range(50):  # a writer that runs may create an empty one between the two
            self.drop_database()
            try:
                self._administer("CREATE DATABASE {} TEMPLATE {}", self.name, copy)
                return
            except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):  # both at one moment
                self.pause(0.1)
        raise AssertionError("the database could not be restored: something creates it each time")

    def end_backends(self) -> None:
        """End every connection to the database."""
        self._administer(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = " + self._literal(self.name)
        )

    def _literal(self, text: str) -> str:
        assert text.replace("_", "").isalnum()
        return f"'{text}'"

    def _administer(self, statement: str, *names: str) -> None:
        parts = urlsplit(self.url)
        connection = psycopg2.connect(urlunsplit(parts._replace(path="/postgres")))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
        finally:
            connection.close()

    def query(self, text: str) -> list[tuple[object, ...]]:
        """Return the rows of a query; none where there is no server, database or table yet."""
        try:
            connection = psycopg2.connect(self.url)
        except psycopg2.OperationalError:
            return []
        try:
            with connection.cursor() as cursor:
                cursor.execute(text)
                return cursor.fetchall()
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable, psycopg2.errors.InsufficientPrivilege):
            return []
        finally:
            connection.close()

    # ---- waiting

    def pause(self, seconds: float) -> None:
        """Let everything run for a time that is part of the experiment."""
        self._pause.wait(seconds)

    def wait(self, what: str, condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
        """Return once the condition holds; programs that end are started again meanwhile."""
        deadline = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() > deadline:
                raise Unsettled(f"not within {deadline_s:.0f} s: {what}\n{self.logs()}")
            self.revive()
            self._pause.wait(0.1)

    def wait_subscribed(self, venue: str | None = None) -> None:
        """Return once all streams of a venue, or of all, have a subscriber."""
        for name in [venue] if venue else SYMBOLS:
            self.wait(f"{name} is subscribed", lambda name=name: self._subscribed(name), _SETTLE_S)  # type: ignore[misc]

    def _subscribed(self, venue: str) -> bool:
        return bool(self.fakes.do(venue, lambda fake: fake.subscribed()) >= STREAMS)

    def wait_flowing(self) -> None:
        """Return once every stream has stored rows from after this call, and no gap goes on."""
        self.wait_subscribed()
        since = now_us()
        self.wait("every stream has new rows and no open gap", lambda: self._flowing(since), _SETTLE_S)

    def _flowing(self, since_us: int) -> bool:
        # By name, since programs that were stopped elsewhere may have rows of instruments that have none.
        rows = self.query(
            f"SELECT (SELECT count(*) FROM gap WHERE ended_at IS NULL), (SELECT count(*) FROM instrument i,"
            f" LATERAL (SELECT max(ts_recv) AS trade FROM trade t WHERE t.instrument_id = i.instrument_id) t,"
            f" LATERAL (SELECT max(ts_recv) AS quote FROM quote q WHERE q.instrument_id = i.instrument_id) q,"
            f" LATERAL (SELECT max(ts_recv) AS book FROM book b WHERE b.instrument_id = i.instrument_id) b"
            f" WHERE extract(epoch FROM least(t.trade, q.quote, b.book)) * 1000000 > {since_us}"
            f" AND t.trade IS NOT NULL AND q.quote IS NOT NULL AND b.book IS NOT NULL)"
        )
        return rows == [(0, STREAMS * len(SYMBOLS) // len(CHANNELS))]

    def wait_stored(self, deadline_s: float = 30.0) -> None:
        """Return once nothing was stored for a moment; the markets stand still."""
        last: list[tuple[object, ...]] = []

        def quiet() -> bool:
            nonlocal last
            self._pause.wait(0.7)
            counts = self.query(
                "SELECT (SELECT count(*) FROM trade), (SELECT count(*) FROM quote), (SELECT count(*) FROM book),"
                " (SELECT sum(revision) FROM gap)"
            )
            same, last = counts == last and bool(counts), counts
            return same

        self.wait("the writer has loaded everything", quiet, deadline_s)

    def spoil(self, name: str, how: str, channel: str) -> None:
        """Let a venue spoil its next item of a channel, and return once that was sent."""
        self.fakes.do(name, lambda venue: venue.spoil(how, channel))
        self.wait("the spoiled item is sent", lambda: not self.fakes.do(name, lambda venue: venue.spoiling))

    # ---- the judgement

    def judge(self) -> Finding:
        """Wait until everything flows, let the markets stand still, and compare what was sent with what is stored.

        The markets stand still afterwards, too. A lab that does not settle is judged as well.
        """
        unsettled = ""
        for fake in self.fakes.venues:
            self.fakes.do(fake, lambda venue: venue.forget_half_open())
        try:
            self.wait_flowing()
        except Unsettled as error:
            unsettled = str(error).splitlines()[0]
        self.fakes.run_market(False)
        try:
            self.wait_stored()
        except Unsettled as error:
            unsettled = unsettled or str(error).splitlines()[0]
        finding = check_database(self.url, self.log, self.covered)
        if unsettled:
            finding.problems["not settled"] = [unsettled]
        return finding

    def copy_home(self, target: Path) -> Path:
        """Copy the home with its journals, as to a second machine."""
        shutil.copytree(self.home, target, symlinks=True)
        settings = target / "tapedeck.toml"
        settings.write_text(settings.read_text().replace(str(self.home), str(target)))
        return target
