"""A real appliance, its real faults, and what the watchdog says of them."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.database_server import ROOT
from support.machine.ports import free_port_base

from recorder.appliance import embedded_postgres, processes, supervisor
from recorder.appliance.processes import wait_until
from recorder.appliance.supervisor import Supervisor
from recorder.cli import main
from recorder.settings import Settings
from recorder.store.database import READER

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence

FASTER = {
    "TAPEDECK__WATCHDOG__EVERY_S": "0.5",
    "TAPEDECK__WATCHDOG__CLEAR_S": "2",
    "TAPEDECK__WATCHDOG__RULES": json.dumps({name: {"for_s": 3} for name in ("program_stuck", "database_hung")}),
}


class Answer(NamedTuple):
    status: int
    body: bytes
    took_s: float


class Watched:
    """An appliance with a watchdog."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = Settings.load()

    def get(self, path: str) -> Answer:
        began_s = time.monotonic()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.watchdog.port}{path}", timeout=5) as reply:
                return Answer(reply.status, reply.read(), time.monotonic() - began_s)
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read(), time.monotonic() - began_s)
        except OSError:
            return Answer(0, b"", time.monotonic() - began_s)

    def alerts(self, state: str) -> dict[tuple[str, str], int]:
        command = [sys.executable, "-m", "recorder", "alerts", "list", "--json"]
        shown = json.loads(subprocess.run(command, capture_output=True, check=False, cwd=ROOT).stdout)
        return {(one["rule"], one["subject"]): one["alert_id"] for one in shown["alerts"] if one["state"] == state}

    def counters(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.get("/metrics").body.decode())
            if family.type == "counter"
            for sample in family.samples
        }

    def pid(self, program: str) -> int:
        return next((one.pid for one in Supervisor(self.home).processes() if one.name == program), 0)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(embedded_postgres.database_url(self.settings, READER))
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            rows = cursor.fetchall()
        connection.close()
        return rows


