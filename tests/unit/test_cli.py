"""`tapedeck`: wrong input costs one sentence and exit code 2, never a traceback."""

from pathlib import Path

import pytest

import recorder
from recorder.cli import main
from recorder.cli.listing import nearest
from recorder.cli.venue import show


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "")
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tapedeck {recorder.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["statsu"], "No such command 'statsu'. Did you mean 'status'"),
        (["decode", "krakn", "x"], "unknown venue 'krakn'; known: "),
        (["decode", "kraken", "missing.jsonl"], "there is no file missing.jsonl"),
        (["--config", "missing.toml", "settings"], "there is no settings file 'missing.toml'"),
        (["subscribe", "kraken", "BTC/USD", "--channel", "candles"], "kraken has no channel 'candles'"),
        (["unsubscribe", "kraken", "BTC USD"], "'BTC USD' is no symbol"),
        (["unsubscribe", "kraken", "BTC/USD"], "the database cannot be reached"),
        (["verify"], "the database cannot be reached"),
        (["verify", "--truth", "nowhere"], "there is no truth log in nowhere"),
        (["record", "krakn", "BTC/USD"], "unknown venue 'krakn'"),
        (["test", "krakn"], "unknown venue 'krakn'"),
        (["symbols", "krakn"], "unknown venue 'krakn'"),
        (["simulate", "do", "krakn", "close"], "simulates no venue 'krakn'; simulated are: binance, bitfinex, "),
        (["simulate", "do", "kraken", "close", "oddly"], "'oddly' is not NAME=VALUE"),
        (["logs"], "there is no log of any program"),
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


def test_status_of_what_does_not_run_is_unhealthy_not_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 1
    assert "not running" in capsys.readouterr().out
    assert main(["status", "--json"]) == 1
    assert '"healthy": false' in capsys.readouterr().out


def test_down_of_what_does_not_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert capsys.readouterr().out == "nothing was running\n"


def test_up_refuses_a_database_that_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert main(["up"]) == 2
    err = capsys.readouterr().err
    assert "the database cannot be reached" in err
    assert "hunter2" not in err
    assert not home.exists()


def test_settings_show_where_each_value_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/none")
    assert main(["settings"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("database.url"))
    assert line.endswith("# the environment")
    assert "hunter2" not in out


def test_every_command_teaches_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    commands = (
        "up down status logs psql record symbols test decode subscribe unsubscribe verify settings migrate simulate"
    )
    for command in commands.split():
        assert main([command, "--help"]) == 0
        assert "Example" in capsys.readouterr().out, command


def test_the_nearest_symbol_is_hinted_at() -> None:
    assert nearest("BTCUSD", ["BTC/USD", "ETH/USD"]) == "; did you mean BTC/USD?"
    assert nearest("zzz", ["BTC/USD"]) == "; `tapedeck symbols` shows all"


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
