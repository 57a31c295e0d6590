"""Postgres hangs instead of failing, or is another database suddenly: health says so, and everything recovers."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from support.database_server import DatabaseServer
from support.fault_rig import Rig

from recorder.appliance.embedded_postgres import binary
from recorder.instruments.subscription_store import set_subscriptions
from recorder.store.database import with_database

MakeRig = Callable[..., Rig]
DEGRADED_S = 10.0
STOP_S = 5.0


def detail(rig: Rig) -> str:
    """Return what the writer says while it is degraded; empty while it is not."""
    report = rig.health("writer")
    return report.detail if report is not None and report.state == "degraded" else ""


def server_processes(server: DatabaseServer) -> list[int]:
    """Return the processes of a server, the first of all first."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [server.pid, *map(int, children)]


def end_in_time(rig: Rig, program: str) -> None:
    """Stop a program as supervisord does, and assert that it ends while the database hangs."""
    process = rig.processes.pop(program)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert time.monotonic() - began < STOP_S


@pytest.mark.timeout(300)
def test_a_locked_table_is_reported_with_its_holder_and_costs_no_row(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("coinbase",)).up()
    holder = psycopg2.connect(database, application_name="a person")
    with holder.cursor() as cursor:
        cursor.execute("LOCK TABLE trade IN ACCESS EXCLUSIVE MODE")
        rig.wait("the writer is degraded", lambda: detail(rig).startswith("Postgres has not answered"), DEGRADED_S)
        expected = f"waits for a lock held by pid {holder.info.backend_pid}"
        rig.wait("it names the holder", lambda: expected in detail(rig), DEGRADED_S)
        assert "program a person" in detail(rig)
        rig.wait("it tries again", lambda: "store.unavailable" in rig.log("writer"), 30.0)
        assert detail(rig)  # also between two attempts
        end_in_time(rig, "writer")
    holder.close()
    rig.start("writer")
    rig.wait_live()
    rig.prove()


@pytest.mark.timeout(300)
def test_a_stopped_server_is_reported_and_does_not_keep_a_program_from_ending(
    make_rig: MakeRig, database_server: DatabaseServer
) -> None:
    rig = make_rig(database_server.url("tapedeck"), venues=("coinbase",)).up()
    stopped = []
    for process in server_processes(database_server):
        with contextlib.suppress(ProcessLookupError):  # a backend may have ended since
            os.kill(process, signal.SIGSTOP)
            stopped.append(process)
    try:
        rig.wait("the writer is degraded", lambda: "it accepts no connection either" in detail(rig), DEGRADED_S + 5)
        for program in rig.programs:
            end_in_time(rig, program)
    finally:
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):  # it had ended, and the server, woken first, took note
                os.kill(process, signal.SIGCONT)
    for program in rig.programs:
        rig.start(program)
    rig.wait_live(60.0)
    rig.prove()


@pytest.mark.timeout(300)
def test_a_database_made_again_gets_schema_names_and_subscriptions(make_rig: MakeRig, empty_database: str) -> None:
    rig = make_rig(empty_database, venues=("coinbase",)).up()
    rig.wait_live()
    venue, symbol = next((venue, symbols[0]) for venue, symbols in rig.symbols.items())
    set_subscriptions(empty_database, venue, [symbol], ("book",), active=False)
    cached = rig.home / "subscriptions"
    rig.wait("the change is kept", lambda: any('"ended":[{' in path.read_text() for path in cached.iterdir()))
    names = rig.query("SELECT venue, symbol FROM instrument WHERE recorded ORDER BY 1, 2")
    wanted = rig.query("SELECT venue, symbol, channel, active FROM subscription ORDER BY 1, 2, 3")
    admin = psycopg2.connect(with_database(empty_database, "postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {psycopg2.extensions.parse_dsn(empty_database)['dbname']} WITH (FORCE)")
    admin.close()
    rig.wait("rows of the kept journals are back", lambda: _stored(rig) > 0, 60.0)
    subscriptions = "SELECT venue, symbol, channel, active FROM subscription ORDER BY 1, 2, 3"
    rig.wait("subscriptions are back", lambda: rig.query(subscriptions) == wanted)
    assert rig.query("SELECT venue, symbol FROM instrument WHERE recorded ORDER BY 1, 2") == names
    set_subscriptions(empty_database, venue, [symbol], ("book",), active=True)  # what is proved is every stream
    rig.prove()


@pytest.mark.timeout(300)
def test_a_restore_is_not_disturbed_and_nothing_is_unsubscribed(
    make_rig: MakeRig, empty_database: str, tmp_path: Path
) -> None:
    rig = make_rig(empty_database, venues=("coinbase",)).up()
    dump = tmp_path / "tape.dump"
    run_tool("pg_dump", "-Fc", "-f", str(dump), empty_database)
    name = psycopg2.extensions.parse_dsn(empty_database)["dbname"]
    admin = psycopg2.connect(with_database(empty_database, "postgres"))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
        cursor.execute(f"CREATE DATABASE {name}")
    admin.close()
    run_tool("pg_restore", "-d", empty_database, "--section=pre-data", str(dump))
    rig.wait("the writer waits", lambda: "a restore of" in str(rig.metrics("writer").get("database")), 30.0)
    rig.pause(12.0)  # longer than the grace of an empty database and the longest backoff of a recorder
    assert rig.query("SELECT count(*) FROM subscription") == [(0,)]
    run_tool("pg_restore", "-d", empty_database, "--section=data", "--section=post-data", str(dump))
    rig.wait_live(60.0)
    rig.prove()
    assert rig.gaps("cause = 'unsubscribed'") == []


def run_tool(name: str, *words: str) -> None:
    """Run a tool of the embedded Postgres."""
    subprocess.run([binary(name), *words], check=True, capture_output=True)


def _stored(rig: Rig) -> int:
    try:
        return rig.stored()
    except psycopg2.Error:
        return 0
