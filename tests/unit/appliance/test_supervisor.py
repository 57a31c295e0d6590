"""The process list follows the settings, and what prevents a start is reported in one sentence."""

import configparser
import os
import socket
import time
from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from recorder.appliance import process_list, supervisor
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
    parser.read_string(process_list.render(TEMPLATE, settings, Path("/my place/100%"), root_user))
    return parser


def test_the_demo_runs_every_program_and_one_recorder_a_venue(tmp_path: Path) -> None:
    names = [name for name in rendered(load(tmp_path)).sections() if name.startswith("program:")]
    assert names == [
        "program:postgres",
        "program:simulator",
        *(f"program:recorder-{venue}" for venue in VENUES),
        "program:writer",
        "program:deriver",
        "program:keeper",
        "program:poller",
        "program:watchdog",
        "program:web",
    ]


def test_a_database_elsewhere_starts_no_embedded_one_and_live_starts_no_simulator(tmp_path: Path) -> None:
    settings = load(tmp_path, "live", DATABASE_URL="postgresql://db/tape", **without(*VENUES[1:]))
    programs = ["recorder-coinbase", "writer", "deriver", "keeper", "poller", "watchdog", "web"]
    assert process_list.programs(settings) == programs
    assert "program:postgres" not in rendered(settings)


def test_the_poller_runs_only_where_it_is_enabled_and_there_is_a_venue(tmp_path: Path) -> None:
    off = load(tmp_path, TAPEDECK__POLLER__ENABLED="false")
    assert "poller" not in process_list.programs(off)
    assert "poller" not in process_list.programs(load(tmp_path, **without(*VENUES)))


def test_recorders_start_before_the_writer(tmp_path: Path) -> None:
    config = rendered(load(tmp_path))
    recorders = [name for name in config.sections() if name.startswith("program:recorder-")]
    assert recorders == [f"program:recorder-{venue}" for venue in VENUES]
    assert all(int(config[name]["priority"]) < int(config["program:writer"]["priority"]) for name in recorders)
    assert not any(name.startswith("group:") for name in config.sections())


def test_supervisord_reads_several_processes_of_a_venue_as_we_name_them(tmp_path: Path) -> None:
    """supervisord's own parser yields the names, logs and shards that the other programs expect."""
    settings = load(tmp_path, TAPEDECK__VENUES__KRAKEN__PROCESSES="3", **without(*VENUES[2:]))
    (tmp_path / "log").mkdir()
    config = tmp_path / "supervisord.conf"
    config.write_text(process_list.render(TEMPLATE, settings, tmp_path, False))
    options = ServerOptions()
    options.environ_expansions = {"ENV_TAPEDECK_HOME": str(tmp_path)}
    options.configfile = str(config)
    options.process_config(do_usage=False)
    programs = [process for group in options.process_group_configs for process in group.process_configs]
    recorders = {process.name: process for process in programs if process.name.startswith("recorder")}
    expected = ["recorder-coinbase", "recorder-kraken-00", "recorder-kraken-01", "recorder-kraken-02"]
    assert [name for name in process_list.programs(settings) if name.startswith("recorder")] == expected
    assert set(recorders) == set(expected)
    assert {process.stdout_logfile for process in recorders.values()} == {
        f"{tmp_path}/log/{name}.log" for name in expected
    }
    assert recorders["recorder-kraken-02"].command.endswith("-m recorder.programs.recorder kraken --shard 2/3")
    assert recorders["recorder-coinbase"].command.endswith("-m recorder.programs.recorder coinbase")


