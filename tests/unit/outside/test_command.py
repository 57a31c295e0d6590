"""bin/check-health as cron runs it: with an empty environment, from another folder, with any Python from 3.9 on."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import IO, Any

import pytest
from support.database_server import ROOT
from support.machine.small_disks import mounted

CONF = """[supervisord]
[program:writer]
command = {python} -P -m recorder.programs.writer
directory = {folder}
[program:recorder-kraken-00]
command = {python} -P -m recorder.programs.recorder kraken --shard 0/2
[program:recorder-kraken-01]
command = {python} -P -m recorder.programs.recorder kraken --shard 1/2
[program:watchdog]
command = {python} -P -m recorder.programs.watchdog
"""
SECRET = "hook-5ecret"


def run(
    home: Path, *words: str, python: str = sys.executable, stdout: IO[bytes] | int = subprocess.PIPE, hook: str = ""
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "LANG": "C", "HOME": "/", "TAPEDECK_HOME": str(home)}
    if hook:
        environment["ALERT_WEBHOOK_URL"] = hook
    command = [python, "-I", "-S", str(ROOT / "bin" / "check-health"), *words]
    return subprocess.run(
        command, env=environment, cwd="/", stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as a machine has it that lost its power."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "supervisord.conf").write_text(CONF.format(python=sys.executable, folder=tmp_path))
    (home / "running").write_text(f'{tmp_path}/tapedeck.toml\nport_base = 24320\nrecorded_into = "db.example/tape"\n')
    (home / "supervisord.pid").write_text("4194300\n")
    return home


@contextmanager
def webhook(status: int = 200) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Accept posts; yield the address and what came."""
    posts: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{SECRET}", posts
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_machine_without_any_program_is_critical(home: Path) -> None:
    done = run(home)
    first, *rest = done.stdout.splitlines()
    assert done.returncode == 2
    assert first.startswith(
        "TAPEDECK CRITICAL - supervisord is not running (stale pid 4194300); writer is not running;"
    )
    assert "recorder-kraken-00 is not running; recorder-kraken-01 is not running; watchdog is not running" in first
    assert " | programs=0 uptime=0s memory=0B" in first
    assert "programs  0 of 4 run" in "\n".join(rest).replace("programs run", "run")
    assert "postgres  not asked: DATABASE_URL is not known here" in rest
    assert done.stderr == ""


def test_a_home_that_is_gone_is_critical_and_posts(home: Path) -> None:
    shutil.rmtree(home)
    with webhook() as (url, posts):
        done = run(home, "--alert", hook=url)
    assert done.returncode == 2
    assert "cannot be read: No such file or directory" in done.stdout
    assert [SECRET in json.dumps(post) for post in posts] == [False]
    assert not home.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every file")
def test_the_home_of_another_user_cannot_be_judged(home: Path) -> None:
    home.chmod(0)
    done = run(home)
    home.chmod(0o700)
    assert (done.returncode, "run the check as the user of the appliance" in done.stdout) == (3, True)


def test_an_appliance_that_was_stopped_is_critical_and_posts_nothing(home: Path) -> None:
    (home / "running").unlink()
    with webhook() as (url, posts):
        done = run(home, "--alert", hook=url)
    assert (done.returncode, posts) == (2, [])
    assert "TAPEDECK CRITICAL - the appliance is stopped; `tapedeck up` starts it" in done.stdout


def test_a_dead_watchdog_is_posted_once_in_a_while(home: Path) -> None:
    with webhook() as (url, posts):
        first = run(home, "--alert", hook=url)
        second = run(home, "--alert", hook=url)
        third = run(home, "--alert", "--cooldown", "0", hook=url)
    assert [done.returncode for done in (first, second, third)] == [2, 2, 2]
    assert len(posts) == 2
    assert posts[0]["text"] == posts[0]["content"]
    assert "TAPEDECK CRITICAL - supervisord is not running" in posts[0]["text"]
    assert "posted    an alert, since the watchdog cannot" in first.stdout
    assert "none now" in second.stdout
    assert SECRET not in first.stdout + first.stderr + second.stdout + json.dumps(posts)


