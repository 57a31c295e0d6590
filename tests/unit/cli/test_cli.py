"""`tapedeck`: wrong input costs one sentence and exit code 2, never a traceback."""

from pathlib import Path

import pytest

from recorder.cli import main
from recorder.cli.record import show
from recorder.cli.streams.symbols import nearest_symbol
from recorder.venues.base import Listing


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "")
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["export"], "No such command 'export'. Did you mean 'tapedeck-analysis export'"),
        (["statsu"], "No such command 'statsu'. Did you mean 'status'"),
        (["decode", "krakn", "x"], "unknown venue 'krakn'; did you mean kraken?"),
        (["decode", "kraken", "missing.jsonl"], "there is no file missing.jsonl"),
        (["logs", "-n", "x"], "Invalid value for '--lines' / '-n': 'x' is not a whole number\n"),
        (["test", "kraken", "--timeout", "soon"], "Invalid value for '--timeout': 'soon' is not a number\n"),
        (["test", "kraken", "--timeout", "0"], "'--timeout': '0' is too small; the least is 0.1\n"),
        (["settings", "--example", "yaml"], "Invalid value for '--example': 'yaml' is not one of 'env', 'toml'\n"),
        (["decode", "kraken", "."], ". is a folder; name one file in it"),
        (["--config", "", "settings"], "--config is empty; name a TOML file or a profile (demo, live)"),
        (["--config", "..", "settings"], "the settings file '..' is a folder; name a TOML file in it"),
        (["up", "--venues", ""], "--venues names no venue; known are "),
        (["up", "--exchanges", " ,"], "--venues names no venue; known are "),
        (["--config", "missing.toml", "settings"], "there is no settings file 'missing.toml'"),
        (["subscribe", "kraken", "BTC/USD", "--channel", "candles"], "kraken has no channel 'candles'"),
        (["unsubscribe", "kraken", "BTC USD"], "'BTC USD' is not a symbol"),
        (["unsubscribe", "kraken", "BTC/USD"], "the database cannot be reached"),
        (["verify"], "the database cannot be reached"),
        (["verify", "--truth", "nowhere"], "there is no truth log in nowhere"),
        (["record", "krakn", "BTC/USD"], "unknown venue 'krakn'"),
        (["test", "krakn"], "unknown venue 'krakn'"),
        (["symbols", "krakn"], "unknown venue 'krakn'"),
        (["simulate", "do", "krakn", "close"], "simulates no venue 'krakn'; did you mean kraken?"),
        (["simulate", "do", "kraken", "close", "oddly"], "'oddly' is not NAME=VALUE"),
        (["logs"], "there is no log in "),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tapedeck: ")
    assert fragment in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["gaps"],
        ["heal"],
        ["heal", "--once"],
        ["heal", "--once", "--dry-run"],
        ["poll", "healing", "--once"],
        ["psql"],
        ["subscribe", "kraken", "BTC/USD"],
        ["subscriptions"],
        ["verify"],
        ["whales"],
    ],
    ids=" ".join,
)
def test_every_command_says_the_same_of_a_database_that_is_down(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1].startswith(f"tapedeck: the database cannot be reached: the appliance in {home} is not running; `")
    assert err[-1].endswith(" starts it")


def test_what_to_do_about_a_database_of_your_own_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:1/none")
    assert main(["gaps"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("start it, or correct DATABASE_URL (`tapedeck doctor` checks)")


def test_status_of_what_does_not_run_is_unhealthy_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert "not running" in capsys.readouterr().out
    assert main(["status", "--json"]) == 1
    assert '"healthy": false' in capsys.readouterr().out


def test_down_of_what_does_not_run_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert " ".join(capsys.readouterr().out.split()) == f"nothing was running in {home}"


def test_up_refuses_a_database_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    assert main(["up"]) == 2
    err = capsys.readouterr().err
    assert "the database cannot be reached" in err
    assert "hunter2" not in err
    assert not home.exists()


def test_settings_show_where_each_value_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    assert main(["settings"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("database.url"))
    assert line.endswith("# the environment")
    assert "hunter2" not in out


def test_the_nearest_symbol_is_suggested() -> None:
    listings = [
        Listing(symbol, "", "", "spot", None, None, "", canonical=symbol.replace("/", "-"))
        for symbol in ("BTC/USD", "ETH/USD", "BTC/EUR")
    ]
    assert nearest_symbol("kraken", "BTCUSD", listings) == "; did you mean BTC/USD?"
    assert nearest_symbol("kraken", "BTC/USDD", listings) == "; did you mean BTC/USD?"
    assert nearest_symbol("kraken", "XBT/USD", listings) == "; kraken's feed calls it BTC/USD"
    assert nearest_symbol("okx", "zzz", listings) == "; `tapedeck symbols` lists all"


def test_an_event_is_shown_on_one_line() -> None:
    row = {
        "type": "trade",
        "symbol": "BTC/USD",
        "ts_recv": "2026-11-21T13:09:23.500000Z",
        "price": 1.5,
        "size": 2.0,
        "aggressor": "buy",
        "trade_id": 9,
    }
    assert show(row) == "13:09:23.500000 trade BTC/USD 1.5 x 2.0 buy #9"
