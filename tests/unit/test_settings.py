"""Settings: which layer wins, and what a person reads when something is wrong."""

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from recorder.settings import FLAT_NAMES, Settings


def write(folder: Path, text: str) -> Path:
    file = folder / "tapedeck.toml"
    file.write_text(text)
    return file


def complaint(file: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        Settings.load(file, environ or {})
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_every_profile_loads_and_says_which_file_it_is() -> None:
    for name in ("demo", "live"):
        settings = Settings.load(Path(name), {})
        assert settings.file.stem == name
        assert settings.venues


def test_environment_wins_over_dotenv_and_dotenv_over_toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path, "[journal]\nflush_ms = 11\nfsync_ms = 22\nsegment_mb = 33\n")
    (tmp_path / ".env").write_text("TAPEDECK__JOURNAL__FLUSH_MS=12\nTAPEDECK__JOURNAL__FSYNC_MS=23\nLOG_LEVEL=ERROR\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAPEDECK__JOURNAL__FLUSH_MS", "13")
    settings = Settings.load(file)
    assert (settings.journal.flush_ms, settings.journal.fsync_ms, settings.journal.segment_mb) == (13, 23, 33)
    assert settings.log.level == "ERROR"
    origins = {key: origin for key, _, origin in settings.rows()}
    assert origins["journal.flush_ms"] == "the environment"
    assert origins["journal.fsync_ms"] == ".env"
    assert origins["journal.segment_mb"] == str(file)
    assert origins["journal.reserve_mb"] == "default"


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("WEBSOCKET_MAX_RETRIES", "5", 5),
        ("WEBSOCKET_RECONNECT_DELAY", "2.5", 2.5),
        ("CONNECTION_HEALTH_CHECK_INTERVAL", "3", 3.0),
        ("MAX_NO_DATA_SECONDS", "45", 45.0),
        ("HEARTBEAT_INTERVAL", "7", 7.0),
        ("HEARTBEAT_TIMEOUT", "8", 8.0),
        ("MONITORING_ENABLED", "false", False),
        ("METRICS_REPORTING_INTERVAL", "30", 30.0),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("DEBUG", "true", True),
    ],
)
def test_the_plain_names_of_the_specification_work(name: str, text: str, expected: object) -> None:
    settings = Settings.load(Path("demo"), {name: text})
    group, key = FLAT_NAMES[name]
    assert getattr(getattr(settings, group), key) == expected


def test_secrets_are_masked_wherever_settings_are_printed() -> None:
    secrets = {"DATABASE_URL": "postgresql://me:hunter2@db/tape", "ALERT_WEBHOOK_URL": "https://hooks/hunter3"}
    settings = Settings.load(Path("demo"), secrets)
    printed = repr(settings) + str(list(settings.rows())) + settings.model_dump_json()
    assert "hunter" not in printed
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == secrets["DATABASE_URL"]


def test_empty_database_url_means_the_embedded_server_even_over_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, '[database]\nurl = "postgresql://db/tape"\n')
    assert Settings.load(file, {}).database.url is not None
    assert Settings.load(file, {"DATABASE_URL": ""}).database.url is None


def test_lists_in_the_environment_are_words_with_commas_or_json() -> None:
    key = "TAPEDECK__VENUES__KRAKEN__SYMBOLS"
    for text in ("BTC/USD, ETH/USD", '["BTC/USD", "ETH/USD"]'):
        assert Settings.load(Path("demo"), {key: text}).venues["kraken"].symbols == ("BTC/USD", "ETH/USD")


def test_an_unknown_key_names_the_file_the_key_and_the_nearest_known_one(tmp_path: Path) -> None:
    assert complaint(write(tmp_path, "[journal]\nflush_m = 1\n")) == (
        f"{tmp_path}/tapedeck.toml has an unknown key journal.flush_m; did you mean flush_ms?"
    )
    assert "unknown key jurnal; did you mean journal?" in complaint(write(tmp_path, "[jurnal]\nflush_ms = 1\n"))
    assert "venues.kraken.symbol; did you mean symbols?" in complaint(
        write(tmp_path, '[venues.kraken]\nsymbol = ["BTC/USD"]\n')
    )


def test_an_unknown_variable_of_ours_is_an_error_and_others_are_left_alone(tmp_path: Path) -> None:
    file = write(tmp_path, "")
    assert "TAPEDECK_HOEM, which is unknown; did you mean TAPEDECK_HOME?" in complaint(file, {"TAPEDECK_HOEM": "x"})
    assert "journal.flush; did you mean" in complaint(file, {"TAPEDECK__JOURNAL__FLUSH": "1"})
    Settings.load(file, {"EDITOR": "vi", "LOG_LEVELS": "x"})


def test_an_unknown_name_in_dotenv_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("WEBSOCKET_RECONECT_DELAY=3\n")
    with pytest.raises(ConfigError, match=r"\.env sets WEBSOCKET_RECONECT_DELAY.*mean WEBSOCKET_RECONNECT_DELAY"):
        Settings.load(write(tmp_path, ""))


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("journal = [", "is not valid TOML"),
        ("[journal]\nflush_ms = 'soon'\n", "wrong value for journal.flush_ms: input should be a valid integer"),
        ("[journal]\nflush_ms = 0\n", "wrong value for journal.flush_ms: input should be greater than or equal to 1"),
        ("journal = 3\n", "wrong value for journal: input should be a valid dictionary"),
        ("[venues.x]\nchannels = ['trades']\n", "wrong value for venues.x.channels"),
        ("[venues.x]\nurl = 'http://x'\n", "wrong value for venues.x.url"),
        ("[log]\nlevel = 'LOUD'\n", "wrong value for log.level: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ],
)
def test_a_wrong_value_is_told_in_one_sentence(tmp_path: Path, text: str, fragment: str) -> None:
    assert fragment in complaint(write(tmp_path, text))


def test_a_missing_or_unreadable_file_is_told_in_one_sentence(tmp_path: Path) -> None:
    assert "name a TOML file or one of the profiles demo, live" in complaint(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in complaint(binary)


def test_paths_follow_the_home_and_each_database_has_its_own_journals(tmp_path: Path) -> None:
    demo = Settings.load(Path("demo"), {"TAPEDECK_HOME": str(tmp_path)})
    live = Settings.load(Path("live"), {"TAPEDECK_HOME": str(tmp_path)})
    assert demo.home == tmp_path
    assert demo.simulator.truth_dir == tmp_path / "simulator"
    assert demo.journal.dir.parent == tmp_path / "journal"
    assert demo.journal.dir != live.journal.dir


def test_without_a_name_the_settings_of_the_running_appliance_are_used(tmp_path: Path) -> None:
    environ = {"TAPEDECK_HOME": str(tmp_path)}
    assert Settings.load(None, environ).file.stem == "demo"
    (tmp_path / "running").write_text(f"{Settings.load(Path('live'), environ).file}\n")
    assert Settings.load(None, environ).file.stem == "live"
    assert Settings.load(None, {**environ, "TAPEDECK_CONFIG": "demo"}).file.stem == "demo"


def test_a_program_started_with_the_environment_has_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.load(Path("live"), {"TAPEDECK_HOME": str(tmp_path)})
    assert Settings.load(None, settings.environment()).file == settings.file


def test_a_variable_that_only_shares_our_prefix_is_left_alone() -> None:
    assert Settings.load(Path("demo"), {"TAPEDECK_DATA": "/elsewhere", "TAPEDECK_BENCH": "x"}).simulator.enabled
