"""Settings: layers, defaults that follow from other settings, ports, and error messages."""

from pathlib import Path

import pytest

from recorder.errors import ConfigError
from recorder.settings import Settings
from recorder.settings.sources import FLAT_NAMES


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


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://me:hunter2@db/tape", "db/tape"),
        ("postgresql:///tape?host=/run/pg&password=hunter2", "/run/pg/tape"),
        ("postgresql://me:hunter2#x@db/tape", "a database whose address cannot be read"),
        ("postgresql://me:hunter2/x@db/tape", "a database whose address cannot be read"),
        ("host=db password=hunter2", "a database whose address cannot be read"),
        ("postgresql://[hunter2", "a database whose address cannot be read"),
    ],
)
def test_the_place_of_the_recording_has_no_secret(url: str, place: str) -> None:
    settings = Settings.load(Path("demo"), {"DATABASE_URL": url})
    assert settings.recorded_into == place
    assert "hunter2" not in settings.running_note()


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
        ("[journal]\nflush_ms = 'soon'\n", "wrong value for journal.flush_ms: 'soon' is not a whole number"),
        ("[journal]\nflush_ms = 0\n", "wrong value for journal.flush_ms: 0 is too small; the least is 1"),
        ("journal = 3\n", "wrong value for journal: 3 is not a table of settings"),
        ("[venues.x]\nchannels = ['trades']\n", "venues.x.channels: 'trades' is not one of trade, quote, book"),
        ("[venues.x]\nurl = 'http://x'\n", "venues.x.url: 'http://x' does not begin with ws:// or wss://"),
        ("[log]\nlevel = 'LOUD'\n", "log.level: 'LOUD' is not one of DEBUG, INFO, WARNING, ERROR"),
        ("[log]\ndebug = 'maybe'\n", "log.debug: 'maybe' is neither true nor false"),
        ("[websocket]\nmax_frame_mb = 'big'\n", "websocket.max_frame_mb: 'big' is not a number"),
        ("[websocket]\nmax_frame_mb = nan\n", "websocket.max_frame_mb: nan is not a number"),
        ("[websocket]\nreconnect_cap_s = 0\n", "websocket.reconnect_cap_s: 0 is too small; it must be above 0"),
        ("[database]\nname = 'a b'\n", "database.name: 'a b' is not a name of letters, digits, _ and -"),
        ("[venues.x.options]\ndepth = [1]\n", "options.depth: a list is neither text, a number, true nor false"),
        ("[journal]\ndir = 3\n", "journal.dir: 3 is not a path"),
        ("[simulator]\nvenues = 3\n", "simulator.venues: 3 is not a list"),
    ],
)
def test_a_wrong_value_is_one_sentence(tmp_path: Path, text: str, fragment: str) -> None:
    assert fragment in complaint(write(tmp_path, text))


@pytest.mark.parametrize("text", ["database = 'hunter2'\n", "[jupyter]\ntoken = 47110815\n"])
def test_the_message_about_a_wrong_secret_does_not_repeat_it(tmp_path: Path, text: str) -> None:
    sentence = complaint(write(tmp_path, text))
    assert "the value (not shown)" in sentence
    assert "hunter2" not in sentence
    assert "47110815" not in sentence


@pytest.mark.parametrize(
    ("variable", "blamed"),
    [
        ("TAPEDECK__PORT_BASE", "port_base: 'abc' is not a whole number"),
        ("TAPEDECK__SIMULATOR", "simulator: 'abc' is not a table of settings"),
        ("TAPEDECK__SIMULATOR__PORTS", "simulator.ports: 'abc' is not a table of settings"),
        ("TAPEDECK__SIMULATOR__PORTS__KRAKEN", "simulator.ports.kraken: 'abc' is not a whole number"),
    ],
)
def test_a_wrong_value_is_blamed_and_not_what_follows_from_it(variable: str, blamed: str) -> None:
    assert complaint(Path("demo"), {variable: "abc"}) == f"the environment has a wrong value for {blamed}"


def test_a_missing_or_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
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
    assert demo.budgets_dir == tmp_path


def test_two_homes_can_share_their_budgets(tmp_path: Path) -> None:
    environ = {"TAPEDECK_HOME": str(tmp_path / "home"), "TAPEDECK__BUDGETS_DIR": str(tmp_path / "shared")}
    assert Settings.load(Path("live"), environ).budgets_dir == tmp_path / "shared"


def test_without_a_name_the_settings_of_the_running_appliance_are_used(tmp_path: Path) -> None:
    environ = {"TAPEDECK_HOME": str(tmp_path)}
    assert Settings.load(None, environ).file.stem == "demo"
    (tmp_path / "running").write_text(f"{Settings.load(Path('live'), environ).file}\n")
    assert Settings.load(None, environ).file.stem == "live"
    assert Settings.load(None, {**environ, "TAPEDECK_CONFIG": "demo"}).file.stem == "demo"


