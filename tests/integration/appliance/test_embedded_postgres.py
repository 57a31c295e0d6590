"""The embedded Postgres as a process: created once, locked, replaced by exec, and safe after a kill."""

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psycopg2
import pytest
from support.database_server import DatabaseServer
from support.machine.ports import free_port

from recorder.appliance.embedded_postgres import SOCKET_PATH_MAX, EmbeddedPostgres
from recorder.errors import ConfigError, StoreUnavailable


def ask(url: str, text: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            row = cursor.fetchone()
            return None if row is None else row[0]
    finally:
        connection.close()


def test_the_first_start_creates_a_cluster_with_checksums_utf8_and_a_password(database_server: DatabaseServer) -> None:
    url = database_server.url()
    shown = {name: ask(url, f"SHOW {name}") for name in ("data_checksums", "server_encoding", "TimeZone", "fsync")}
    assert shown == {"data_checksums": "on", "server_encoding": "UTF8", "TimeZone": "UTC", "fsync": "on"}
    assert ask(url, "SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'tapedeck'") is True
    folder = database_server.embedded.folder
    assert (folder / "password").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_files_belong_to_the_caller_even_when_that_is_root(database_server: DatabaseServer) -> None:
    assert {path.stat().st_uid for path in database_server.embedded.data.iterdir()} == {os.getuid()}


def test_the_server_listens_on_loopback_only_and_requires_the_password(
    database_server: DatabaseServer,
) -> None:
    assert ask(database_server.url(), "SHOW listen_addresses") == "127.0.0.1"
    for host in ("127.0.0.1", str(database_server.embedded.sockets)):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(host=host, port=database_server.port, user="tapedeck", dbname="postgres", password="x")


def test_the_server_replaces_the_process_that_starts_it(database_server: DatabaseServer) -> None:
    pid_file = database_server.embedded.data / "postmaster.pid"
    assert int(pid_file.read_text().splitlines()[0]) == database_server.pid
    os.kill(database_server.pid, signal.SIGINT)
    assert database_server._process is not None
    assert database_server._process.wait(timeout=20) == 0
    assert not pid_file.exists()


def test_data_survive_the_kill_of_the_server(database_server: DatabaseServer) -> None:
    connection = psycopg2.connect(database_server.url())
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    connection.close()
    for _ in range(3):
        database_server.kill()
        database_server.start()
    assert ask(database_server.url(), "SELECT seven FROM kept") == 7


def test_a_pid_file_that_names_an_unrelated_process_does_not_prevent_a_start(database_server: DatabaseServer) -> None:
    database_server.kill()
    pid_file = database_server.embedded.data / "postmaster.pid"
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        database_server.start()
        assert ask(database_server.url(), "SELECT 1") == 1
    finally:
        stranger.kill()
        stranger.wait()
        assert stranger.stdin is not None
        stranger.stdin.close()


def test_a_second_server_of_the_same_home_is_refused(database_server: DatabaseServer) -> None:
    twin = EmbeddedPostgres(database_server.home, free_port())
    with pytest.raises(ConfigError, match="is already running"):
        twin.lock()


def test_an_interrupted_first_start_is_repeated(tmp_path: Path) -> None:
    server = DatabaseServer(tmp_path / "home")
    pause = threading.Event()
    process = server.launch()
    fresh = server.embedded.folder / "data.new"
    while not (fresh / "base").exists() and process.poll() is None:
        pause.wait(0.005)
    server.kill()  # its initdb lives on for a while, and must not prevent the next start
    assert not server.embedded.data.exists()
    try:
        server.start()
        assert ask(server.url(), "SELECT 1") == 1
        assert not fresh.exists()
    finally:
        server.stop()


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"port {port} is in use .*the embedded Postgres needs it: .* database\.port"
        ):
            EmbeddedPostgres(tmp_path, port).check_port()


def test_a_folder_too_deep_for_a_socket_gets_a_short_private_one(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    server = DatabaseServer(deep)
    try:
        server.start()
        sockets = server.embedded.sockets
        assert len(str(sockets / f".s.PGSQL.{server.port}")) <= SOCKET_PATH_MAX
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert ask(server.url(), "SELECT 1") == 1
    finally:
        server.stop()
    sockets.rmdir()


def test_a_cluster_of_another_version_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, 1)
    server.data.mkdir(parents=True)
    (server.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(ConfigError, match="was made by Postgres 12, the installed binaries are"):
        server.prepare()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be written.*set TAPEDECK_HOME"):
        EmbeddedPostgres(tmp_path / "file", 1).lock()


def test_the_address_of_a_server_never_started_is_unavailable_rather_than_wrong(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="has not been started yet"):
        EmbeddedPostgres(tmp_path, 1).url("tapedeck")


@pytest.mark.parametrize("exchanged", [True, False], ids=["old data moved away", "nothing moved"])
def test_a_restore_that_was_killed_while_it_exchanged_the_data_is_finished_or_forgotten(
    database_server: DatabaseServer, exchanged: bool
) -> None:
    """Without this an empty server would be made where the data folder is missing."""
    server = database_server.embedded
    connection = psycopg2.connect(database_server.url())
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE kept")
    connection.close()
    database_server.stop()
    if exchanged:
        server.data.rename(server.restored)
    else:
        server.restored.mkdir()
    database_server.start()
    assert ask(database_server.url(), "SELECT count(*) FROM pg_database WHERE datname = 'kept'") == 1
    assert not server.restored.exists()


def test_settings_of_the_user_take_precedence(database_server: DatabaseServer) -> None:
    database_server.stop()
    (database_server.embedded.folder / "local.conf").write_text("work_mem = '13MB'\n")
    database_server.start()
    assert ask(database_server.url(), "SHOW work_mem") == "13MB"
