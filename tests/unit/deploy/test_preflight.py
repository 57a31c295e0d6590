"""The pre-flight: it names everything that is wrong at once, in words that say what to do."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.machine.ports import free_port
from support.machine.preflight import FILE, load

preflight = load()


def run(folder: Path, **changed: Any) -> "subprocess.CompletedProcess[str]":
    given = {
        "messages_per_s": 0.001, "days": 1, "folder": str(folder), "programs": 1, "ports": [], "names": ["localhost"],
        "database": "", "database_tls": False, "time_service": "none", "init": "",
    } | changed  # fmt: skip
    words = [sys.executable, "-I", str(FILE), json.dumps(given)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def problems(done: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("problem")]


def test_three_things_that_are_wrong_are_three_lines(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as used:
        port = used.getsockname()[1]
        done = run(tmp_path, messages_per_s=1e9, ports=[port], names=["no-such-host.invalid"])
    assert done.returncode == 1
    assert problems(done) == ["disk", "ports", "names"]
    assert f"port {port} cannot be used" in done.stdout
    assert "no-such-host.invalid does not resolve" in done.stdout


def test_numbers_may_come_as_text(tmp_path: Path) -> None:
    done = run(tmp_path / "not made yet", messages_per_s="0.5", days="1", programs="2")
    assert problems(done) in ([], ["memory"]), done.stdout + done.stderr
    assert not (tmp_path / "not made yet").exists()


def test_the_ports_of_an_appliance_that_runs_here_are_not_in_the_way(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", free_port())) as used,
        socket.socket(socket.AF_UNIX) as supervisord,
    ):
        supervisord.bind(str(tmp_path / "supervisor.sock"))
        supervisord.listen()
        assert problems(run(tmp_path, ports=[used.getsockname()[1]])) == []


def test_a_database_that_is_away_or_is_no_postgres_is_named() -> None:
    assert preflight.check_database("", False) is None
    away = preflight.check_database(f"127.0.0.1:{free_port()}", False)
    assert (away.level, away.subject) == ("problem", "database")
    assert "Connection refused" in away.text


def test_a_postgres_without_tls_is_refused_where_tls_is_asked_for(postgres: str) -> None:
    from urllib.parse import parse_qs, urlsplit

    parts = urlsplit(postgres)
    port = parts.port or int(parse_qs(parts.query)["port"][0])
    assert preflight.check_database(f"127.0.0.1:{port}", False).level == "ok"
    assert "does not speak TLS" in preflight.check_database(f"127.0.0.1:{port}", True).text


@pytest.mark.parametrize(("service", "level"), [("chrony", "warning"), ("none", "warning"), ("existing", "problem")])
def test_an_unsynchronised_clock_is_a_problem_only_where_nothing_will_set_it(service: str, level: str) -> None:
    finding = preflight.check_clock(service)
    assert finding.level in ("ok", level)


def test_a_host_that_must_have_systemd_and_has_none_is_told_what_to_set() -> None:
    if Path("/run/systemd/system").is_dir():
        pytest.skip("systemd runs here")
    assert "app_init: none" in str(preflight.check_init("systemd"))
    assert preflight.check_init("none").level == "ok"
