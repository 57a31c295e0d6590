"""`tapedeck markets`, from the poller's memory on disk, without a database."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.machine.terminal import in_terminal
from support.poller.polymarket_rounds import intake
from support.venues.polymarket import HOUR_NS, gamma_row, iso, market

from recorder.clock import SystemClock
from recorder.poller.polymarket.jobs import MEMORY_FILE
from recorder.poller.polymarket.memory import Memory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    now_ns, markets = SystemClock().wall_ns(), intake()
    for number, hours in ((1, 0.5), (2, 30.0), (3, 2.0)):
        row = {
            "id": str(number), "conditionId": f"0x{number:064x}", "question": f"Will [b]{number}[/b] happen?\x1b[2J",
            "clobTokenIds": f'["{number}0", "{number}1"]', "endDate": iso(now_ns + round(hours * HOUR_NS)),
        }  # fmt: skip
        markets.board.put(market(now_ns, **(gamma_row() | row)))
    Memory(markets, tmp_path / MEMORY_FILE, SystemClock()).save()
    return tmp_path


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [sys.executable, "-m", "recorder", "markets", *arguments],
        env=os.environ | {"TAPEDECK_HOME": str(home), "COLUMNS": "140"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_markets_are_listed_by_tier_and_filtered(home: Path) -> None:
    result = run(home, "--json")
    assert result.returncode == 0, result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(one["market_id"], one["tier"]) for one in found] == [(1, "T4"), (3, "T3"), (2, "T1")]
    assert found[0]["tokens"] == ["10", "11"]
    only = run(home, "--tier", "T3", "--search", "WILL", "--json")
    assert [json.loads(line)["market_id"] for line in only.stdout.splitlines()] == [3]
    assert run(home, "--search", "21", "--json").stdout.count("\n") == 1  # a token
    table = run(home)
    assert "Will [b]1[/b] happen?" in table.stdout
    assert "\x1b" not in table.stdout
    assert "3 of 3 markets" in table.stderr


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_whole_questions_are_shown_in_lines_that_fit(columns: int, home: Path) -> None:
    markets, question = intake(), "Will " + " and ".join(f"candidate number {one}" for one in range(9)) + " win?"
    row = {"id": "7", "question": question, "endDate": iso(SystemClock().wall_ns() + HOUR_NS)}
    markets.board.put(market(SystemClock().wall_ns(), **(gamma_row() | row)))
    Memory(markets, home / MEMORY_FILE, SystemClock()).save()
    command = [sys.executable, "-m", "recorder", "markets"]
    code, lines, _ = in_terminal(command, columns, {"TAPEDECK_HOME": str(home)})
    assert code == 0
    assert question in " ".join(line.strip() for line in lines)
    assert all(len(line) <= columns for line in lines)


@pytest.mark.parametrize("columns", [60, 80])
def test_whole_names_of_jobs_are_shown_in_lines_that_fit(columns: int, home: Path) -> None:
    config = home / "one.toml"
    config.write_text('[venues.polymarket]\nsymbols = ["1"]\n')
    environment = {
        "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    }  # fmt: skip
    command = [sys.executable, "-m", "recorder", "poll", "--list"]
    code, lines, _ = in_terminal(command, columns, environment)
    assert code == 0
    for name in ("polymarket-books-t0", "polymarket-resolutions", "polymarket-unlabelled"):
        assert any(line == name or line.startswith(f"{name} ") for line in lines), lines
    assert all(len(line) <= columns for line in lines if not line.startswith(("the poller", "outcomes")))


def test_an_unknown_tier_and_a_home_without_markets_are_explained(home: Path, tmp_path: Path) -> None:
    wrong = run(home, "--tier", "T9")
    assert (wrong.returncode, "there is no tier 'T9'" in wrong.stderr) == (2, True)
    (home / MEMORY_FILE).unlink()
    none = run(home)
    assert none.returncode == 2
    assert "has no markets; the poller writes them" in none.stderr
