"""The appliance under test: simulated venues that know the truth, with recorders and a writer as real processes.

An experiment causes a fault, waits for conditions, and ends with `prove`: everything that the venues sent is stored or
inside a declared gap, nothing is stored twice, and the ledger adds up.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg2

from recorder.clock import SystemClock
from recorder.journal.reader import JournalReader, segments
from recorder.position import Position
from recorder.process.health import Report as Health
from recorder.process.health import read_all
from recorder.process.slots import HANDED_OVER, Slots, other, program_of
from recorder.settings.sources import FLAT_NAMES
from recorder.shards import recorder_names
from recorder.simulator.build import VENUES
from recorder.simulator.running import Running, running
from recorder.verify.check import Report, verify

ROOT = Path(__file__).parents[2]
SYMBOLS = {"coinbase": ("BTC-USD", "ETH-USD"), "kraken": ("BTC/USD", "ETH/USD")}
PATHS = {"binance": "/stream"}  # paths of websockets that are not the root
CHANNELS = ("trade", "quote", "book")
GAP = ("venue", "symbol", "channel", "cause", "state", "reason", "last_id", "first_id", "started_at", "ended_at")
_MARKETS = 2
QUIET = 1e-9  # market events per second; 0 would mean as fast as the clients read
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham")  # the host's zone must not matter
Sections = Mapping[str, Mapping[str, object]]


class Rig:
    """A small appliance in a folder of its own. As a context manager it ends all its processes."""

    def __init__(
        self,
        home: Path,
        url: str,
        seed: int,
        *,
        venues: Sequence[str] = ("coinbase", "kraken"),
        rate: float = 400.0,
        settings: Sections | None = None,
        urls: Mapping[str, str] | None = None,
        symbols: Mapping[str, Sequence[str]] | None = None,
        processes: int = 1,
    ) -> None:
        """
        Args:
            home: State directory.
            url: DATABASE_URL of the programs and of the proof.
            seed: Seed of everything random.
            venues: The venues to simulate.
            rate: Market events per second and venue.
            settings: Sections of the settings file, which override those of the rig.
            urls: Addresses of venues that the rig does not simulate.
            symbols: The symbols to record, by venue; the default is two each.
            processes: Recorders per venue.
        """
        self.home = home
        self.processes_each = processes
        self.url = url
        self.seed = seed
        self.rng = random.Random(seed)
        self.rate = rate
        self.venues: dict[str, Running] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: list[tuple[str, float]] = []  # program, and the unix time just before its end
        self._names = tuple(urls or venues)
        self._urls = dict(urls or {})
        self.symbols = {name: tuple(given) for name, given in (symbols or {}).items()}  # the default is two each
        self._settings = settings or {}
        self._pause = threading.Event()  # never set; its timeouts are pauses of the experiment and of polls
        self._stack = contextlib.ExitStack()

    # ---- life

    def __enter__(self) -> "Rig":
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "log").mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            for name in self._names:
                if name not in self._urls:
                    truth = self.home / f"truth-{name}.jsonl"
                    specs = VENUES[name].specs[:_MARKETS]
                    venue = running(name, truth=truth, seed=self.seed, rate=self.rate, specs=specs)
                    self.venues[name] = stack.enter_context(venue)
                    self.symbols.setdefault(name, tuple(self.venues[name].venue.symbols)[:_MARKETS])
                self.symbols.setdefault(name, SYMBOLS.get(name, ()))
            self._write_settings()
            stack.callback(self._kill_all)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _write_settings(self) -> None:
        sections: dict[str, dict[str, object]] = {
            "websocket": {
                "reconnect_delay_s": 0.1,
                "reconnect_cap_s": 1.0,
                "start_interval_s": 0.0,
                "reconnect_interval_s": 0.0,
            },
            "monitoring": {"metrics_interval_s": 2.0},
        }
        for name in self._names:
            address = self._urls.get(name) or self.venues[name].url + PATHS.get(name, "")
            sections[f"venues.{name}"] = {"url": address, "symbols": list(self.symbols[name])}
            sections[f"venues.{name}"]["connects_per_minute"] = 6000  # a rig reconnects more often than a venue allows
            if name in self.venues:
                sections[f"venues.{name}"]["rest_url"] = self.venues[name].rest_url
        for section, values in self._settings.items():
            sections.setdefault(section, {}).update(values)
        lines = []
        for section, values in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]  # JSON of these types is TOML
        (self.home / "tapedeck.toml").write_text("\n".join(lines) + "\n")

    @property
    def journals(self) -> Path:
        """Return the folder of all journals."""
        given = self._settings.get("journal", {}).get("dir")
        return Path(str(given)) if given else self.home / "journal" / "tapedeck"

    @property
    def recorders(self) -> list[str]:
        """Return the names of the programs that record."""
        names = (name for venue in self._names for name in recorder_names(venue, self.processes_each))
        return [program_of(name, self.slots(name).read().active) for name in names]

    def slots(self, recorder: str) -> Slots:
        """Return the slots of a recorder."""
        return Slots(self.home, recorder, SystemClock())

    @property
    def programs(self) -> list[str]:
        """Return the names of all programs."""
        return [*self.recorders, "writer"]

    # ---- processes

    def up(self) -> "Rig":
        """Start all programs, and return once data flows and no gap is open."""
        for program in self.programs:
            self.start(program)
        self.wait("rows of every stream come in", self._flowing, 120.0)  # a busy machine starts programs slowly
        return self

    def command(self, program: str) -> list[str]:
        """Return the command with which supervisord would start a program."""
        program, slot = (program[:-2], ["--slot", "b"]) if program.endswith("-b") else (program, [])
        kind, _, rest = program.partition("-")
        venue, _, number = rest.partition("-")
        arguments = [venue] if venue else []
        if number:
            arguments += ["--shard", f"{int(number)}/{self.processes_each}"]
        return [sys.executable, str(ROOT / "bin" / kind), *arguments, *slot]

    def spawn(self, program: str) -> "subprocess.Popen[bytes]":
        """Start a program that the rig does not stop."""
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("TAPEDECK") and key not in FLAT_NAMES
        }
        environment |= {
            "TAPEDECK_HOME": str(self.home),
            "TAPEDECK_CONFIG": str(self.home / "tapedeck.toml"),
            "DATABASE_URL": self.url,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
            "TZ": ZONES[self.seed % len(ZONES)],
            "PGTZ": ZONES[self.seed // 7 % len(ZONES)],
        }
        with open(self.home / "log" / f"{program}.log", "ab") as log:
            return subprocess.Popen(
                self.command(program),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                env=environment,
            )

    def start(self, program: str) -> None:
        """Start a program."""
        self.processes[program] = self.spawn(program)

    def redirect(self, venue: str, url: str) -> None:
        """Have programs that start from now on connect to another address of a venue."""
        self._urls[venue] = url
        self._write_settings()

    def kill(self, program: str) -> None:
        """Kill a program with SIGKILL."""
        self.killed.append((program, time.time()))
        process = self.processes.pop(program)
        process.kill()
        process.wait(10)

    def stop(self, program: str) -> int:
        """Stop a program as supervisord does, and return its exit status."""
        process = self.processes.pop(program)
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def begin_handover(self, recorder: str, patience_s: float = 120.0) -> tuple[str, str]:
        """Start a successor, and return the names of the old program and of the new one."""
        slots = self.slots(recorder)
        active = slots.read().active
        old, new = program_of(recorder, active), program_of(recorder, other(active))
        assert slots.want(other(active), time.time() + patience_s, None)
        self.start(new)
        return old, new

    def hand_over(self, recorder: str) -> None:
        """Replace the process of a recorder, as the command does."""
        old, new = self.begin_handover(recorder)
        ending = self.processes.pop(old)
        self.wait(f"{new} records", lambda: new in self.recorders, 90.0)
        assert ending.wait(20) == HANDED_OVER

    def _kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)

    def health(self, program: str) -> Health | None:
        """Return the last report of the running process of that name."""
        report = read_all(self.home).get(program)
        process = self.processes.get(program)
        return report if report is not None and process is not None and report.pid == process.pid else None

    def metrics(self, program: str) -> dict[str, Any]:
        """Figures of a program; waits for its first report."""
        self.wait(f"{program} reports", lambda: self.health(program) is not None)
        report = self.health(program)
        return msgspec.to_builtins(report.figures) if report is not None else {}

    def log(self, program: str) -> str:
        """Return the log of a program."""
        path = self.home / "log" / f"{program}.log"
        return path.read_text() if path.exists() else ""

    def rss_kb(self, program: str) -> int:
        """Return the resident memory of a program."""
        status = Path(f"/proc/{self.processes[program].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    # ---- waiting

    def pause(self, seconds: float) -> None:
        """Let the appliance run for a duration that is part of the experiment; use `wait` for conditions."""
        self._pause.wait(seconds)

    def wait(self, what: str, condition: Callable[[], bool], deadline_s: float = 30.0) -> float:
        """Return once the condition holds, with the seconds that it took."""
        began = time.monotonic()
        while not condition():
            for program, process in self.processes.items():
                assert process.poll() is None, self._with_logs(f"{program} ended with status {process.returncode}")
            assert time.monotonic() - began < deadline_s, self._with_logs(f"not within {deadline_s} s: {what}")
            self._pause.wait(0.03)
        return time.monotonic() - began

    def _with_logs(self, what: str) -> str:
        tails = [f"--- {program}\n" + "\n".join(self.log(program).splitlines()[-12:]) for program in self.programs]
        return f"seed {self.seed}: {what}\n" + "\n".join(tails)

    def subscribed(self, name: str) -> bool:
        """Return whether every stream of a venue has a subscriber."""
        topics = {topic[:2] for topic in list(self.venues[name].venue.topics)}
        return topics >= {(channel, symbol) for channel in CHANNELS for symbol in self.symbols[name]}

    def wait_subscribed(self) -> None:
        """Return once every stream of every venue has a subscriber."""
        for name in self.venues:
            # A busy machine starts a recorder slowly.
            self.wait(f"{name} is subscribed", lambda name=name: self.subscribed(name), 120.0)  # type: ignore[misc]

    def live(self, since: float = 0.0) -> bool:
        """Return whether all programs reported after that unix time that they are live without an open gap."""
        reports = [self.health(program) for program in self.programs]
        return all(
            report is not None
            and report.updated_at > since
            and report.state == "live"
            and not getattr(report.figures, "open_gaps", 0)
            for report in reports
        )

    def wait_live(self, deadline_s: float = 30.0) -> float:
        """Return once all programs are live, with the seconds that it took. Only reports after the call count."""
        since = time.time() + 0.1
        return self.wait("all programs are live without an open gap", lambda: self.live(since), deadline_s)

    # ---- the market

    def do(self, name: str, action: str, **arguments: str | float | bool | None) -> dict[str, object]:
        """Run an action of a venue, such as a fault."""
        return self.venues[name].do(action, **arguments)

    def stop_market(self) -> None:
        """Stop the markets, and return once all messages are written to the sockets."""
        for venue in self.venues.values():
            venue.do("rate", per_s=QUIET)
        self.wait("the venues have sent all", lambda: not any(map(_unsent, self.venues.values())))

    def resume_market(self) -> None:
        """Let the markets run again."""
        for venue in self.venues.values():
            venue.do("rate", per_s=self.rate)

    # ---- the database

    def query(self, text: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query, run as superuser."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def gaps(self, where: str = "true") -> list[dict[str, Any]]:
        """Return gap rows with venue and symbol, oldest first."""
        rows = self.query(
            f"SELECT {', '.join(GAP)} FROM gap LEFT JOIN instrument USING (instrument_id) "
            f"WHERE {where} ORDER BY started_at, gap_id"
        )
        return [dict(zip(GAP, row, strict=True)) for row in rows]

    def number(self, query: str) -> int:
        """Return the single number of a query."""
        return int(self.query(query)[0][0])

    def stored(self, table: str = "trade") -> int:
        """Return the number of rows of a table."""
        return self.number(f"SELECT count(*) FROM {table}")

    def _flowing(self) -> bool:
        """Return whether every stream has rows, and none has an open gap."""
        streams = sum(len(symbols) for symbols in self.symbols.values())
        try:
            # A book counts with its snapshot: before it, the gap with which it begins may not be loaded yet.
            come = all(
                self.number(f"SELECT count(DISTINCT instrument_id) FROM {rows}") >= streams
                for rows in ("trade", "quote", "book WHERE kind = 's'")
            )
            return come and not self.query("SELECT FROM gap WHERE ended_at IS NULL LIMIT 1")
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):  # no server yet, or no schema
            return False

    def loaded(self) -> bool:
        """Return whether the writer has loaded every journal."""
        positions = {
            row[0]: Position(row[1], row[2]) for row in self.query("SELECT recorder, segment, position FROM journal")
        }
        for folder in sorted(path.parent for path in self.journals.glob("recorder-*/journal.id")):
            if not segments(folder):  # a successor that has not taken over
                continue
            reader = JournalReader(folder)
            position = positions.get(folder.name)
            if position is None or reader.lag_bytes(position) > 0:
                return False
        return True

    # ---- the proof

    def prove(self, deadline_s: float = 30.0, *, resume: bool = True) -> Report:
        """Wait until data flows, stop the market, and assert that every item is stored or declared missing.

        The streams must have no open gap before the market stops, since such a gap would cover anything missing.

        Args:
            deadline_s: How long the rig may take to settle.
            resume: Let the market run afterwards. Without it, the truth log still agrees with the report.
        """
        for venue in self.venues.values():
            venue.do("heal")
        deadline = time.monotonic() + deadline_s
        while True:
            self.resume_market()
            self.wait_subscribed()
            self.wait("no gap goes on", self._flowing, max(1.0, deadline - time.monotonic()))
            self.stop_market()
            self.wait("the writer has loaded the journals", self.loaded, deadline_s)
            open_ended = self.gaps("ended_at IS NULL")
            if not open_ended or time.monotonic() > deadline:
                break  # otherwise a gap began as the market stopped; it must end once the market runs again
        report = self._verify_until_clean(30.0, time.time_ns())
        assert report.ok, self._with_logs("\n".join(report.problems))
        assert not open_ended, self._with_logs(f"gaps that do not end: {open_ended}")
        assert report.streams, self._with_logs("nothing was judged")
        if resume:
            self.resume_market()
        return report

    def _verify_until_clean(self, deadline_s: float, until_ns: int) -> Report:
        """Verify until the report is clean or the deadline has passed: rows may be late on a busy machine.

        Items after `until_ns` are not judged, since some venues repeat themselves while the market stands still.
        """
        deadline = time.monotonic() + deadline_s
        truth = sorted(self.home.glob("truth-*.jsonl"))
        while True:
            connection = psycopg2.connect(self.url)
            try:
                report = verify(connection, truth, until_ns=until_ns)
            finally:
                connection.close()
            if report.ok or time.monotonic() > deadline:
                return report
            self._pause.wait(0.3)


def _unsent(venue: Running) -> bool:
    """Return whether messages are queued for a client, or written to it and not in the truth log yet."""
    return any(
        not client.half_open and (client.pending or client.written) for client in list(venue.venue.clients.values())
    )
