"""Commands about an appliance that does not run: each names what to type next."""

from pathlib import Path

import msgspec
import pytest

from recorder.appliance.hints import hint
from recorder.appliance.status import Line
from recorder.cli import main
from recorder.cli.appliance import _progress as progress_of
from recorder.load.main import Loader, health_of
from recorder.process.health import LinkFailure
from recorder.settings import Settings
from recorder.store.loader import Store


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("TAPEDECK_CONFIG", "TAPEDECK__PORT_BASE", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_the_log_of_a_program_that_does_not_exist_is_answered_with_the_nearest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "log").mkdir(parents=True)
    for name in ("writer", "poller"):
        (home / "log" / f"{name}.log").touch()
    assert main(["logs", "wirter"]) == 2
    assert "there is no log of 'wirter'" in (err := capsys.readouterr().err)
    assert err.rstrip().endswith("did you mean writer?")


def test_psql_of_a_stopped_server_says_how_to_start_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["psql"]) == 2
    err = capsys.readouterr().err
    assert f"the appliance in {home} is not running; `tapedeck up` starts it" in err


def test_up_without_a_venue_is_refused_before_anything_starts(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.toml"
    file.write_text("port_base = 25000\n")
    assert main(["--config", str(file), "up"]) == 2
    assert "enables no venue, so there is nothing to record: add [venues.NAME], or start" in capsys.readouterr().err
    assert not (home / "running").exists()


@pytest.mark.parametrize("option", ["--venues", "--exchanges"])
def test_up_with_a_wrong_venue_is_answered_with_the_nearest(
    option: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", option, "coinbase,krakn"]) == 2
    assert capsys.readouterr().err.rstrip().endswith("has no venue 'krakn'; did you mean kraken?")
    assert not home.exists()


@pytest.mark.parametrize(
    ("program", "state", "detail", "uptime_s", "words"),
    [
        ("recorder-x", "degraded", "1 of 1 links not live", 90.0, "connecting"),
        ("writer", "waiting", "Postgres has not answered yet", 90.0, "waiting for Postgres"),
        ("writer", "waiting", "down: connection refused", 5.0, "waiting for Postgres"),
        ("writer", "waiting", "down: connection refused", 90.0, "down: connection refused"),
    ],
)
def test_what_every_start_passes_through_does_not_read_like_an_error(
    program: str, state: str, detail: str, uptime_s: float, words: str
) -> None:
    line = Line(program, "RUNNING", state, detail, uptime_s, problem=f"{state}: {detail}")
    assert progress_of(line) == words
    if program == "recorder-x":
        failed = msgspec.structs.replace(line, last_error=LinkFailure("no such host", 1.0))
        assert progress_of(failed) == f"{detail} (no such host)"


def test_a_hint_names_make_in_a_checkout_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hint("up") == "`tapedeck up`"
    monkeypatch.chdir(Path(__file__).parents[3])
    assert hint("up") == "`make run`"


def test_a_writer_that_has_not_tried_yet_says_what_it_waits_for(tmp_path: Path) -> None:
    health = health_of(Loader(Store(lambda: ""), tmp_path, Settings.load(Path("demo"), {})))()
    assert (health.state, health.detail) == ("waiting", "Postgres has not answered yet")
