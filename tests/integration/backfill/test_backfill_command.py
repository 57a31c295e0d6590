"""`tapedeck backfill`: it reads without a poller, waits for a running one, and refuses what makes no sense."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.fault_rig import Rig, Sections
from support.poller.journals import rows

from recorder.cli import main
from recorder.simulator.running import Running, running

SYMBOL = "BTC-USD"


def iso(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat()


@pytest.fixture
def venue(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A simulated venue that stands still, in the settings of a home."""
    config = tmp_path / "one.toml"
    with running("coinbase", truth=tmp_path / "c.jsonl", rate=0) as one:
        config.write_text(f'[venues.coinbase]\nrest_url = "{one.rest_url}"\n')
        for name, value in {
            "TAPEDECK_HOME": str(tmp_path / "home"), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield one


def test_without_a_poller_the_command_reads_and_leaves_the_rows_in_the_journal(
    venue: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    past = list(venue.venue.symbols[SYMBOL].history)
    wanted = past[8:20]
    times = "--start", iso(wanted[0].ts_ns), "--end", iso(wanted[-1].ts_ns)
    inside = [one.id for one in past if wanted[0].ts_ns <= one.ts_ns < wanted[-1].ts_ns]
    assert main(["backfill", "coinbase", SYMBOL, *times, "--json"]) == 0
    line = json.loads(capfd.readouterr().out)
    assert (line["state"], line["grade"], line["listed"]) == ("done", "proved", len(inside))
    stored = rows(tmp_path / "home" / "journal" / "tapedeck", "past_trade")
    assert sorted(row["trade_id"] for row in stored) == inside
    minutes = "--start", iso(past[0].ts_ns - 120 * 10**9), "--end", iso(past[0].ts_ns)
    assert main(["backfill", "coinbase", SYMBOL, *minutes, "--what", "candles", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["state"] == "done"
    assert main(["backfill", "coinbase"]) == 0
    shown = capfd.readouterr()
    assert f"coinbase {SYMBOL} trades" in shown.out
    assert "2 backfills" in shown.err
    assert main(["backfill", "--withdraw"]) == 0
    assert "2 withdrawn" in capfd.readouterr().out, "no writer has loaded what was read"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["coinbase", SYMBOL, "--start", "yesterday"], "is not an instant"),
        (["coinbase", SYMBOL, "--start", "2026-11-02", "--end", "2026-11-01"], "--start must be before --end"),
        (["coinbase", SYMBOL, "--start", "1969-01-01", "--end", "2026-11-01"], "and after 2008"),
        (["coinbase", SYMBOL, "--start", "2026-11-02", "--end", "2999-01-01"], "--end must be 30 s ago"),
        (["coinbase", SYMBOL, "--start", "2026-11-01", "--what", "books"], "--what is trades or candles"),
        (["coinbase", "BTC-DSU", "--start", "2026-11-01"], "does not list the symbol"),
        (["coinbase", "*-USD", "--start", "2026-11-01"], "is a pattern"),
        (["coinbase", "B T C", "--start", "2026-11-01"], "is not a symbol"),
        (["coinbase", "--start", "2026-11-01"], "name a venue and a symbol"),
        (["coinbase", SYMBOL, "--end", "2026-11-01"], "--start is missing"),
        (["--withdraw", "--start", "2026-11-01"], "--withdraw takes a venue and a symbol"),
        (["--withdraw", "coinbase", "FOO"], "no backfill of these goes on"),
        (["kraken", "BTC/USD", "--start", "2026-11-01"], "kraken is not in the settings"),
        (["krakn", "BTC/USD", "--start", "2026-11-01"], "krakn"),
        (["yahoo", "AAPL", "--start", "2026-11-01"], "yahoo"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(
    venue: Running, words: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["backfill", *words]) == 2
    shown = capfd.readouterr()
    assert sentence in shown.err
    assert "Traceback" not in shown.err


def test_beside_a_poller_the_command_waits_for_it(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings: Sections = {"poller": {"off": ["healing"]}, "poller.every_s": {"backfill": 2}}
    with Rig(tmp_path, database, 38, venues=("coinbase",), rate=200.0, settings=settings) as rig:
        rig.start("writer")
        rig.wait("there are tables", lambda: bool(rig.query("SELECT to_regclass('backfill')")[0][0]))
        symbol = rig.symbols["coinbase"][0]
        rig.stop_market()
        past = list(rig.venues["coinbase"].venue.symbols[symbol].history)
        rig.start("poller")
        rig.wait("the poller runs", lambda: rig.health("poller") is not None, 60.0)
        for name, value in {
            "TAPEDECK_HOME": str(rig.home), "TAPEDECK_CONFIG": str(rig.home / "tapedeck.toml"),
            "DATABASE_URL": database,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        times = "--start", iso(past[8].ts_ns), "--end", iso(past[20].ts_ns)
        assert main(["backfill", "coinbase", symbol, *times]) == 0
        shown = capfd.readouterr()
        assert "done, proved" in " ".join(shown.out.split())
        assert "the running poller reads it" in shown.err
        assert rig.stored() == len([one for one in past if past[8].ts_ns <= one.ts_ns < past[20].ts_ns])
