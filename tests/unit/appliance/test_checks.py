"""`tapedeck doctor`: each fault of a machine is found and comes with what to do."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from recorder.appliance import checks
from recorder.cli import main
from recorder.settings import Settings


def load(home: Path, **environ: str) -> Settings:
    return Settings.load(Path("demo"), {"TAPEDECK_HOME": str(home), "TAPEDECK__PORT_BASE": "21000", **environ})


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10), "problem"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "problem")]
)
def test_only_supported_versions_of_python_pass(version: tuple[int, int], level: str) -> None:
    assert checks.check_python(version, "Python").level == level


def test_a_port_in_use_is_a_problem_with_the_process_and_the_way_out(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = load(tmp_path, TAPEDECK__DATABASE__PORT=str(other.getsockname()[1]))
        found = [finding for finding in checks.check_ports(settings, running=False) if finding.level == "problem"]
    assert len(found) == 1
    assert f"(pid {os.getpid()}); the embedded Postgres needs it" in found[0].text
    assert "port_base" in found[0].advice


def test_little_space_is_a_warning_and_less_than_the_reserve_a_problem() -> None:
    levels = [checks.check_disk(free << 20, 512 << 20, Path("/j")).level for free in (100, 1000, 100_000)]
    assert levels == ["problem", "warning", "ok"]


@pytest.mark.parametrize(("offset_s", "level"), [(0.4, "ok"), (-5.0, "warning"), (90.0, "problem")])
def test_a_clock_is_judged_by_the_other_clock_that_differs_most(offset_s: float, level: str) -> None:
    finding = checks.check_clock({"Postgres": 0.0, "example.org": offset_s})
    assert finding.level == level
    assert "example.org" in finding.text


def test_the_date_of_a_web_server_is_a_clock() -> None:
    assert checks.http_offset_s("Mon, 30 Nov 2026 10:00:00 GMT", 1796032800.5) == 0.0
    assert checks.http_offset_s("Mon, 30 Nov 2026 10:00:00 GMT", 1796032810.5) == 10.0


def test_a_home_that_others_can_read_is_a_warning(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert next(checks.check_rights(tmp_path)).level == "warning"
    tmp_path.chmod(0o700)
    assert next(checks.check_rights(tmp_path)).level == "ok"
    assert next(checks.check_rights(tmp_path / "not" / "yet")).level == "ok"


def test_a_file_of_secrets_that_others_can_read_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.toml"
    own.write_text('[database]\nurl = "postgresql://me:hunter2@db/tape"\n')
    settings = Settings.load(own, {"TAPEDECK_HOME": str(tmp_path / "home")})
    (tmp_path / ".env").touch()
    for file, mode in ((own, 0o640), (tmp_path / ".env", 0o644)):
        file.chmod(mode)
    found = [one for one in checks.local_checks(settings, running=False) if "password" in one.text]
    assert [one.advice for one in found] == ["chmod 600 .env", f"chmod 600 {own}"]
    own.chmod(0o600)
    (tmp_path / ".env").unlink()
    assert not [one for one in checks.local_checks(settings, running=False) if "password" in one.text]


def test_a_lock_held_by_a_stranger_is_a_problem_that_names_it(tmp_path: Path) -> None:
    settings = load(tmp_path)
    lock = settings.journal.dir / "recorder-kraken" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    assert checks.check_locks(settings, running=False).level == "ok"
    code = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    words = [sys.executable, "-c", code, str(lock)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        finding = checks.check_locks(settings, running=False)
        holder.communicate(b"\n")
    assert finding.level == "problem"
    assert f"(pid {holder.pid})" in finding.text
    with lock.open("r+") as ours:
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_hosts_that_cannot_be_reached_are_named_and_local_ones_are_not_asked() -> None:
    assert checks.public_hosts({"a": "ws://127.0.0.1:24411/x", "b": "wss://ws.example.org/v2", "c": "ws://h:81"}) == [
        ("b", "ws.example.org", 443),
        ("c", "h", 81),
    ]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        open_host, closed, unknown = checks.check_network(
            [("up", "127.0.0.1", port), ("down", "127.0.0.1", 1), ("lost", "no-such-host.invalid", 443)]
        )
    assert open_host.level == "ok"
    assert (closed.level, unknown.level) == ("problem", "problem")
    assert "down: 127.0.0.1: it does not accept connections" in closed.text
    assert "lost: no-such-host.invalid: its name does not resolve" in unknown.text


def test_doctor_prints_one_line_a_check_and_fails_only_on_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEDECK__PORT_BASE", "21000")
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.delenv("TAPEDECK_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["python", "packages", "postgres", "ports", "disk", "rights", "locks", "network", "clock"]
    assert [line.split()[0] for line in lines] == names
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("TAPEDECK__DATABASE__PORT", str(other.getsockname()[1]))
        assert main(["doctor", "--json"]) == 1
    assert '"level": "problem"' in capsys.readouterr().out
