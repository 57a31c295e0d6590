"""A poller that was killed knows at its next start what the killed one knew, whatever its file of memory is like."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.database_server import ROOT
from support.poller.journals import Poller, rows
from support.poller.market_site import Site, serving
from support.venues.polymarket import HOUR_NS, NOW_NS, gamma_row, iso

from recorder.appliance.processes import wait_until
from recorder.clock import ManualClock
from recorder.poller import recovery
from recorder.poller.job import Job, Kept
from recorder.poller.jobs import all_jobs
from recorder.poller.polymarket.jobs import MEMORY_FILE, polymarket_jobs
from recorder.poller.round import KeptRound
from recorder.process.health import WriterFigures, read_all
from recorder.settings import Settings
from recorder.verify.check import verify

MARKETS, NEW, RESOLUTIONS, TIERS = (f"polymarket-{name}" for name in ("markets", "new", "resolutions", "tiers"))
UP = (1_000_000, 0)


class Home:
    """Pollers that follow each other with one journal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = Site()
        self.clock = ManualClock(NOW_NS)
        self.file = folder / MEMORY_FILE
        (folder / "tapedeck.toml").write_text('[venues.polymarket]\nenabled = true\nsymbols = ["1"]\n')
        self.start()

    def start(self) -> None:
        settings = Settings.load(self.folder / "tapedeck.toml", {"TAPEDECK_HOME": str(self.folder)})
        jobs = [job for job in polymarket_jobs(settings, self.clock, lambda: "") if job.name != "polymarket-streams"]
        services = dict.fromkeys(("gamma", "data", "clob", "stream"), self.site)
        self.poller = Poller(self.folder, jobs, self.clock, services=services)

    def run(self, *jobs: str) -> None:
        """Run a round of each of some jobs, a second apart."""
        for name in jobs:
            self.clock.advance(1)
            run = self.poller.runner.extra(name, "test")
            assert run is not None
            assert run.state != "failed", run

    def remember(self) -> None:
        """Write the file of memory, as once in five minutes."""
        self.clock.advance(301)
        self.run(TIERS)
        assert self.file.exists()

    def kill(self) -> None:
        """Let another poller begin after a kill."""
        self.poller.abandon()
        self.clock.advance(5)
        self.start()

    def rows(self, table: str) -> list[dict[str, Any]]:
        return rows(self.folder, table)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def values(home: Home) -> list[Any]:
    """Return the values of tick_size in the order in which they were stored."""
    return [json.loads(row["value"][1:]) for row in home.rows("market_history") if row["field"] == "tick_size"]


def lose(home: Home, how: str) -> None:
    """Do to the file of memory what may happen to it."""
    match how:
        case "absent":
            home.file.unlink()
        case "damaged":
            home.file.write_bytes(home.file.read_bytes()[:-7])
        case _:
            assert how == "older"


@pytest.mark.parametrize("how", ["older", "absent", "damaged"])
def test_a_value_that_changed_before_a_kill_and_back_after_it_is_stored_again(home: Home, how: str) -> None:
    home.run(MARKETS)
    home.remember()
    home.site.change(orderPriceMinTickSize=0.001)
    home.run(MARKETS)
    lose(home, how)
    home.kill()
    home.site.change()
    home.run(MARKETS)
    assert values(home) == [0.001, 0.01]
    home.run(MARKETS)
    assert values(home) == [0.001, 0.01]


def test_a_change_that_a_killed_round_saw_first_is_stored_though_a_later_round_saw_it_too(home: Home) -> None:
    home.run(MARKETS)
    home.remember()
    home.site.change(orderPriceMinTickSize=0.001)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home.poller.journal, "finish", lambda *_: None)  # the round is not over before the kill
        home.run(MARKETS)
    home.run(NEW)
    assert values(home) == [], "the later round saw nothing new"
    home.kill()
    assert values(home) == [0.001]
    home.site.change()
    home.run(MARKETS)
    assert values(home) == [0.001, 0.01]


@pytest.mark.parametrize("how", ["older", "absent", "damaged"])
def test_a_label_is_decided_once_whenever_the_poller_was_killed(home: Home, how: str) -> None:
    home.site.change(endDate=iso(NOW_NS + 200 * 10**9))
    home.run(MARKETS)
    home.remember()
    home.site.payouts = UP
    home.run(RESOLUTIONS)
    lose(home, how)
    for _ in range(2):
        home.kill()
        home.clock.advance(600)
        home.run(RESOLUTIONS, MARKETS, RESOLUTIONS)
    assert len(home.rows("resolution")) == 1


@pytest.mark.parametrize("how", ["older", "absent", "damaged"])
def test_a_market_that_came_and_closed_between_two_files_has_its_label_after_a_kill(home: Home, how: str) -> None:
    home.run(MARKETS)
    home.remember()
    short = {"id": "1557999", "conditionId": "0x" + "cd" * 32, "clobTokenIds": '["31", "32"]'}
    home.site.gamma.rows["1557999"] = gamma_row(**short, endDate=iso(home.clock.wall_ns() + 60 * 10**9))
    home.run(NEW)
    home.site.gamma.rows["1557999"] |= {"closed": True}
    lose(home, how)
    home.kill()
    home.clock.advance(120)
    home.run(RESOLUTIONS)
    assert any(short["conditionId"] in path for path in home.site.asked)