@contextmanager
def appliance(home: Path, changes: dict[str, str]) -> Iterator[Watched]:
    """Run an appliance of two venues while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
            patch.delenv(name, raising=False)
        patch.setenv("TAPEDECK_HOME", str(home))
        patch.setenv("TAPEDECK__PORT_BASE", str(free_port_base()))
        for name, value in (FASTER | changes).items():
            patch.setenv(name, value)
        patch.chdir(ROOT)
        for venue in Settings.load().venues.keys() - {"coinbase", "kraken"}:
            patch.setenv(f"TAPEDECK__VENUES__{venue.upper()}__ENABLED", "false")
        try:
            assert main(["up"]) == 0
            yield Watched(home)
        finally:
            for process in processes.find(home):
                with suppress(ProcessLookupError):  # a backend of Postgres has ended meanwhile
                    os.kill(process.pid, signal.SIGCONT)
            assert supervisor.stop(home, 60.0, lambda left: None) == []


@pytest.fixture
def watched(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Watched]:
    """An appliance that a test may break."""
    with appliance(tmp_path / "home", getattr(request, "param", {})) as one:
        yield one


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """An appliance that several tests only look at."""
    with appliance(tmp_path_factory.mktemp("calm") / "home", {"TAPEDECK__WATCHDOG__TRADES_INTERVAL_S": "10"}) as one:
        yield one


@pytest.mark.timeout(300)
def test_the_figures_of_an_interval_are_what_postgres_has(calm: Watched) -> None:
    def metrics() -> dict[str, float]:
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(calm.get("/metrics").body.decode())
            for sample in family.samples
        }

    def complete() -> bool:
        shown = metrics()
        return all(
            shown.get(f"tapedeck_interval_trades {venue}", 0) > 0 and f"tapedeck_interval_message_rate {venue}" in shown
            for venue in ("coinbase", "kraken")
        )

    assert wait_until(complete, 90.0)
    shown = metrics()
    until = shown["tapedeck_interval_end_timestamp_seconds"]
    query = """
        SELECT venue, symbol, count(*), sum(price * size) / sum(size), max(price), min(price),
               sum(size) FILTER (WHERE side = 'buy') / sum(size) FILTER (WHERE side = 'sell'),
               count(*) FILTER (WHERE price * size >= 100000)
          FROM trade_named
         WHERE ts_event >= to_timestamp({since}) AND ts_event < to_timestamp({until}) GROUP BY 1, 2"""
    stored = calm.rows(query.format(since=until - 10, until=until))
    assert sum(row[2] for row in stored) == sum(
        value for name, value in shown.items() if name.startswith("tapedeck_interval_trades ")
    )
    for venue, symbol, trades, vwap, high, low, ratio, large in stored:
        labels = f"{symbol} {venue}"
        for name, value in {"trades": trades, "high": high, "low": low, "large_trades": large}.items():
            assert shown[f"tapedeck_instrument_{name} {labels}"] == value
        assert shown[f"tapedeck_instrument_vwap {labels}"] == pytest.approx(vwap, rel=1e-9)
        if ratio is not None:
            assert shown[f"tapedeck_instrument_buy_sell_ratio {labels}"] == pytest.approx(ratio, rel=1e-9)

    command = [sys.executable, "-m", "recorder", "status", "--trades"]
    answer = json.loads(subprocess.run([*command, "--json"], capture_output=True, check=True, cwd=ROOT).stdout)
    assert answer["activity"]["problem"] == ""
    assert {one["venue"] for one in answer["activity"]["trades"]["venues"]} == {"coinbase", "kraken"}
    for width in (60, 80):
        environ = {**os.environ, "COLUMNS": str(width)}
        text = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=environ, text=True).stdout
        print(text)
        assert all(len(line) <= width for line in text.splitlines())
        assert "VWAP" in text
    log = (calm.home / "log" / "watchdog.log").read_text()
    assert " trades.instrument venue=kraken " in log
    assert " activity venue=kraken " in log

    hanging = [process.pid for process in processes.find(calm.home) if process.program == "postgres"]
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    assert wait_until(lambda: metrics()["tapedeck_interval_trades_known"] == 0, 60.0)
    assert "tapedeck_interval_trades kraken" not in metrics()
    text = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, text=True).stdout
    assert "trades: unknown: Postgres is hung" in text
    for pid in hanging:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(300)
def test_the_watchdog_is_small(calm: Watched) -> None:
    """With its usual time between rounds, a watchdog takes less than 2 % of a core, and less than 80 MB."""
    pid = calm.pid("watchdog")

    def cpu_s() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    if not Path(f"/proc/{pid}/stat").exists():
        pytest.skip("needs /proc")

    def rounds() -> float:
        return calm.counters()[("tapedeck_watchdog_rounds_total", ())]

    assert wait_until(lambda: calm.get("/metrics").status == 200, 30.0)
    first, began_s = rounds(), cpu_s()
    assert wait_until(lambda: rounds() - first >= 12, 60.0, pause_s=3.0)  # as many as in a minute of the usual rounds
    used_s = cpu_s() - began_s
    resident = int(next(
        line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    ))  # fmt: skip
    print(f"{used_s:.2f} s for {rounds() - first:.0f} rounds, {resident / 1024:.0f} MiB")
    assert used_s < 0.02 * 60
    assert resident * 1024 < 80_000_000


@pytest.mark.timeout(300)
def test_what_metrics_count_is_what_postgres_has(calm: Watched) -> None:
    """Programs are stopped here, so no test of the same appliance follows."""
    assert wait_until(lambda: calm.rows("SELECT count(*) FROM trade")[0][0] > 200, 60.0)
    control = [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(calm.home / "supervisord.conf")]
    stopped = ["recorder-coinbase", "recorder-kraken", "poller"]
    subprocess.run([*control, "stop", *stopped], check=True, capture_output=True)

    def equal() -> bool:
        counters = calm.counters()
        tables = {name: calm.rows(f"SELECT count(*) FROM {name}")[0][0] for name in ("trade", "quote", "book")}
        shown = {name: counters.get(("tapedeck_ledger_inserted_rows_total", (("table", name),))) for name in tables}
        (ledger,) = calm.rows("SELECT sum(inserted), sum(duplicate) FROM load_ledger")[0:1]
        written = (
            counters.get(("tapedeck_writer_rows_total", ())),
            counters.get(("tapedeck_writer_duplicates_total", ())),
        )
        print(shown, tables, written, ledger)
        return shown == tables and written == ledger

    assert wait_until(equal, 120.0, pause_s=2.0)


@pytest.mark.timeout(600)
def test_the_watchdog_sees_what_breaks_and_what_comes_back(watched: Watched) -> None:
    assert wait_until(lambda: watched.get("/health").status == 200, 60.0)
    assert watched.get("/critical").status == 200
    assert watched.alerts("firing") == {}

    # A recorder that is stopped is stuck, and nothing else.
    stopped = watched.pid("recorder-kraken")
    os.kill(stopped, signal.SIGSTOP)
    assert wait_until(lambda: bool(watched.alerts("firing")), 40.0)
    assert watched.alerts("firing").keys() == {("program_stuck", "recorder-kraken")}
    assert watched.get("/health").status == watched.get("/critical").status == 503
    ids = watched.alerts("firing")
    before = watched.counters()

    # A killed watchdog continues with the same alert, and no counter falls.
    os.kill(watched.pid("watchdog"), signal.SIGKILL)
    assert wait_until(lambda: watched.get("/metrics").status == 200, 60.0)
    assert watched.alerts("firing") == ids
    after = watched.counters()
    assert {name: (value, after.get(name)) for name, value in before.items() if after.get(name, -1.0) < value} == {}
    os.kill(stopped, signal.SIGCONT)
    assert wait_until(lambda: not watched.alerts("firing"), 60.0), watched.alerts("firing")
    assert watched.alerts("resolved") == ids
    assert wait_until(lambda: watched.get("/health").status == 200, 30.0)

    # A hanging Postgres is one alert, delays no answer, and stops no recording.
    hanging = [process.pid for process in processes.find(watched.home) if process.program == "postgres"]
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    assert wait_until(lambda: ("database_hung", "") in watched.alerts("firing"), 40.0)
    for path, status in (("/health", 200), ("/critical", 200), ("/metrics", 200)):
        answers = [watched.get(path) for _ in range(20)]
        assert {answer.status for answer in answers} == {status}, answers[0].body.decode()
        took_s = statistics.median(answer.took_s for answer in answers)
        print(f"{path} while Postgres hangs: median of 20 {took_s * 1000:.1f} ms")
        assert took_s < 0.25, "tests run side by side here; alone it is below 0.05"
    assert watched.alerts("firing").keys() == {("database_hung", "")}
    assert any(
        item["name"] == "postgres" and item["age_s"] > 3 for item in json.loads(watched.get("/health").body)["items"]
    )
    for pid in hanging:
        os.kill(pid, signal.SIGCONT)
    assert wait_until(lambda: not watched.alerts("firing"), 60.0), watched.alerts("firing")

    # Postgres has both, which fired before and while it was away.
    stored = "SELECT rule, subject, state, resolved_at > fired_at FROM alert ORDER BY fired_at"
    expected = [("program_stuck", "recorder-kraken", "resolved", True), ("database_hung", "", "resolved", True)]
    assert wait_until(lambda: watched.rows(stored) == expected, 30.0), watched.rows(stored)


@pytest.mark.timeout(420)
@pytest.mark.parametrize("watched", [{"TAPEDECK__WATCHDOG__RESTART_STUCK_S": "15"}], indirect=True)
def test_a_stopped_recorder_is_restarted_once_and_all_places_say_so(watched: Watched) -> None:
    recorder = "recorder-kraken"
    assert wait_until(lambda: watched.get("/health").status == 200, 60.0)
    others = {one.name: one.pid for one in Supervisor(watched.home).processes() if one.name != recorder}
    # Nothing is restarted in the first two times 15 s of a program, so the others go on for that long.
    stopped = watched.pid(recorder)
    began_s = time.monotonic()
    os.kill(stopped, signal.SIGSTOP)
    assert wait_until(lambda: watched.pid(recorder) not in (0, stopped), 120.0)
    print(f"a new process {time.monotonic() - began_s:.1f} s after SIGSTOP")
    assert time.monotonic() - began_s >= 15

    stored = "SELECT program, pid, outcome, killed FROM program_restart"
    assert wait_until(lambda: watched.rows(stored) == [(recorder, stopped, "restarted", True)], 60.0)
    (took_s,) = watched.rows("SELECT extract(epoch FROM ended_at - started_at)::float8 FROM program_restart")[0]
    print(f"the restart took {took_s:.1f} s")
    assert 15 <= took_s < 40, "SIGTERM does not end a stopped process, SIGKILL does"
    assert wait_until(lambda: ("program_stuck", recorder) in watched.alerts("resolved"), 60.0)
    # A busy machine may have had such an alert before.
    action = "SELECT coalesce(action, '') FROM alert WHERE subject = 'recorder-kraken' ORDER BY fired_at DESC LIMIT 1"
    assert wait_until(lambda: watched.rows(action)[0][0].startswith("restarted at "), 60.0), watched.rows(action)
    counts = "tapedeck_watchdog_restarts_total"
    assert wait_until(lambda: watched.counters().get((counts, (("program", recorder),))) == 1.0, 20.0)
    assert watched.counters()[counts, (("program", "writer"),)] == 0.0
    assert {one.name: one.pid for one in Supervisor(watched.home).processes() if one.name != recorder} == others
    log = (watched.home / "log" / "watchdog.log").read_text()
    assert [log.count(f" program.{event} ") for event in ("restart", "restarted", "failed")] == [1, 1, 0]
    gaps = "SELECT count(*) > 0 FROM gap WHERE cause = 'restart'"
    assert wait_until(lambda: watched.rows(gaps) == [(True,)], 60.0)


@pytest.mark.timeout(420)
@pytest.mark.parametrize("watched", [{"TAPEDECK__WATCHDOG__RESTART_STUCK_S": "15"}], indirect=True)
def test_what_only_waits_for_postgres_is_not_restarted(watched: Watched) -> None:
    assert wait_until(lambda: watched.get("/health").status == 200, 60.0)
    pids = {one.name: one.pid for one in Supervisor(watched.home).processes()}
    hanging = [process.pid for process in processes.find(watched.home) if process.program == "postgres"]

    def rounds() -> float:
        return watched.counters()[("tapedeck_watchdog_rounds_total", ())]

    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    first = rounds()
    assert wait_until(lambda: rounds() - first > 2 * 70, 180.0, pause_s=2.0), "70 s with two rounds a second"
    for pid in hanging:
        os.kill(pid, signal.SIGCONT)
    assert {one.name: one.pid for one in Supervisor(watched.home).processes()} == pids
    assert wait_until(lambda: watched.rows("SELECT count(*) FROM program_restart") == [(0,)], 60.0)
