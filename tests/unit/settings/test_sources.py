"""Sources of settings: names of earlier systems, files that hold secrets, and variables that have no effect."""

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from recorder.settings import Settings
from recorder.settings.sources import FLAT_NAMES, SECRETS


def load(environ: dict[str, str], profile: str = "demo") -> Settings:
    return Settings.load(Path(profile), environ)


def complaint(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load(environ)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def url_of(settings: Settings) -> str | None:
    return None if settings.database.url is None else settings.database.url.get_secret_value()


def test_db_names_make_the_address_where_database_url_is_unset() -> None:
    parts = {"DB_HOST": "db.example", "DB_NAME": "tape-1", "DB_USER": "me@here", "DB_PASSWORD": "p/w:1"}
    assert url_of(load(parts)) == "postgresql://me%40here:p%2Fw%3A1@db.example:5432/tape-1"
    assert url_of(load({**parts, "DB_PORT": "5433"})) == "postgresql://me%40here:p%2Fw%3A1@db.example:5433/tape-1"
    assert url_of(load({"DB_HOST": "/var/run/postgresql"}, "live")) == (
        "postgresql://%2Fvar%2Frun%2Fpostgresql:5432/tapedeck"
    )
    assert url_of(load({"DB_HOST": "::1", "DB_USER": "me"}, "live")) == "postgresql://me@[::1]:5432/tapedeck"
    assert url_of(load({**parts, "DATABASE_URL": "postgresql://x@y/z"})) == "postgresql://x@y/z"


def test_db_names_without_a_host_leave_the_embedded_server_and_warn() -> None:
    settings = load({"DB_USER": "me", "DB_PASSWORD": "hunter2", "DB_NAME": "other"})
    assert settings.database.url is None
    assert settings.database.name == "other"
    assert settings.journal.dir.name == "other"
    assert any("DB_HOST is not set" in warning for warning in settings.warnings)
    assert "hunter2" not in repr(settings) + str(list(settings.rows())) + str(settings.warnings)


def test_websocket_url_is_the_endpoint_of_figure_and_records_nothing_by_itself(tmp_path: Path) -> None:
    assert load({"WEBSOCKET_URL": "wss://other/ws"}).venues["figure"].url == "wss://other/ws"
    assert load({"WEBSOCKET_URL": "wss://other/ws"}).venues["figure"].enabled
    file = tmp_path / "only.toml"
    file.write_text("[venues.kraken]\nsymbols = ['BTC/USD']\n")
    assert not Settings.load(file, {"WEBSOCKET_URL": "wss://other/ws"}).venues["figure"].enabled


@pytest.mark.parametrize(
    ("ending", "text", "key", "expected"),
    [
        ("ENABLED", "false", "enabled", False),
        ("MAX_CONNECTIONS", "3", "max_links", 3),
        ("SYMBOLS", "BTC/USD, SOL/USD", "symbols", ("BTC/USD", "SOL/USD")),
        ("WS_ENDPOINT", "wss://a/b", "url", "wss://a/b"),
        ("REST_ENDPOINT", "https://a/b", "rest_url", "https://a/b"),
        ("RECONNECT_DELAY_SECS", "2", "reconnect_delay_s", 2.0),
        ("MAX_RECONNECT_DELAY_SECS", "30", "reconnect_cap_s", 30.0),
    ],
)
def test_logger_names_set_a_venue(ending: str, text: str, key: str, expected: object) -> None:
    settings = load({f"LOGGER_EXCHANGES_KRAKEN_{ending}": text})
    assert getattr(settings.venues["kraken"], key) == expected
    dialect = load({f"LOGGER_EXCHANGES_COINBASE_ADVANCED_{ending}": text, "WEBSOCKET_MAX_RETRIES": "1"})
    assert getattr(dialect.venues["coinbase_advanced"], key) == expected


def test_reconnect_delays_of_a_venue_replace_the_general_ones_for_it_alone() -> None:
    settings = load({"LOGGER_EXCHANGES_KRAKEN_RECONNECT_DELAY_SECS": "2.5", "WEBSOCKET_RECONNECT_DELAY": "4"})
    assert settings.for_venue("kraken").websocket.reconnect_delay_s == 2.5
    assert settings.for_venue("kraken").websocket.reconnect_cap_s == settings.websocket.reconnect_cap_s
    assert settings.for_venue("coinbase").websocket.reconnect_delay_s == 4.0


def test_a_logger_name_that_ends_in_no_setting_names_the_nearest() -> None:
    assert complaint({"LOGGER_EXCHANGES_KRAKEN_MAX_CONECTIONS": "3"}).endswith("did you mean MAX_CONNECTIONS?")


def test_the_data_path_of_the_logger_is_the_home_unless_the_home_is_named(tmp_path: Path) -> None:
    assert load({"LOGGER_DATA_PATH": str(tmp_path)}).home == tmp_path
    assert load({"LOGGER_DATA_PATH": str(tmp_path), "TAPEDECK_HOME": "/elsewhere"}).home == Path("/elsewhere")


@pytest.mark.parametrize("name", ["PROMETHEUS_PORT", "LOGGER_HEALTH_CHECK_PORT", "TAPEDECK__WATCHDOG__PORT"])
def test_the_port_of_the_watchdog_has_the_names_of_other_recorders(name: str) -> None:
    assert load({name: "9091"}).watchdog.port == 9091


@pytest.mark.parametrize(
    "name",
    [
        "REDIS_URL", "REDIS_HOST", "BINANCE_API_KEY", "BINANCE_API_SECRET", "GRAFANA_PORT",
        "CELERY_BROKER_URL", "LOGGER_BUFFER_SIZE", "LOGGER_FLUSH_INTERVAL_SECS",
        "LOGGER_EXCHANGES_KRAKEN_SYMBOLS_PER_CONNECTION",
    ],
)  # fmt: skip
def test_a_name_without_effect_is_warned_about_once_and_never_fatal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(f"{name}=hunter2\n")
    monkeypatch.setenv(name, "hunter2")
    (warning,) = Settings.load(Path("demo")).warnings
    assert warning.startswith(f"{name} has no effect: ")
    assert "hunter2" not in warning


def test_names_of_other_programs_are_no_warning_in_the_environment() -> None:
    assert load({"DOCKER_HOST": "unix:///x", "COMPOSE_PROJECT_NAME": "x", "EDITOR": "vi"}).warnings == ()


@pytest.mark.parametrize("name", [name for name, path in FLAT_NAMES.items() if path in SECRETS])
def test_every_secret_can_be_in_a_file(name: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("https://me:hunter2@db/tape\n")
    settings = load({f"{name}_FILE": str(file)})
    group, key = FLAT_NAMES[name]
    assert getattr(getattr(settings, group), key).get_secret_value() == "https://me:hunter2@db/tape"
    nested = load({f"TAPEDECK__{group.upper()}__{key.upper()}_FILE": str(file)})
    assert getattr(getattr(nested, group), key).get_secret_value() == "https://me:hunter2@db/tape"
    assert "hunter2" not in str(list(settings.rows()))
    assert getattr(getattr(load({f"{name}_FILE": ""}), group), key) is None


def test_a_secret_file_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    missing = str(tmp_path / "none")
    assert complaint({"DB_PASSWORD_FILE": missing}) == (
        f"the environment sets DB_PASSWORD_FILE, but {missing} cannot be read: No such file or directory"
    )
    assert complaint({"DATABASE_URL_FILE": str(tmp_path)}).endswith("cannot be read: Is a directory")
    assert complaint({"DB_PASSWORD_FILE": str(empty)}).endswith("empty is empty")
    assert complaint({"JUPYTER_TOKEN_FILE": str(binary)}).endswith("binary is not UTF-8 text")
    assert complaint({"DB_PASSWORD_FILE": str(empty), "DB_PASSWORD": "hunter2"}) == (
        "the environment sets both DB_PASSWORD and DB_PASSWORD_FILE; remove one of them"
    )


def test_a_file_name_of_another_program_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({"LOG_LEVEL_FILE": "/nowhere"}).log.level == "INFO"
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DATABASE_URL_FIEL=x\n")
    with pytest.raises(ConfigError, match="did you mean DATABASE_URL_FILE"):
        Settings.load(Path("demo"))


def test_a_secret_that_looks_like_json_stays_text() -> None:
    settings = load({"JUPYTER_TOKEN": "[1,2]"})
    assert settings.jupyter.token is not None
    assert settings.jupyter.token.get_secret_value() == "[1,2]"


def test_a_profile_that_is_nearly_named_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean live"):
        Settings.load(Path("liev"), {})
