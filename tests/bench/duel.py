"""Capacity, latency and outage of the recorder against cryptofeed, on one feed, in one run.

    .venv/bin/python tests/bench/duel.py [--reps 3] [--total 200000]

The feed server, the peer's application and the throw-away Postgres cluster are the bench kit in `TAPEDECK_BENCH`
(default ../shared/bench); without it there is nothing to compare with, and this says so. The machine is noisy:
subjects alternate, ratios are of medians, and bare times mean nothing outside of one run.
"""

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
from rich.console import Console
from rich.table import Table

from recorder.migrate import migrate

ROOT = Path(__file__).resolve().parents[2]
KIT = Path(os.environ.get("TAPEDECK_BENCH", ROOT.parent / "shared" / "bench"))
FEED_PORT, PG_PORT = 18765, 18432
SYMBOLS = ["BTC-USD", "ETH-USD", "SOL-USD", "XRP-USD", "DOGE-USD"]
PEER_TABLES = """
DROP TABLE IF EXISTS ticker, trades, book;
CREATE TABLE ticker (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), bid numeric(64, 32), ask numeric(64, 32));
CREATE TABLE trades (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), side varchar(8), amount numeric(64, 32), price numeric(64, 32), trade_id varchar(64),
    order_type varchar(32));
CREATE TABLE book (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), data jsonb);
"""
COUNTS = {
    "peer": ("FROM trades", "FROM ticker", "FROM book WHERE data ? 'delta'"),
    "ours": ("FROM trade", "FROM quote", "FROM book WHERE kind = 'd'"),
}
STAMPS = {"peer": "timestamp AT TIME ZONE 'UTC'", "ours": "ts_event"}
TRADES = {"peer": "trades", "ours": "trade"}
DATABASE = {"peer": "postgres", "ours": "tapedeck_bench"}