def test_the_slot_that_records_is_listed_and_one_that_may_take_over(tmp_path: Path) -> None:
    settings = load(tmp_path, TAPEDECK__VENUES__KRAKEN__PROCESSES="2", **without(*VENUES[2:]))
    slots = process_list.slots_of(settings)[2]
    assert slots.want("b", time.time() + 60, None)
    assert process_list.programs(settings)[2:5] == ["recorder-coinbase", "recorder-kraken-00", "recorder-kraken-01"]
    config = rendered(settings)
    assert "program:recorder-kraken-01" in config
    assert config["program:recorder-kraken-01-b"]["command"].endswith("kraken --shard 1/2 --slot b")
    slots.activate("b")
    assert process_list.programs(settings)[4] == "recorder-kraken-01-b"
    assert "program:recorder-kraken-01" not in rendered(settings)


def test_every_program_is_always_restarted_and_its_children_end_with_it(tmp_path: Path) -> None:
    config = rendered(load(tmp_path))
    for section in config.sections():
        if section.startswith("program:"):
            if section.startswith("program:recorder-"):  # except after it was replaced
                assert (config[section]["autorestart"], config[section]["exitcodes"]) == ("unexpected", "3")
            else:
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
    config.write_text(process_list.render(TEMPLATE, load(home, TAPEDECK__VENUES__KRAKEN__PROCESSES="2"), home, False))
    options = ServerOptions()
    options.configfile = str(config)
    options.process_config(do_usage=False)
    programs = [process for group in options.process_group_configs for process in group.process_configs]
    assert len(programs) == 6 + 10  # kraken has two recorders
    assert [process.stdout_logfile for process in programs] == [f"{home}/log/{one.name}.log" for one in programs]
    assert {process.directory for process in programs} == {str(home)}
    assert options.logfile == f"{home}/log/supervisord.log"
    assert options.pidfile == f"{home}/supervisord.pid"
    assert [server["file"] for server in options.configroot.supervisord.server_configs] == [f"{home}/supervisor.sock"]


@pytest.mark.parametrize("name", ["tape #1", "a ;b", "end ", "two\nlines"])
def test_a_path_that_supervisord_would_cut_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"^supervisord cannot use the path .*set TAPEDECK_HOME"):
        process_list.render(TEMPLATE, load(tmp_path / name), tmp_path, False)


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


def test_a_venue_that_is_spread_over_hosts_runs_only_its_shards_here(tmp_path: Path) -> None:
    several = {"TAPEDECK__VENUES__KRAKEN__PROCESSES": "4", "TAPEDECK__VENUES__KRAKEN__SHARDS": "3,1"}
    settings = load(tmp_path, **without(*(venue for venue in VENUES if venue != "kraken")), **several)
    assert process_list.programs(settings)[2:4] == ["recorder-kraken-01", "recorder-kraken-03"]
    config = rendered(settings)
    assert {"program:recorder-kraken-00", "program:recorder-kraken-02"}.isdisjoint(config.sections())
    assert config["program:recorder-kraken-03"]["command"].endswith("kraken --shard 3/4")
    with pytest.raises(ConfigError, match="shards must be different numbers below processes"):
        load(tmp_path, TAPEDECK__VENUES__KRAKEN__SHARDS="1")


def test_the_programs_are_started_by_the_python_of_the_settings(tmp_path: Path) -> None:
    config = rendered(load(tmp_path, TAPEDECK__PYTHON="/opt/tapedeck/bin/python"))
    assert config["program:writer"]["command"] == "/opt/tapedeck/bin/python -P -m recorder.programs.writer"


def test_the_last_lines_of_a_process_are_none_of_an_earlier_one(tmp_path: Path) -> None:
    log = tmp_path / "log" / "recorder-kraken.log"
    log.parent.mkdir()
    log.write_text("of the earlier process\n")
    before = supervisor.log_sizes(tmp_path)["recorder-kraken"]
    assert supervisor.last_lines(tmp_path, "recorder-kraken", since=before) == []
    with log.open("a") as file:
        file.write("of this one\n")
    assert supervisor.last_lines(tmp_path, "recorder-kraken", since=before) == ["of this one"]
    log.write_text("new\n")  # supervisord began a new file
    assert supervisor.last_lines(tmp_path, "recorder-kraken", since=before) == ["new"]