def test_answers_before_the_mark_of_the_file_are_not_taken_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    take = recovery.take

    def noted(job: Job, round: KeptRound, kept: Kept) -> bool:
        taken.append(job.name)
        return take(job, round, kept)

    monkeypatch.setattr(recovery, "take", noted)
    home.run(MARKETS)
    home.remember()
    home.run(NEW)
    home.kill()
    assert taken == [NEW, NEW]  # what the stream announced, and the list
    before = len(home.rows("market"))
    home.kill()
    assert len(home.rows("market")) == before


def test_a_market_that_vanished_before_a_kill_is_stored_again_where_it_returns(home: Home) -> None:
    home.run(MARKETS)
    home.remember()
    row = home.site.gamma.rows.pop("1557558")
    home.run(MARKETS, MARKETS, MARKETS)
    assert [one["phase"] for one in home.rows("market")][-1] == "vanished"
    home.kill()
    home.site.gamma.rows["1557558"] = row
    home.run(MARKETS)
    assert [one["phase"] for one in home.rows("market")][-1] == "open"
    assert home.clock.wall_ns() < NOW_NS + HOUR_NS


def settings_of(home: Path, url: str) -> Path:
    """Write the settings of a poller that asks a site every second, and return their file."""
    jobs = [job.name for job in all_jobs(Settings.load(None, {"TAPEDECK_HOME": str(home)}), ManualClock())]
    own = (MARKETS, RESOLUTIONS, TIERS)
    config = home / "kill.toml"
    config.write_text(
        f"""[poller]
off = {json.dumps([name for name in jobs if name not in own and not name.startswith("yahoo")])}
[poller.every_s]
{MARKETS} = 1
{RESOLUTIONS} = 1
[poller.services]
gamma = "{url}"
data = "{url}"
clob = "{url}"
[venues.polymarket]
rest_url = "{url}"
symbols = []
"""
    )
    return config


def test_a_poller_killed_by_signal_nine_leaves_the_newest_value_and_the_first_label_in_the_database(
    tmp_path: Path, database: str
) -> None:
    site, ended = Site(), iso(time.time_ns() - 60 * 10**9)
    site.change(endDate=iso(time.time_ns() + HOUR_NS))
    journal = tmp_path / "journal" / "tapedeck"
    processes: list[subprocess.Popen[bytes]] = []
    with serving(site) as url:
        environment = {
            **os.environ, "TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": str(settings_of(tmp_path, url)),
            "DATABASE_URL": database,
        }  # fmt: skip

        def start(name: str) -> subprocess.Popen[bytes]:
            with (tmp_path / f"{name}.log").open("ab") as log:
                command = [sys.executable, str(ROOT / "bin" / name)]
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            return processes[-1]

        def wait(condition: Callable[[], object]) -> None:
            assert wait_until(lambda: bool(condition()), 60.0), [
                one.read_text()[-3000:] for one in tmp_path.glob("*.log")
            ]

        def ticks() -> list[bytes]:
            return [row["value"] for row in rows(journal, "market_history") if row["field"] == "tick_size"]

        def swept(times: int) -> Callable[[], bool]:
            before = len(site.asked)
            return lambda: sum("&end_date_min=" in path for path in site.asked[before:]) >= times

        def loaded() -> bool:
            report = read_all(tmp_path).get("writer")
            figures = report.figures if report is not None else None
            return isinstance(figures, WriterFigures) and bool(figures.journals) and not figures.lag_bytes

        try:
            poller = start("poller")
            wait((tmp_path / MEMORY_FILE).exists)
            file = (tmp_path / MEMORY_FILE).read_bytes()
            site.payouts = UP
            site.change(endDate=ended, orderPriceMinTickSize=0.001)
            wait(lambda: len(ticks()) == 1 and rows(journal, "resolution"))
            poller.kill()
            poller.wait()
            assert (tmp_path / MEMORY_FILE).read_bytes() == file
            site.change(endDate=ended)
            poller = start("poller")
            wait(swept(3))
            poller.terminate()
            assert poller.wait(20) == 0
            [label] = rows(journal, "resolution")
            start("writer")
            wait(loaded)
        finally:
            for process in processes:
                process.kill()
                process.wait()
    connection = psycopg2.connect(database)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT tick_size FROM market")
            assert cursor.fetchall() == [(0.01,)]
            cursor.execute("SELECT value FROM market_history WHERE field = 'tick_size' ORDER BY known_at")
            assert cursor.fetchall() == [(0.001,), (0.01,)]
            cursor.execute("SELECT (extract(epoch FROM known_at) * 1000000)::bigint, revision FROM resolution")
            assert cursor.fetchall() == [(label["known_at"] // 1000, label["revision"])]
        assert verify(connection).ok
    finally:
        connection.close()
