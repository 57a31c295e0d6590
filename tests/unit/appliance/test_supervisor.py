"""The process list follows the settings, and what prevents a start is reported in one sentence."""

import configparser
import os
import socket
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from recorder.appliance import supervisor
from recorder.errors import ConfigError
from recorder.resources import SUPERVISORD_CONF
from recorder.settings import Settings

TEMPLATE = SUPERVISORD_CONF.read_text()
VENUES = ("coinbase", "kraken", "binance", "bitfinex", "okx", "figure", "polymarket")


def without(*venues: str) -> dict[str, str]:
    """Return the variables that disable venues."""
    return {f"TAPEDECK__VENUES__{venue.upper()}__ENABLED": "false" for venue in venues}


def load(home: Path, profile: str = "demo", **environ: str) -> Settings:
    return Settings.load(Path(profile), {"TAPEDECK_HOME": str(home), **environ})


def rendered(settings: Settings, *, root_user: bool = False) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser()
    parser.read_string(supervisor.render(TEMPLATE, settings, Path("/my place/100%"), root_user))
    return parser


def test_the_demo_runs_every_program_and_one_recorder_a_venue(tmp_path: Path) -> None:
    names = [name for name in rendered(load(tmp_path)).sections() if name.startswith("program:")]
    assert names == [
        "program:postgres",
        "program:simulator",
        *(f"program:recorder-{venue}" for venue in VENUES),
        "program:writer",
        "program:poller",
        "program:watchdog",
    ]


def test_a_database_elsewhere_starts_no_embedded_one_and_live_starts_no_simulator(tmp_path: Path) -> None:
    settings = load(tmp_path, "live", DATABASE_URL="postgresql://db/tape", **without(*VENUES[1:]))
    assert supervisor.programs(settings) == ["recorder-coinbase", "writer", "poller", "watchdog"]
    assert "program:postgres" not in rendered(settings)


def test_the_poller_runs_only_where_it_is_enabled_and_there_is_a_venue(tmp_path: Path) -> None:
    off = load(tmp_path, TAPEDECK__POLLER__ENABLED="false")
    assert "poller" not in supervisor.programs(off)
    assert "poller" not in supervisor.programs(load(tmp_path, **without(*VENUES)))


def test_recorders_are_one_group_that_starts_before_the_writer(tmp_path: Path) -> None:
    config = rendered(load(tmp_path))
    assert config["group:recorders"]["programs"] == ",".join(f"recorder-{venue}" for venue in VENUES)
    assert int(config["group:recorders"]["priority"]) < int(config["program:writer"]["priority"])
    settings = load(tmp_path, **without(*VENUES))
    assert "group:recorders" not in rendered(settings)


def test_supervisord_reads_several_processes_of_a_venue_as_we_name_them(tmp_path: Path) -> None:
    """supervisord's own parser yields the names, logs and shards that the other programs expect."""
    settings = load(tmp_path, TAPEDECK__VENUES__KRAKEN__PROCESSES="3", **without(*VENUES[2:]))
    (tmp_path / "log").mkdir()
    config = tmp_path / "supervisord.conf"
    config.write_text(supervisor.render(TEMPLATE, settings, tmp_path, False))
    options = ServerOptions()
    options.environ_expansions = {"ENV_TAPEDECK_HOME": str(tmp_path)}
    options.configfile = str(config)
    options.process_config(do_usage=False)
    groups = {group.name: group for group in options.process_group_configs}
    recorders = {process.name: process for process in groups["recorders"].process_configs}
    names = ["recorder-coinbase", "recorder-kraken-00", "recorder-kraken-01", "recorder-kraken-02"]
    assert list(recorders) == names
    assert [name for name in supervisor.programs(settings) if name.startswith("recorder")] == names
    assert [process.stdout_logfile for process in recorders.values()] == [
        f"{tmp_path}/log/{name}.log" for name in names
    ]
    assert recorders["recorder-kraken-02"].command.endswith("-m recorder.programs.recorder kraken --shard 2/3")
    assert recorders["recorder-coinbase"].command.endswith("-m recorder.programs.recorder coinbase")


