"""`tapedeck poll`: the list with and without a poller, and rounds by hand."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import ROOT

from recorder.appliance.processes import wait_until
from recorder.cli import main
from recorder.process.health import PollerFigures, read_all
from recorder.simulator.running import Running, running


@pytest.fixture
def kraken(tmp_path: Path) -> Iterator[Running]:
    """A simulated venue that stands still."""
    with running("kraken", truth=tmp_path / "k.jsonl", rate=0) as venue:
        yield venue


@pytest.fixture
def home(tmp_path: Path, database: str, kraken: Running, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with one simulated venue; its address is in the environment."""
    config = tmp_path / "one.toml"
    config.write_text("[venues.kraken]\n")
    for name, value in {
        "TAPEDECK_HOME": str(tmp_path / "home"), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
        "TAPEDECK__VENUES__KRAKEN__REST_URL": kraken.rest_url,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return tmp_path / "home"


def answer(capfd: pytest.CaptureFixture[str]) -> dict[str, object]:
    found = json.loads(capfd.readouterr().out)
    assert isinstance(found, dict)
    return found


def start_poller(home: Path) -> "subprocess.Popen[bytes]":
    """Start a poller, and return once its first round of discovery has ended."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "bin" / "poller")], env=dict(os.environ), stdout=subprocess.DEVNULL
    )

    def started() -> bool:
        report = read_all(home).get("poller")
        figures = report.figures if report else None
        return isinstance(figures, PollerFigures) and figures.jobs["discovery"].last_state != ""

    assert wait_until(started, 60.0)
    return process


def test_a_poller_that_ends_in_the_middle_of_the_round_is_a_failure(
    home: Path, kraken: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start_poller(home)
    (home / "listings" / "kraken.json").unlink()  # a fresh list would be used again
    kraken.do("rest", status=503, times=1000, retry_after="10")

    def kill_once_it_runs() -> None:
        def runs() -> bool:
            report = read_all(home).get("poller")
            figures = report.figures if report else None
            return isinstance(figures, PollerFigures) and figures.jobs["discovery"].running_since is not None

        wait_until(runs, 30.0, pause_s=0.05)
        process.kill()
        process.wait()

    killer = threading.Thread(target=kill_once_it_runs)
    killer.start()
    assert main(["poll", "discovery", "--once"]) == 1
    killer.join()
    assert "the poller ended in the middle of a round of discovery" in capfd.readouterr().err


def test_an_interrupted_round_by_hand_says_so_in_one_sentence_and_logs_nothing(home: Path, kraken: Running) -> None:
    kraken.do("rest", status=503, times=1000)
    (rule,) = kraken.venue.faults.rules
    process = subprocess.Popen(
        [sys.executable, "-m", "recorder", "poll", "discovery", "--once"],
        env=dict(os.environ), cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert wait_until(lambda: rule.left != 1000, 30.0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said == "tapedeck: interrupted; the next round of this job does what is left\n"


def test_without_a_poller_the_list_says_so_and_a_round_by_hand_is_run_here(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["poll"]) == 0
    shown = capfd.readouterr()
    assert "the poller is not running" in shown.err
    assert "discovery" in shown.out
    assert main(["poll", "discovery", "--once", "--json"]) == 0
    run = answer(capfd)
    assert (run["job"], run["state"], run["slots"], run["reason"]) == ("discovery", "done", 0, "by hand")
    assert isinstance(run["answers"], int)
    assert run["answers"] > 0
    assert (home / "listings" / "kraken.json").is_file()


def test_a_running_poller_runs_the_round_and_shows_it_in_the_list(
    home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    process = start_poller(home)
    try:
        assert main(["poll", "discovery", "--once", "--json"]) == 0
        assert answer(capfd)["reason"] == "by hand"
        assert main(["poll", "--list", "--json"]) == 0
        listed = answer(capfd)
        assert listed["running"] is True
        jobs = listed["jobs"]
        assert isinstance(jobs, list)
        assert ("discovery", "every 60 min") in [(one["job"], one["schedule"]) for one in jobs]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["poll", "discovry", "--once"], "there is no job 'discovry'; did you mean discovery?"),
        (["poll", "discovery"], "tapedeck poll discovery --once runs a round of it now"),
        (["poll", "--once"], "--once and --dry-run need the name of a job"),
        (["poll", "discovery", "--once", "--dry-run"], "discovery changes the database itself, so it has no dry run"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    words: list[str], sentence: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert sentence in capfd.readouterr().err


def test_a_job_that_is_off_is_listed_and_not_run(
    home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK__POLLER__OFF", "discovery")
    assert main(["poll", "discovery", "--once"]) == 2
    assert "the job discovery is off; remove it from poller.off" in capfd.readouterr().err
    assert main(["poll", "--json"]) == 0
    jobs = answer(capfd)["jobs"]
    assert isinstance(jobs, list)
    assert jobs[0]["state"] == "off"
    monkeypatch.setenv("TAPEDECK__POLLER__OFF", "nothing")
    assert main(["poll", "discovery", "--once"]) == 2
    assert "poller.off names a job that does not exist: nothing" in capfd.readouterr().err
