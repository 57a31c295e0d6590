"""Commands about one venue, against a simulated one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.appliance import ROOT
from recorder.cli import main
from recorder.simulator.running import Running, running


@pytest.fixture
def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    with running("kraken", truth=tmp_path / "truth.jsonl", rate=100) as simulated:
        monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__URL", simulated.url)
        monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST_URL", simulated.rest_url)
        yield simulated


@pytest.mark.usefixtures("venue")
def test_symbols_lists_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["symbols", "kraken", "--filter", "sol/", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["symbol"] for item in listed] == ["SOL/USD"]


@pytest.mark.usefixtures("venue")
def test_test_shows_connection_subscription_first_data_and_latency(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "kraken", "BTC/USD"]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["connected", "subscribed", "first", "latency"]


@pytest.mark.usefixtures("venue")
def test_test_of_an_unknown_symbol_is_the_venues_refusal_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "kraken", "NO/SUCH"]) == 2
    assert "kraken refuses: " in capsys.readouterr().err


def test_test_of_a_venue_out_of_reach_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, venue: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__URL", "ws://127.0.0.1:1")
    assert main(["test", "kraken", "BTC/USD"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("venue")
def test_record_refuses_a_symbol_the_venue_does_not_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "kraken", "BTCUSD"]) == 2
    assert "did you mean BTC/USD?" in capsys.readouterr().err


@pytest.mark.usefixtures("venue")
def test_record_prints_what_it_journals_and_needs_no_database(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "tape"
    assert main(["record", "kraken", "BTC/USD", "--seconds", "3", "--json", "--into", str(folder)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["type"] for row in rows} == {"trade", "quote", "book"}
    assert {row["symbol"] for row in rows} == {"BTC/USD"}
    assert list((folder / "recorder-kraken").glob("*.tape"))
