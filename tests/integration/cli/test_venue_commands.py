"""Commands about one venue, against a simulated one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.database_server import ROOT
from support.misbehaving_rest import response, rest_server

from recorder.cli import main
from recorder.cli.streams.symbols import check_symbols, spelled_as_listed
from recorder.errors import ConfigError
from recorder.settings import Settings
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
        monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST__PER_S", "1000")  # one command after the other
        yield simulated


@pytest.mark.usefixtures("venue")
def test_symbols_lists_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["symbols", "kraken", "--filter", "sol/", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["symbol"] for item in listed] == ["SOL/USD"]


@pytest.mark.usefixtures("venue")
def test_symbols_are_chosen_by_glob_kind_status_and_volume(capsys: pytest.CaptureFixture[str]) -> None:
    def chosen(*options: str) -> list[str]:
        assert main(["symbols", "kraken", "--json", *options]) == 0
        return [json.loads(line)["symbol"] for line in capsys.readouterr().out.splitlines()]

    everything = chosen()
    assert len(everything) > 2
    assert chosen("--filter", "BTC/*") == ["BTC/USD"]
    assert chosen("--filter", "btc/*") == []  # a glob minds the case
    assert chosen("--filter", "btc") == ["BTC/USD", "ETH/BTC"]
    assert chosen("--kind", "spot", "--status", "online") == everything
    assert chosen("--kind", "perpetual") == chosen("--status", "maintenance") == []
    assert len(chosen("--top", "2")) == 2


@pytest.mark.usefixtures("venue")
def test_symbols_are_found_by_their_canonical_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["symbols", "kraken", "--filter", "sol-usd", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(item["symbol"], item["canonical"]) for item in listed] == [("SOL/USD", "SOL-USD")]


@pytest.mark.usefixtures("venue")
def test_a_symbol_is_checked_by_either_name_and_an_old_code_gets_a_hint() -> None:
    settings = Settings.load(None)
    checked = check_symbols(settings, "kraken", ["BTC-USD", "ETH/USD", "SOL/*"])
    assert checked.spelled == ["BTC/USD", "ETH/USD", "SOL/*"]
    assert checked.symbols == ["BTC/USD", "ETH/USD", "SOL/USD"]
    assert spelled_as_listed(settings, "kraken", ["BTC-USD", "XRP-JPY", "*-USD"]) == ["BTC/USD", "XRP-JPY", "*-USD"]
    for old in ("XBT/USD", "XBTUSD", "XBT-USD"):
        with pytest.raises(ConfigError, match=f"does not list the symbol '{old}'; kraken's feed calls it BTC/USD"):
            check_symbols(settings, "kraken", [old])


def test_a_canonical_name_of_several_instruments_is_refused_with_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    pairs = b'[[["BTCUST",[]],["BTCF0:USTF0",[]],["ETHUST",[]]]]'
    with rest_server(response(body=pairs), response(body=b"[]")) as server:
        monkeypatch.setenv("TAPEDECK__VENUES__BITFINEX__REST_URL", server.url)
        settings = Settings.load(Path("live"))
        sentence = r"several instruments BTC-USDT: tBTCUST \(spot\), tBTCF0:USTF0 \(perpetual\); give the symbol"
        with pytest.raises(ConfigError, match=sentence):
            check_symbols(settings, "bitfinex", ["BTC-USDT"])
        with pytest.raises(ConfigError, match=sentence):
            spelled_as_listed(settings, "bitfinex", ["BTC-USDT"])
        assert check_symbols(settings, "bitfinex", ["ETH-USDT", "tBTCUST"]).spelled == ["tETHUST", "tBTCUST"]


@pytest.mark.usefixtures("venue")
def test_symbols_of_a_venue_that_fails_are_those_of_last_time_with_their_age(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = b'{"error":[],"result":{"XXBTZUSD":{"wsname":"XBT/USD","tick_size":"0.1","status":"online"}}}'
    day = b'{"error":[],"result":{"XXBTZUSD":{"c":["50","1"],"v":["1","2"]}}}'
    with rest_server(response(body=pairs), response(body=day), response("404 Gone", b"{}")) as server:
        monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST_URL", server.url)
        assert main(["symbols", "kraken", "--json"]) == 0
        before = capsys.readouterr().out
        assert json.loads(before)["volume"] == 100.0
        assert main(["symbols", "kraken", "--json"]) == 0
    after = capsys.readouterr()
    assert after.out == before
    assert after.err.count("\n") == 1
    assert "its list of " in after.err
    assert " seconds ago is used" in after.err


def test_symbols_of_a_venue_that_never_answered_is_one_sentence_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, venue: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST__RETRIES", "0")
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__REST_URL", "http://127.0.0.1:1")
    assert main(["symbols", "kraken"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "does not answer" in output.err


@pytest.mark.usefixtures("venue")
def test_a_pattern_without_a_number_is_refused_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "kraken", "top:many"]) == 2
    assert "write top:20" in capsys.readouterr().err


@pytest.mark.usefixtures("venue")
def test_record_takes_patterns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "tape")
    assert main(["record", "kraken", "BTC/*", "--seconds", "6", "--json", "--into", folder]) == 0
    assert {json.loads(line)["symbol"] for line in capsys.readouterr().out.splitlines()} == {"BTC/USD"}


@pytest.mark.usefixtures("venue")
def test_test_shows_connection_subscription_first_data_and_latency(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "kraken", "BTC/USD"]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["connected", "subscribed", "first", "latency"]


@pytest.mark.usefixtures("venue")
def test_test_of_an_unknown_symbol_is_the_venues_refusal_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "kraken", "NO/SUCH"]) == 2
    assert "kraken refuses: " in capsys.readouterr().err
    assert main(["test", "kraken", "BTCUSD"]) == 2
    assert "did you mean BTC/USD?" in capsys.readouterr().err


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
def test_a_recording_in_which_nothing_came_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK__VENUES__KRAKEN__URL", "ws://127.0.0.1:9/")
    assert main(["record", "kraken", "BTC/USD", "--seconds", "0.5", "--into", str(tmp_path / "tape")]) == 1
    assert "nothing of kraken was received; " in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "tape" / "recorder.log").stat().st_size > 0


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


@pytest.mark.usefixtures("venue")
def test_record_without_a_venue_takes_the_one_whose_settings_list_the_symbol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["record", "BTC/USD", "SOL/USD", "--seconds", "3", "--json", "--into", str(tmp_path / "tape")]) == 0
    out, err = capsys.readouterr()
    assert {json.loads(line)["symbol"] for line in out.splitlines()} == {"BTC/USD", "SOL/USD"}
    assert "recording kraken into" in err


@pytest.mark.usefixtures("venue")
def test_record_of_a_symbol_that_several_venues_record_asks_for_the_venue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["record", "ETH-USD"]) == 2
    assert "coinbase and figure record ETH-USD; name the venue before the symbol" in capsys.readouterr().err
    assert main(["record", "kraken"]) == 2
    assert "name a symbol of kraken" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "symbol"), [("figure", "HASH-USD"), ("bitfinex", "tBTCUSD")])
def test_record_names_the_symbol_where_frames_carry_only_the_id_of_a_request(
    name: str, symbol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    with running(name, truth=tmp_path / "truth.jsonl", rate=100) as simulated:
        monkeypatch.setenv(f"TAPEDECK__VENUES__{name.upper()}__URL", simulated.url)
        monkeypatch.setenv(f"TAPEDECK__VENUES__{name.upper()}__REST_URL", simulated.rest_url)
        assert main(["record", symbol, "--seconds", "6", "--json", "--into", str(tmp_path / "tape")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["type"] for row in rows} >= {"trade", "book"}
    assert {row["symbol"] for row in rows} == {symbol}
