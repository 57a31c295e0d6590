"""Postgres is down, cut off, locked or refusing: capture is not affected, and the writer waits and then catches up."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from psycopg2 import sql
from support.database_server import DatabaseServer
from support.databases import terminate_backends
from support.fault_rig import Rig

from recorder.store.database import with_database

MakeRig = Callable[..., Rig]
RSS_GROWTH_KB = 16 * 1024


def journal_bytes(rig: Rig) -> int:
    """Return the size of all segments."""
    return sum(path.stat().st_size for path in rig.journals.glob("*/*.tape"))


def attempts(rig: Rig) -> int:
    """Return how often the writer has logged that the database refuses its work."""
    return rig.log("writer").count("store.unavailable")


def captured(rig: Rig) -> int:
    """Return the number of frames that all recorders have received."""
    return sum(int(rig.metrics(name).get("frames", 0)) for name in rig.recorders)


def assert_nothing_was_missed(rig: Rig) -> None:
    """Assert that no recorder reconnected, and no gap was declared since the streams began."""
    report = rig.prove()
    assert all(check.sent == check.stored for check in report.streams), report
    assert rig.gaps() == []
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == len(rig.recorders)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("outage_s", [pytest.param(5, id="short"), pytest.param(60, id="long", marks=pytest.mark.long)])
def test_an_outage_of_postgres_costs_no_row_and_no_memory(
    outage_s: int, make_rig: MakeRig, database_server: DatabaseServer
) -> None:
    rig = make_rig(database_server.url("tapedeck"), rate=1000.0).up()
    memory = {program: rig.rss_kb(program) for program in rig.programs}
    size, frames = journal_bytes(rig), captured(rig)
    database_server.stop()
    rig.pause(outage_s)
    assert attempts(rig) <= 12 + outage_s / 2
    assert "database" in rig.metrics("writer")
    rig.wait("the writer says that it waits", lambda: "down" in str(rig.metrics("writer").get("database")))
    grown = {program: rig.rss_kb(program) - before for program, before in memory.items()}
    assert max(grown.values()) < RSS_GROWTH_KB, grown
    assert captured(rig) - frames > 100 * outage_s
    behind = journal_bytes(rig) - size
    assert behind > 10_000 * outage_s
    database_server.start()
    caught_up_s = rig.wait("the writer has caught up", lambda: rig.health("writer") is not None and rig.loaded(), 60.0)
    assert caught_up_s < 10 + outage_s / 5  # the backoff, and five times the live rate
    assert_nothing_was_missed(rig)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("times", [pytest.param(6, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)])
def test_backends_ended_again_and_again_cost_no_row(times: int, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    for _ in range(times):
        rig.pause(rig.rng.uniform(0.0, 0.4))
        terminate_backends(database)
    assert_nothing_was_missed(rig)


@pytest.mark.timeout(400)
@pytest.mark.long
@pytest.mark.parametrize("times", [20])
def test_a_server_stopped_fast_or_killed_and_started_again_costs_no_row(
    times: int, make_rig: MakeRig, database_server: DatabaseServer
) -> None:
    rig = make_rig(database_server.url("tapedeck")).up()
    for number in range(times):
        if number % 2 == 0:
            database_server.kill()
        else:
            database_server.stop()
        database_server.start()
        before = rig.stored()
        rig.wait("rows come in again", lambda before=before: rig.stored() > before)  # type: ignore[misc]
    assert_nothing_was_missed(rig)


@contextmanager
def login(database: str) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Yield the address of a new role that may write, and a function that runs SQL on it ({role}, {password})."""
    name, password = f"tapedeck_test_{secrets.token_hex(4)}", secrets.token_hex(8)
    connection = psycopg2.connect(with_database(database, "postgres"))
    connection.autocommit = True

    def run(text: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL(text).format(role=sql.Identifier(name), password=sql.Literal(password)))

    run("CREATE ROLE {role} LOGIN PASSWORD {password} IN ROLE tapedeck_writer, tapedeck_reader")
    head, _, tail = database.partition("://")
    address = f"{head}://{name}:{password}@{tail.split('@', 1)[1]}"
    try:
        yield address, run
    finally:
        run("DROP ROLE {role}")
        connection.close()


REFUSALS = {
    "too many connections": ("ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1"),
    "read-only": (
        "ALTER ROLE {role} SET default_transaction_read_only = on",
        "ALTER ROLE {role} RESET default_transaction_read_only",
    ),
    "changed password": ("ALTER ROLE {role} PASSWORD 'another'", "ALTER ROLE {role} PASSWORD {password}"),
}


@pytest.mark.parametrize(
    "lasts_s", [pytest.param(1.0, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)]
)
@pytest.mark.timeout(600)
def test_a_database_that_refuses_is_retried_slowly_and_used_again(
    lasts_s: float, make_rig: MakeRig, database: str
) -> None:
    with login(database) as (address, run):
        rig = make_rig(address, venues=["kraken"]).up()
        proving = rig.url = database  # the proof reads as superuser
        for name, (refuse, relent) in REFUSALS.items():
            before, began = attempts(rig), time.monotonic()
            run(refuse)
            terminate_backends(proving)
            rig.wait(f"{name}: the writer is refused", lambda before=before: attempts(rig) > before)  # type: ignore[misc]
            rig.pause(lasts_s)
            tries = attempts(rig) - before
            assert tries <= 6 + (time.monotonic() - began) / 2, f"{name}: {tries} attempts"
            run(relent)
            stored = rig.stored()
            rig.wait(f"{name}: rows come in again", lambda stored=stored: rig.stored() > stored)  # type: ignore[misc]
        assert_nothing_was_missed(rig)
        assert "password" not in rig.log("writer").replace("password authentication failed", "").replace(
            "user and password", ""
        )


@pytest.mark.parametrize(
    "held_s", [pytest.param(2.0, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)]
)
def test_a_lock_on_a_table_delays_the_writer_and_nothing_else(held_s: float, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    connection = psycopg2.connect(database)
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE trade IN ACCESS EXCLUSIVE MODE")
        frames = captured(rig)
        threading.Event().wait(held_s)
        rig.wait("the recorders go on", lambda: captured(rig) > frames + 100 * held_s)
        assert not rig.loaded()
    connection.close()
    assert_nothing_was_missed(rig)
