"""Processes of an appliance are found by what supervisord gives them, and ended in order."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recorder.appliance import processes

_IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); input()"


@contextmanager
def program(home: Path, name: str, code: str = "print(flush=True); input()") -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process as supervisord would start a program of this home."""
    variables = {"TAPEDECK_HOME": str(home), "SUPERVISOR_ENABLED": "1", "SUPERVISOR_PROCESS_NAME": name}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_program_is_found_before_it_has_written_anything(tmp_path: Path) -> None:
    with program(tmp_path, "recorder-kraken") as process:
        found = processes.find(tmp_path)
        assert [(one.program, one.pid) for one in found] == [("recorder-kraken", process.pid)]
        assert processes.find(tmp_path / "other") == []
        process.kill()
        assert processes.wait_until(lambda: not processes.alive(process.pid), 10.0)
        assert processes.find(tmp_path) == [], "a process that ended is none, collected or not"


def test_a_home_is_the_same_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    with program(tmp_path / "home", "writer"):
        assert [one.program for one in processes.find(tmp_path / "link")] == ["writer"]


def test_a_process_of_the_user_with_the_home_in_its_environment_is_left_alone(tmp_path: Path) -> None:
    shell = subprocess.Popen(["sleep", "60"], env=os.environ | {"TAPEDECK_HOME": str(tmp_path)})
    try:
        assert processes.find(tmp_path) == []
    finally:
        shell.kill()
        shell.wait()


def test_programs_end_in_the_reverse_order_of_their_start(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    with (
        program(tmp_path, "postgres"),
        program(tmp_path, "simulator"),
        program(tmp_path, "recorder-kraken"),
        program(tmp_path, "writer"),
    ):
        assert processes.end(tmp_path, 30.0, lambda left: seen.append(left)) == []
    order = list(dict.fromkeys(map(tuple, seen)))
    assert order == [
        ("writer", "recorder-kraken", "simulator", "postgres"),
        ("recorder-kraken", "simulator", "postgres"),
        ("simulator", "postgres"),
        ("postgres",),
        (),
    ]


def test_what_does_not_end_is_named_at_the_deadline_and_killed_after_its_grace(tmp_path: Path) -> None:
    with program(tmp_path, "writer", _IGNORES_TERM) as process:
        assert processes.end(tmp_path, 1.0, lambda _left: None) == ["writer"]
        assert processes.alive(process.pid)
        assert processes.end(tmp_path, 60.0, lambda _left: None) == []
        assert process.wait(10.0) == -signal.SIGKILL


def test_the_user_of_a_port_and_of_a_file_is_named(tmp_path: Path) -> None:
    code = f"""
import socket
server = socket.create_server(("127.0.0.1", 0))
file = open({str(tmp_path / "file")!r}, "w")
print(server.getsockname()[1], flush=True)
input()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert f"(pid {process.pid})" in (processes.port_user(port) or "")
        assert [f"(pid {process.pid})" in user for user in processes.file_users(tmp_path / "file")] == [True]
    finally:
        process.kill()
        process.communicate()
    assert processes.port_user(port) is None