def test_every_program_is_always_restarted_and_its_children_end_with_it(tmp_path: Path) -> None:
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
    assert program["command"].endswith("-m recorder.programs.recorder kraken")


@pytest.mark.parametrize("name", ["100%", "%(x)s", "a %d b", "%%", "50%(ENV_HOME)s"])
def test_supervisord_reads_the_paths_of_a_home_with_percent_signs(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    (home / "log").mkdir(parents=True)
    config = home / "supervisord.conf"
    config.write_text(supervisor.render(TEMPLATE, load(home, TAPEDECK__VENUES__KRAKEN__PROCESSES="2"), home, False))
    options = ServerOptions()
    options.configfile = str(config)
    options.process_config(do_usage=False)
    programs = [process for group in options.process_group_configs for process in group.process_configs]
    assert len(programs) == 13  # kraken has two
    assert [process.stdout_logfile for process in programs] == [f"{home}/log/{one.name}.log" for one in programs]
    assert {process.directory for process in programs} == {str(home)}
    assert options.logfile == f"{home}/log/supervisord.log"
    assert options.pidfile == f"{home}/supervisord.pid"
    assert [server["file"] for server in options.configroot.supervisord.server_configs] == [f"{home}/supervisor.sock"]


@pytest.mark.parametrize("name", ["tape #1", "a ;b", "end ", "two\nlines"])
def test_a_path_that_supervisord_would_cut_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^supervisord cannot use the path .*set TAPEDECK_HOME"):
        supervisor.render(TEMPLATE, load(tmp_path / name), tmp_path, False)


def test_a_start_closes_a_home_that_an_earlier_version_left_open(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "journal" / "x").mkdir(parents=True)
    segment = home / "journal" / "x" / "0000000001.tape"
    segment.touch()
    segment.chmod(0o644)
    for path in (home, home / "journal", segment.parent):
        path.chmod(0o755)
    (home / "stranger").touch()
    (home / "stranger").chmod(0o644)
    said: list[str] = []
    supervisor.prepare_home(home, said.append)
    assert {path.stat().st_mode & 0o777 for path in (home, home / "journal", segment.parent)} == {0o700}
    assert segment.stat().st_mode & 0o777 == 0o600
    assert (home / "stranger").stat().st_mode & 0o777 == 0o644
    assert said == [f"{home} could be read by other users (4 files and folders); now only by its owner"]
    supervisor.prepare_home(home, said.append)
    assert len(said) == 1


def test_a_folder_that_all_users_share_is_no_home_and_keeps_its_rights(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="all users share"):
        supervisor.prepare_home(tmp_path, print)
    assert tmp_path.stat().st_mode & 0o7777 == 0o1777


def test_root_is_named_as_the_user_so_that_supervisord_does_not_warn(tmp_path: Path) -> None:
    assert rendered(load(tmp_path), root_user=True)["supervisord"]["user"] == "root"
    assert "user" not in rendered(load(tmp_path))["supervisord"]


def test_a_port_in_use_is_named_with_its_process_and_its_setting(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load(tmp_path, TAPEDECK__SIMULATOR__PORTS__KRAKEN=str(port))
        with pytest.raises(
            ConfigError, match=rf"port {port} is in use by .*\(pid {os.getpid()}\); the simulated kraken"
        ):
            supervisor.start(settings, print)


def test_a_home_that_cannot_be_created_is_reported_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written .*TAPEDECK_HOME"):
        supervisor.start(load(tmp_path / "file" / "home"), print)


def test_a_home_too_deep_for_a_unix_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="too long for a Unix socket"):
        supervisor.start(load(tmp_path / ("x" * 100)), print)


def test_stopping_an_appliance_that_does_not_run_is_no_error(tmp_path: Path) -> None:
    assert supervisor.stop(tmp_path, 1.0, lambda left: None) == []
    assert supervisor.Supervisor(tmp_path).pid() is None
    assert supervisor.Supervisor(tmp_path).processes() == []