def test_every_port_follows_from_port_base_unless_it_is_set_by_hand() -> None:
    standard, moved = Settings.load(Path("demo"), {}), Settings.load(Path("demo"), {"TAPEDECK__PORT_BASE": "25000"})
    assert {row.port for row in standard.port_table()} >= {8000, 8080, 24329, 24330, 24410, 24411}
    assert all(25000 <= row.port < 25150 for row in moved.port_table())
    assert len(moved.port_table()) == len({row.port for row in moved.port_table()}) == len(standard.port_table())
    assert moved.venues["kraken"].url == f"ws://127.0.0.1:{moved.simulator.ports['kraken']}/v2"
    by_hand = {"TAPEDECK__PORT_BASE": "25000", "TAPEDECK__DATABASE__PORT": "5433", "TAPEDECK__JUPYTER__PORT": "8888"}
    settings = Settings.load(Path("demo"), by_hand)
    assert (settings.database.port, settings.jupyter.port) == (5433, 8888)
    assert settings.simulator.control_port == moved.simulator.control_port
    origins = {key: origin for key, _, origin in settings.rows()}
    assert origins["database.port"] == "the environment"
    assert origins["simulator.control_port"] == "port_base + 90"
    assert origins["simulator.ports.coinbase"] == "port_base + 91"


def test_a_port_set_by_hand_moves_the_address_of_the_simulated_venue() -> None:
    settings = Settings.load(Path("demo"), {"TAPEDECK__SIMULATOR__PORTS__KRAKEN": "6000"})
    assert settings.venues["kraken"].url == "ws://127.0.0.1:6000/v2"
    assert settings.venues["kraken"].rest_url == "http://127.0.0.1:6000"


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("port_base = 65500\n", "wrong value for port_base: 65500 is too large; the most is 65386"),
        ("port_base = 'high'\n", "wrong value for port_base"),
        (
            "[venues.x]\nurl = 'ws://127.0.0.1:{port}'\n",
            "venues.x.url has {port}, but simulator.venues does not list x",
        ),
        (f"[simulator]\nvenues = {[f'v{n}' for n in range(30)]}\n", "30 venues are listed; there are ports for 29"),
    ],
)
def test_a_wrong_port_is_one_sentence(tmp_path: Path, text: str, fragment: str) -> None:
    assert fragment in complaint(write(tmp_path, text))


def test_another_terminal_finds_the_ports_of_the_running_appliance(tmp_path: Path) -> None:
    environ = {"TAPEDECK_HOME": str(tmp_path)}
    moved = Settings.load(Path("demo"), {**environ, "TAPEDECK__PORT_BASE": "25000"})
    (tmp_path / "running").write_text(moved.running_note())
    assert Settings.load(None, environ).port_base == 25000
    assert Settings.load(None, {**environ, "TAPEDECK__PORT_BASE": "26000"}).port_base == 26000
    assert Settings.load(Path("live"), environ).port_base != 25000


def test_dotenv_may_name_the_settings_file_and_the_environment_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TAPEDECK_CONFIG", raising=False)
    (tmp_path / ".env").write_text("TAPEDECK_CONFIG=live\n")
    assert Settings.load().file.stem == "live"
    monkeypatch.setenv("TAPEDECK_CONFIG", "demo")
    assert Settings.load().file.stem == "demo"


def test_a_program_started_with_the_environment_has_the_same_settings(tmp_path: Path) -> None:
    settings = Settings.load(Path("live"), {"TAPEDECK_HOME": str(tmp_path)})
    assert Settings.load(None, settings.environment()).file == settings.file


def test_a_variable_that_only_shares_our_prefix_is_left_alone() -> None:
    assert Settings.load(Path("demo"), {"TAPEDECK_DATA": "/elsewhere", "TAPEDECK_BENCH": "x"}).simulator.enabled


def test_the_services_of_the_demo_are_simulated_on_ports_that_follow_from_the_base() -> None:
    settings = Settings.load(Path("demo"), {"TAPEDECK__PORT_BASE": "25000"})
    assert list(settings.simulator.service_ports.values()) == [25120, 25121, 25122, 25123]
    assert settings.poller.services == {
        name: f"http://127.0.0.1:{port}" for name, port in settings.simulator.service_ports.items()
    }


def test_the_address_of_a_service_that_is_not_simulated_needs_its_port() -> None:
    sentence = "poller.services.gamma has {port}, but simulator.services does not list gamma"
    assert complaint(Path("demo"), {"TAPEDECK__SIMULATOR__SERVICES": "clob,data,yahoo"}) == sentence