def test_an_alert_is_posted_also_where_its_time_cannot_be_kept(home: Path) -> None:
    (home / "check-health.alerted").symlink_to(home / "nothing")
    with webhook() as (url, posts):
        for _ in range(2):
            run(home, "--alert", hook=url)
    assert len(posts) == 2
    assert not (home / "nothing").exists()


def test_an_alert_that_is_refused_is_tried_again(home: Path) -> None:
    with webhook(500) as (url, posts):
        done = run(home, "--alert", hook=url)
        run(home, "--alert", hook=url)
    assert len(posts) == 2
    assert "posted    no alert: the server answered 500" in done.stdout
    for odd in ("file:///etc/passwd", f"http://[{SECRET}", "nonsense"):
        done = run(home, "--alert", hook=odd)
        assert done.returncode == 2
        assert "posted    no alert: " in done.stdout
        assert SECRET not in done.stdout + done.stderr


def test_a_full_or_read_only_disk_is_named_and_stops_no_alert(home: Path, tmp_path: Path) -> None:
    with mounted(["-t", "tmpfs", "-o", "size=64k", "tmpfs"], tmp_path / "disk") as disk, webhook() as (url, posts):
        for name in ("running", "supervisord.conf"):
            shutil.copy(home / name, disk)
        with contextlib.suppress(OSError):
            (disk / "filler").write_bytes(bytes(1 << 20))
        full = run(disk, "--alert", hook=url)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        read_only = run(disk, "--alert", "--cooldown", "0", hook=url)
    assert (full.returncode, read_only.returncode, len(posts)) == (2, 2, 2)
    assert f"the disk of {disk} has 0 MiB free" in full.stdout
    assert f"the disk of {disk} is read-only" in read_only.stdout


def test_alert_without_an_address_says_so(home: Path) -> None:
    assert "--alert posts nothing: ALERT_WEBHOOK_URL is not set here" in run(home, "--alert").stdout


def test_the_exit_code_survives_an_output_that_takes_nothing(home: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        assert run(home, stdout=full).returncode == 2


def test_words_of_others_are_escaped_and_end_no_sentence(home: Path) -> None:
    conf = home / "supervisord.conf"
    conf.write_text(conf.read_text() + "[program:a\x1b[31m|b]\ncommand = x\n")
    first = run(home).stdout.splitlines()[0]
    assert r"a\x1b[31m/b is not running" in first
    assert first.count("|") == 1


@pytest.mark.parametrize("kind", ["pipe", "folder", "noise", "huge"])
def test_damaged_files_of_the_home_are_never_waited_for(kind: str, home: Path) -> None:
    (home / "health").mkdir()
    for path in (home / "health" / "writer.json", home / "supervisord.pid", home / "check-health.alerted"):
        path.unlink(missing_ok=True)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            path.write_bytes(os.urandom(64) if kind == "noise" else b"[" * (3 << 20))
    done = run(home)
    assert done.returncode == 2
    assert "supervisord is not running; writer is not running" in done.stdout


@pytest.mark.parametrize("minor", range(9, 15))
def test_it_runs_with_every_python_that_is_here(minor: int, home: Path) -> None:
    python = shutil.which(f"python3.{minor}")
    if python is None or subprocess.run([python, "-V"], capture_output=True, check=False).returncode:
        pytest.skip(f"python3.{minor} is not installed")
    done = run(home, python=python)
    assert (done.returncode, done.stderr) == (2, "")
    assert run(home, "--help", python=python).returncode == 0


def test_wrong_usage_is_not_taken_for_a_state(home: Path) -> None:
    assert run(home, "--nonsense").returncode == 3


def test_a_damaged_list_of_programs_is_named(home: Path) -> None:
    for text in ("[program:a]\ncommand =\n", "[program:b]\ncommand = 'half\n", "no section\n"):
        (home / "supervisord.conf").write_text(text)
        done = run(home)
        assert done.returncode == 2
        assert "supervisord is not running" in done.stdout
        assert "supervisord.conf, which lists the programs, cannot be read" in done.stdout
