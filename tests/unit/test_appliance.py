"""The appliance: its process list follows the settings, and what stands in its way is said in one sentence."""

import configparser
import socket
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from recorder import appliance
from recorder.errors import ConfigError
from recorder.settings import Settings

TEMPLATE = (appliance.ROOT / "supervisord.conf").read_text()
VENUES = ("coinbase", "kraken", "binance", "bitfinex", "okx", "figure", "polymarket")


def without(*venues: str) -> dict[str, str]:
    """Variables that leave venues out."""
    return {f"TAPEDECK__VENUES__{venue.upper()}__ENABLED": "false" for venue in venues}


def load(home: Path, profile: str = "demo", **environ: str) -> Settings:
    return Settings.load(Path(profile), {"TAPEDECK_HOME": str(home), **environ})


def rendered(settings: Settings, *, root_user: bool = False) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(appliance.render(TEMPLATE, settings, Path("/my place/100%"), root_user))
    return parser


def test_the_demo_runs_every_program_and_one_recorder_a_venue(tmp_path: Path) -> None:
    names = [name for name in rendered(load(tmp_path)).sections() if name.startswith("program:")]
    assert names == [
        "program:postgres",
        "program:simulator",
        *(f"program:recorder-{venue}" for venue in VENUES),
        "program:writer",
        "program:discovery",
    ]


def test_a_database_elsewhere_starts_no_embedded_one_and_live_starts_no_simulator(tmp_path: Path) -> None:
    settings = load(tmp_path, "live", DATABASE_URL="postgresql://db/tape", **without(*VENUES[1:]))
    assert appliance.programs(settings) == ["recorder-coinbase", "writer", "discovery"]
    assert "program:postgres" not in rendered(settings)


def test_discovery_runs_only_where_it_is_wanted_and_there_is_a_venue(tmp_path: Path) -> None:
    off = load(tmp_path, TAPEDECK__DISCOVERY__ENABLED="false")
    assert "discovery" not in appliance.programs(off)
    assert "discovery" not in appliance.programs(load(tmp_path, **without(*VENUES)))


def test_recorders_are_one_group_that_starts_before_the_writer(tmp_path: Path) -> None:
    config = rendered(load(tmp_path))
    assert config["group:recorders"]["programs"] == ",".join(f"recorder-{venue}" for venue in VENUES)
    assert int(config["group:recorders"]["priority"]) < int(config["program:writer"]["priority"])
    settings = load(tmp_path, **without(*VENUES))
    assert "group:recorders" not in rendered(settings)


def test_supervisord_reads_several_processes_of_a_venue_as_we_name_them(tmp_path: Path) -> None:
    """Parsed by supervisord's own reader: names, logs and shares are those the other programs look for."""
    settings = load(tmp_path, TAPEDECK__VENUES__KRAKEN__PROCESSES="3", **without(*VENUES[2:]))
    (tmp_path / "log").mkdir()
    config = tmp_path / "supervisord.conf"
    config.write_text(appliance.render(TEMPLATE, settings, tmp_path, False))
    options = ServerOptions()
    options.environ_expansions = {"ENV_TAPEDECK_HOME": str(tmp_path)}
    options.configfile = str(config)
    options.process_config(do_usage=False)
    groups = {group.name: group for group in options.process_group_configs}
    recorders = {process.name: process for process in groups["recorders"].process_configs}
    names = ["recorder-coinbase", "recorder-kraken-00", "recorder-kraken-01", "recorder-kraken-02"]
    assert list(recorders) == names
    assert [name for name in appliance.programs(settings) if name.startswith("recorder")] == names
    assert [process.stdout_logfile for process in recorders.values()] == [
        f"{tmp_path}/log/{name}.log" for name in names
    ]
    assert recorders["recorder-kraken-02"].command.endswith("bin/recorder kraken --share 2/3")
    assert recorders["recorder-coinbase"].command.endswith("bin/recorder coinbase")


def test_every_program_is_restarted_for_ever_and_takes_its_children_along(tmp_path: Path) -> None:
    config = rendered(load(tmp_path))
    for section in config.sections():
        if section.startswith("program:"):
            assert config[section]["autorestart"] == "true"
            assert int(config[section]["startretries"]) >= 1_000_000
            assert config[section]["killasgroup"] == "true"
            assert "stdout_logfile_maxbytes" in config[section]


def test_paths_with_spaces_and_percent_signs_survive(tmp_path: Path) -> None:
    program = rendered(load(tmp_path))["program:recorder-kraken"]
    assert program["directory"] == "/my place/100%%"
    assert program["command"].endswith("bin/recorder kraken")


def test_root_is_named_so_that_supervisord_does_not_warn(tmp_path: Path) -> None:
    assert rendered(load(tmp_path), root_user=True)["supervisord"]["user"] == "root"
    assert "user" not in rendered(load(tmp_path))["supervisord"]


def test_a_port_that_is_taken_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load(tmp_path, TAPEDECK__SIMULATOR__PORTS__KRAKEN=str(port))
        with pytest.raises(ConfigError, match=rf"port {port} on 127.0.0.1.*simulator.ports.kraken"):
            appliance.start(settings)


def test_a_home_that_cannot_be_made_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written .*TAPEDECK_HOME"):
        appliance.start(load(tmp_path / "file" / "home"))


def test_a_home_too_deep_for_a_unix_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long for a Unix socket"):
        appliance.start(load(tmp_path / ("x" * 100)))


def test_stopping_what_does_not_run_is_no_error(tmp_path: Path) -> None:
    assert appliance.stop(tmp_path, 1.0, lambda left: None) == []
    assert appliance.Supervisor(tmp_path).pid() is None
    assert appliance.Supervisor(tmp_path).processes() == []