class Bench:
    """A cluster, a feed, and one subject at a time."""

    def __init__(self, kit: ModuleType, peer_python: str) -> None:
        self.kit = kit
        self.peer_python = peer_python
        self.root = Path(kit.ROOT)
        self.cluster = kit.Cluster(PG_PORT)
        self.home = self.root / "ours"

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{PG_PORT}/{database}"

    def query(self, who: str, sql: str) -> Any:
        with contextlib.closing(psycopg2.connect(self.url(DATABASE[who]))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchone() if cursor.description else None

    def counts(self, who: str) -> list[int]:
        return [int(self.query(who, f"SELECT count(*) {rows}")[0]) for rows in COUNTS[who]]

    @contextlib.contextmanager
    def subject(self, who: str) -> Iterator[list[subprocess.Popen[bytes]]]:
        """The processes of one recorder, on fresh tables, ended by their ids."""
        if who == "peer":
            self.query("peer", PEER_TABLES)
            command = [self.peer_python, "peer_cryptofeed_app.py", "binance", str(FEED_PORT), str(PG_PORT), "0"]
            processes = [subprocess.Popen(command, cwd=KIT, stderr=subprocess.DEVNULL)]
        else:
            processes = self._start_ours()
        try:
            yield processes
        finally:
            for process in processes:
                process.send_signal(signal.SIGKILL if who == "peer" else signal.SIGTERM)
            for process in processes:
                process.wait(20)

    def _start_ours(self) -> list[subprocess.Popen[bytes]]:
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir(parents=True)
        self.query("peer", f"DROP DATABASE IF EXISTS {DATABASE['ours']} WITH (FORCE)")
        migrate(self.url(DATABASE["ours"]))
        config = self.home / "bench.toml"
        config.write_text(
            f'[venues.coinbase]\nurl = "ws://127.0.0.1:{FEED_PORT}/cbx"\nsymbols = {SYMBOLS}\n'.replace("'", '"')
        )
        environment = {
            **os.environ,
            "TAPEDECK_HOME": str(self.home),
            "TAPEDECK_CONFIG": str(config),
            "DATABASE_URL": self.url(DATABASE["ours"]),
            "PYTHONPATH": str(ROOT),
        }
        commands = [[sys.executable, "bin/recorder", "coinbase"], [sys.executable, "bin/writer"]]
        with open(self.home / "log", "ab") as log:
            return [
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) for command in commands
            ]

    @contextlib.contextmanager
    def feed(self, who: str, *arguments: object) -> Iterator[None]:
        proto = "binance" if who == "peer" else "cbx"
        feed = self.kit.feed(
            FEED_PORT, str(self.root / "truth.json"), "--proto", proto, "--start-delay", 1.5, *arguments
        )
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self.kit.get(FEED_PORT, "/_stop")
            feed.wait(20)

    def truth(self) -> dict[str, Any]:
        return dict(self.kit.get(FEED_PORT, "/_truth"))

    def cpu_s(self, processes: list[subprocess.Popen[bytes]]) -> list[float]:
        return [self.kit.proc(process.pid)[0] for process in processes]

    def rss_mb(self, processes: list[subprocess.Popen[bytes]]) -> list[float]:
        return [self.kit.proc(process.pid)[1] for process in processes]

    def capacity(self, who: str, total: int) -> dict[str, float]:
        """All messages offered at once; rows committed over the time from first send to last commit."""
        with self.feed(who, "--total", total, "--max-seconds", 120):
            postgres_s = self.cluster.cpu()
            with self.subject(who) as processes:
                wait_for(lambda: self.truth().get("t_start"), 30)
                started_s, base = self.truth()["t_start"], self.cpu_s(processes)
                wait_for(lambda: sum(self.counts(who)) >= total, 100, every_s=0.5)
                used = [after - before for after, before in zip(self.cpu_s(processes), base, strict=True)]
                rows, rss = sum(self.counts(who)), self.rss_mb(processes)
                ended_s = max(float(self._last_commit(who, table)) for table in self._tables(who))
                postgres_us = (self.cluster.cpu() - postgres_s) / rows * 1e6
        return {
            "rate": rows / (ended_s - started_s),
            "cpu_us": sum(used) / rows * 1e6,
            "recorder_us": used[0] / rows * 1e6,
            "postgres_us": postgres_us,
            "rss_mb": rss[0],
            "rows": rows,
        }

    def _tables(self, who: str) -> tuple[str, ...]:
        return ("trades", "ticker", "book") if who == "peer" else ("trade", "quote", "book")

    def _last_commit(self, who: str, table: str) -> float:
        return float(
            self.query(
                who,
                "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(x::text::xid))) "
                f"FROM (SELECT DISTINCT xmin::text AS x FROM {table}) AS transactions",
            )[0]
        )

    def paced(self, who: str, rate: float, seconds: float, outage_s: float = 0.0) -> dict[str, float]:
        """A fixed rate; optionally Postgres is stopped for a while in the middle."""
        total = int(rate * seconds)
        with self.feed(who, "--total", total, "--rate", rate, "--max-seconds", seconds + outage_s + 90), \
                self.subject(who) as processes:  # fmt: skip
            wait_for(lambda: self.truth().get("t_start"), 30)
            base = self.cpu_s(processes)
            catch_up = rss_before = rss_during = 0.0
            if outage_s:
                deadline = time.monotonic() + seconds / 4
                wait_for(lambda: time.monotonic() > deadline, seconds)
                rss_before = self.kit.proc(processes[0].pid)[2]
                self.cluster.stop("fast")
                deadline = time.monotonic() + outage_s
                wait_for(lambda: time.monotonic() > deadline, outage_s + 5)
                rss_during = self.kit.proc(processes[0].pid)[2]
                self.cluster.start()
                catch_up = self._catch_up(who, rate)
            wait_for(lambda: self.truth().get("t_end"), seconds + 60)
            with contextlib.suppress(TimeoutError):
                wait_for(lambda: sum(self.counts(who)) >= total, 10)
            used = sum(self.cpu_s(processes)) - sum(base)
            p50, p99 = self.query(
                who,
                "SELECT percentile_cont(array[.5, .99]) WITHIN GROUP (ORDER BY ms) FROM (SELECT extract(epoch FROM "
                f"pg_xact_commit_timestamp(xmin) - ({STAMPS[who]})) * 1000 AS ms FROM {TRADES[who]}) AS latency",
            )[0]
            stored = sum(self.counts(who))
        return {
            "p50_ms": p50, "p99_ms": p99, "cpu_us": used / total * 1e6, "lost": total - stored,
            "catch_up": catch_up, "rss_before_mb": rss_before, "rss_during_mb": rss_during,
        }  # fmt: skip

    def _catch_up(self, who: str, rate: float) -> float:
        """Rows a second while the backlog is loaded, over the live rate."""
        before, began_s = 0, time.monotonic()
        with contextlib.suppress(TimeoutError, psycopg2.Error):
            wait_for(lambda: self._answers(who), 30)
            before, began_s = sum(self.counts(who)), time.monotonic()
            wait_for(lambda: self.truth()["generated"] - sum(self.counts(who)) < rate / 2, 60)
        spent_s = max(time.monotonic() - began_s, 1e-9)
        return (sum(self.counts(who)) - before) / spent_s / rate

    def _answers(self, who: str) -> bool:
        try:
            self.counts(who)
        except psycopg2.Error:
            return False
        return True


