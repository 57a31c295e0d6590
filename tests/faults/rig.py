"""The appliance under test: simulated venues that know the truth, recorders and a writer as real processes.

An experiment injures something, waits for conditions, and ends with `prove`: everything the venues sent is stored or
inside a declared gap, nothing is stored twice, and the ledger adds up (the three lines every experiment serves).
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

import psycopg2

from recorder.health import Report as Health
from recorder.health import read_all
from recorder.journal_reader import JournalReader
from recorder.position import Position
from recorder.settings import FLAT_NAMES
from recorder.shares import recorder_names
from recorder.simulator.build import VENUES
from recorder.simulator.running import Running, running
from recorder.verify import Report, verify

ROOT = Path(__file__).parents[2]
SYMBOLS = {"coinbase": ("BTC-USD", "ETH-USD"), "kraken": ("BTC/USD", "ETH/USD")}
PATHS = {"binance": "/stream"}  # where the endpoint of the websocket is not the root
CHANNELS = ("trade", "quote", "book")
GAP = ("venue", "symbol", "channel", "cause", "state", "reason", "last_id", "first_id", "started_at", "ended_at")
_MARKETS = 2
QUIET = 1e-9  # market events a second; 0 would mean as fast as the clients read
ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham")  # the host's zone must not matter
Sections = Mapping[str, Mapping[str, object]]


class Rig:
    """One small appliance in a folder of its own. A context manager: nothing of it outlives the block."""

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
            seed: Of everything random.
            venues: Which to simulate.
            rate: Market events a second and venue.
            settings: Sections of the settings file besides those of the rig; they win.
            urls: Venues served by somebody else.
            symbols: What to record instead of two symbols each.
            processes: Recorders of each venue.
        """
        self.home = home
        self.processes_each = processes
        self.url = url
        self.seed = seed
        self.rng = random.Random(seed)
        self.rate = rate
        self.venues: dict[str, Running] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.killed: list[tuple[str, float]] = []  # program, unix time just before its end
        self._names = tuple(urls or venues)
        self._urls = dict(urls or {})
        self.symbols = {name: tuple(given) for name, given in (symbols or {}).items()}  # else two each
        self._settings = settings or {}
        self._pause = threading.Event()  # never set: waits that are the experiment, and polls of conditions
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
            "websocket": {"reconnect_delay_s": 0.1, "reconnect_cap_s": 1.0},
            "monitoring": {"metrics_interval_s": 2.0},
        }
        for name in self._names:
            address = self._urls.get(name) or self.venues[name].url + PATHS.get(name, "")
            sections[f"venues.{name}"] = {"url": address, "symbols": list(self.symbols[name])}
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
        """Folder of all journals."""
        given = self._settings.get("journal", {}).get("dir")
        return Path(str(given)) if given else self.home / "journal" / "tapedeck"

    @property
    def recorders(self) -> list[str]:
        """The recorders' names."""
        return [name for venue in self._names for name in recorder_names(venue, self.processes_each)]

    @property
    def programs(self) -> list[str]:
        """Everything that runs as a process."""
        return [*self.recorders, "writer"]

    # ---- processes

    def up(self) -> "Rig":
        """Start all programs, and return once data flows and no gap is open."""
        for program in self.programs:
            self.start(program)
        self.wait("rows of every stream come in", self._flowing)
        return self

    def command(self, program: str) -> list[str]:
        """How supervisord would start it."""
        kind, _, rest = program.partition("-")
        venue, _, number = rest.partition("-")
        arguments = [venue] if venue else []
        if number:
            arguments += ["--share", f"{int(number)}/{self.processes_each}"]
        return [sys.executable, str(ROOT / "bin" / kind), *arguments]

    def spawn(self, program: str) -> "subprocess.Popen[bytes]":
        """Start a program and do not look after it."""
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

    def kill(self, program: str) -> None:
        """kill -9."""
        self.killed.append((program, time.time()))
        process = self.processes.pop(program)
        process.kill()
        process.wait(10)

    def stop(self, program: str) -> int:
        """Stop as supervisord does; gives the exit status."""
        process = self.processes.pop(program)
        process.send_signal(signal.SIGTERM)
        return process.wait(20)

    def _kill_all(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)

    def health(self, program: str) -> Health | None:
        """What the living process of that name said last."""
        report = read_all(self.home).get(program)
        process = self.processes.get(program)
        return report if report is not None and process is not None and report.pid == process.pid else None

    def metrics(self, program: str) -> dict[str, Any]:
        """Figures of a program; waits for its first report."""
        self.wait(f"{program} reports", lambda: self.health(program) is not None)
        report = self.health(program)
        return report.metrics if report is not None else {}

    def log(self, program: str) -> str:
        """Everything a program has logged."""
        path = self.home / "log" / f"{program}.log"
        return path.read_text() if path.exists() else ""

    def rss_kb(self, program: str) -> int:
        """Resident memory of a program."""
        status = Path(f"/proc/{self.processes[program].pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    # ---- waiting

    def pause(self, seconds: float) -> None:
        """Let the appliance run; for durations that are the experiment, never in place of a condition."""
        self._pause.wait(seconds)

    def wait(self, what: str, condition: Callable[[], bool], deadline_s: float = 30.0) -> float:
        """Return once the condition holds; gives the seconds it took."""
        began = time.monotonic()
        while not condition():
            for program, process in self.processes.items():
                assert process.poll() is None, self._words(f"{program} ended with status {process.returncode}")
            assert time.monotonic() - began < deadline_s, self._words(f"not within {deadline_s} s: {what}")
            self._pause.wait(0.03)
        return time.monotonic() - began

    def _words(self, what: str) -> str:
        tails = [f"--- {program}\n" + "\n".join(self.log(program).splitlines()[-12:]) for program in self.programs]
        return f"seed {self.seed}: {what}\n" + "\n".join(tails)

    def subscribed(self, name: str) -> bool:
        """Whether a venue has a client with every stream."""
        topics = {topic[:2] for topic in list(self.venues[name].venue.topics)}
        return topics >= {(channel, symbol) for channel in CHANNELS for symbol in self.symbols[name]}

    def wait_subscribed(self) -> None:
        """Return once every venue sends everything that was asked of it."""
        for name in self.venues:
            self.wait(f"{name} is subscribed", lambda name=name: self.subscribed(name))  # type: ignore[misc]

    def live(self, since: float = 0.0) -> bool:
        """Whether all programs said, after that unix time, that all is well and no stream has a gap."""
        reports = [self.health(program) for program in self.programs]
        return all(
            report is not None
            and report.updated_at > since
            and report.state == "live"
            and not report.metrics.get("open_gaps")
            for report in reports
        )

    def wait_live(self, deadline_s: float = 30.0) -> float:
        """Return once all is well; gives the seconds it took. What was said before the call does not count."""
        since = time.time() + 0.1
        return self.wait("all programs are live without an open gap", lambda: self.live(since), deadline_s)

    # ---- the market

    def do(self, name: str, action: str, **arguments: str | float | bool | None) -> dict[str, object]:
        """Ask a venue for a misbehaviour."""
        return self.venues[name].do(action, **arguments)

    def stop_market(self) -> None:
        """No venue has news any more; what it said is on its way."""
        for venue in self.venues.values():
            venue.do("rate", per_s=QUIET)
        self.wait("the venues have sent all", lambda: not any(map(_unsent, self.venues.values())))

    def resume_market(self) -> None:
        """Go on."""
        for venue in self.venues.values():
            venue.do("rate", per_s=self.rate)

    # ---- the database

    def query(self, text: str, *arguments: object) -> list[tuple[Any, ...]]:
        """Rows of a query as superuser of the test."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(text, arguments or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def gaps(self, where: str = "true") -> list[dict[str, Any]]:
        """Gap rows with venue and symbol, oldest first."""
        rows = self.query(
            f"SELECT {', '.join(GAP)} FROM gap LEFT JOIN instrument USING (instrument_id) "
            f"WHERE {where} ORDER BY started_at, gap_id"
        )
        return [dict(zip(GAP, row, strict=True)) for row in rows]

    def number(self, query: str) -> int:
        """The single number a query gives."""
        return int(self.query(query)[0][0])

    def stored(self, table: str = "trade") -> int:
        """Rows of a table."""
        return self.number(f"SELECT count(*) FROM {table}")

    def _flowing(self) -> bool:
        """Whether every stream has rows, and none has a gap that goes on."""
        streams = sum(len(symbols) for symbols in self.symbols.values())
        try:
            if self.query("SELECT FROM gap WHERE ended_at IS NULL LIMIT 1"):
                return False
            return all(
                self.number(f"SELECT count(DISTINCT instrument_id) FROM {table}") >= streams for table in CHANNELS
            )
        except (psycopg2.OperationalError, psycopg2.errors.UndefinedTable):  # no server yet, or no schema
            return False

    def loaded(self) -> bool:
        """Whether the writer stands at the end of every journal."""
        positions = {
            row[0]: Position(row[1], row[2]) for row in self.query("SELECT recorder, segment, position FROM journal")
        }
        for recorder in self.recorders:
            reader = JournalReader(self.journals / recorder)
            position = positions.get(recorder)
            if position is None or reader.lag_bytes(position) > 0:
                return False
        return True

    # ---- the proof

    def prove(self, deadline_s: float = 30.0, *, resume: bool = True) -> Report:
        """Wait until data flows, stop the market, and have every item accounted for.

        The streams must have no open gap before the market stops: such a gap would excuse whatever is missing.

        Args:
            deadline_s: How long the rig may take to settle.
            resume: Let the market go on afterwards. Without, the report and the truth log say the same.
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
                break  # else one began as the market stopped: it must end when the market goes on
        report = self._verify_until_clean(8.0, time.time_ns())
        assert report.ok, self._words("\n".join(report.problems))
        assert not open_ended, self._words(f"gaps nobody ends: {open_ended}")
        assert report.streams, self._words("nothing was judged")
        if resume:
            self.resume_market()
        return report

    def _verify_until_clean(self, deadline_s: float, until_ns: int) -> Report:
        """Rows may still be on their way through a busy machine: judge until clean, or until that is no excuse.

        What comes later is not judged: some venues repeat themselves in a market that stands still.
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
    """Whether something is queued for a client, or the truth log does not say yet that it was sent."""
    return any(
        not client.half_open and (client.pending or client.written) for client in list(venue.venue.clients.values())
    )
