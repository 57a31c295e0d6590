"""`tapedeck settings`: values with their origin, the port table, and examples that are true."""

import json
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from support.captured_data import ROOT

from recorder.cli import main
from recorder.cli.settings import env_example, toml_example
from recorder.settings import Settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("kind", "name"), [("env", ".env.example"), ("toml", "tapedeck.toml.example")])
def test_the_example_in_the_repository_is_what_the_command_prints(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings", "--example", kind]) == 0
    assert capsys.readouterr().out == (ROOT / name).read_text(), f"run: tapedeck settings --example {kind} > {name}"


def test_the_example_of_a_settings_file_loads_as_it_is_and_with_every_line_in_use(tmp_path: Path) -> None:
    file = tmp_path / "tapedeck.toml"
    text = "\n".join(toml_example())
    file.write_text(text)
    assert Settings.load(file, {}).venues == {}
    file.write_text(re.sub(r"(?m)^# (?=\[[\w.]+\]$|\w+ = )", "", text))
    settings = Settings.load(file, {})
    assert settings.venues["NAME"].symbols == ("BTC-USD", "top:20")
    defaults = Settings.load(Path("live"), {})
    for group in ("journal", "writer", "monitoring", "log", "poller", "watchdog"):
        unset = {"dir", "alert_webhook_url", "reserve_mb"} if group != "journal" else {"dir"}
        given = getattr(settings, group).model_dump(exclude=unset)
        assert given == getattr(defaults, group).model_dump(exclude=unset)


def test_the_example_of_a_dotenv_loads_as_it_is_and_with_every_line_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAPEDECK_HOME")
    file = tmp_path / ".env"
    file.write_text("\n".join(env_example()))
    assert Settings.load().file.stem == "demo"
    file.write_text(re.sub(r"(?m)^# (?=[A-Z_]+=)(?!.*_FILE=)", "", file.read_text()))
    assert len(dotenv_values(file)) > 25
    settings = Settings.load()
    assert settings.venues["name"].max_links == 4
    assert settings.websocket == Settings.load(Path("demo"), {}).websocket
    assert settings.warnings == ()


def test_settings_in_a_pipe_have_lines_a_person_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 130
    assert "venues.polymarket.symbols = [" in "\n".join(lines)


def test_settings_end_with_the_ports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TAPEDECK__PORT_BASE", "25000")
    assert main(["settings"]) == 0
    table = capsys.readouterr().out.partition("# ports on 127.0.0.1")[2].splitlines()[1:]
    assert [line.split()[0] for line in table[:3]] == ["25000", "25001", "25009"]
    assert table[2].split()[-1] == "database.port"
    assert main(["settings", "--json"]) == 0
    ports = json.loads(capsys.readouterr().out)["ports"]
    assert {"port": 25010, "service": "JupyterLab", "setting": "jupyter.port", "used": False} in ports


def test_variables_without_effect_are_named_beside_the_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REDIS_HOST", "x")
    assert main(["settings"]) == 0
    assert capsys.readouterr().err == "tapedeck: REDIS_HOST has no effect: journals on disk replace Redis\n"
    assert main(["status"]) == 1
    assert "REDIS" not in capsys.readouterr().err


def test_a_venue_that_does_not_exist_is_refused_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tapedeck.toml").write_text("[venues.krakn]\nsymbols = ['BTC/USD']\n")
    assert main(["settings"]) == 2
    assert capsys.readouterr().err == "tapedeck: unknown venue 'krakn'; did you mean kraken?\n"