def wait_for(condition: Any, limit_s: float, every_s: float = 0.05) -> None:
    """Poll until a condition holds.

    Raises:
        TimeoutError: it did not in time.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(every_s)  # a poll: the condition above decides


def peer_python(root: Path) -> str:
    """An interpreter with cryptofeed; its own environment is made on first use. 2.5 needs Python 3.12."""
    folder = root / "venv-cryptofeed"
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        base = shutil.which("python3.12") or sys.executable
        subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "cryptofeed", "asyncpg"], check=True)
        (folder / ".ready").touch()
    return str(python)


def median(rows: list[dict[str, float]], key: str) -> float:
    return float(statistics.median(float(row[key]) for row in rows))


def main() -> int:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--reps", type=int, default=3, help="rounds; subjects alternate within each")
    parser.add_argument("--total", type=int, default=200_000, help="messages of a capacity run")
    parser.add_argument("--rate", type=float, default=8000, help="messages/s of our latency run")
    parser.add_argument("--only", default="capacity,latency,outage")
    parser.add_argument("--who", default="peer,ours")
    options = parser.parse_args()
    console = Console()
    if not (KIT / "feedserver.py").exists():
        console.print(f"no bench kit in {KIT}: set TAPEDECK_BENCH to a folder with feedserver.py")
        return 2
    sys.path.insert(0, str(KIT))
    kit = importlib.import_module("common")
    Path(kit.ROOT).mkdir(parents=True, exist_ok=True)
    subjects = options.who.split(",")
    bench = Bench(kit, peer_python(Path(kit.ROOT)) if "peer" in subjects else "")
    results: dict[tuple[str, str], list[dict[str, float]]] = {}
    try:
        for _ in range(options.reps):
            for who in subjects:
                if "capacity" in options.only:
                    results.setdefault(("capacity", who), []).append(bench.capacity(who, options.total))
                if "latency" in options.only and who == "ours":
                    results.setdefault(("latency", who), []).append(bench.paced(who, options.rate, 8))
        if "outage" in options.only:
            for who in subjects:
                results["outage", who] = [bench.paced(who, 1000, 40, outage_s=20)]
    finally:
        bench.cluster.close()
    for (what, who), rows in results.items():
        table = Table(title=f"{what}: {who}")
        for key in rows[0]:
            table.add_column(key, justify="right")
        for row in rows:
            table.add_row(*(f"{value:,.1f}" for value in row.values()))
        console.print(table)
    peer, ours = results.get(("capacity", "peer")), results.get(("capacity", "ours"))
    if peer and ours:
        table = Table("ratio of medians", "ours / peer")
        table.add_row("messages/s", f"{median(ours, 'rate') / median(peer, 'rate'):.2f}")
        table.add_row("CPU per message, recorder", f"1/{median(peer, 'cpu_us') / median(ours, 'recorder_us'):.1f}")
        table.add_row("CPU per message, recorder + writer", f"1/{median(peer, 'cpu_us') / median(ours, 'cpu_us'):.1f}")
        table.add_row("CPU per message, Postgres", f"1/{median(peer, 'postgres_us') / median(ours, 'postgres_us'):.1f}")
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
