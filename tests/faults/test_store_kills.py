"""The writer's transaction under kill -9: rows, ledger and position equal those of an undisturbed run."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg2
import pytest
from support.batches import FIRST, JOURNAL
from support.database_server import DatabaseServer
from support.load_batches import load_all

from recorder.position import Position
from recorder.store.loader import Store
from recorder.store.migrate import migrate

TESTS = Path(__file__).parent.parent
LOADER = [sys.executable, str(TESTS / "support" / "load_batches.py")]
FORKS = multiprocessing.get_context("forkserver")  # starts a loader in milliseconds
FORKS.set_forkserver_preload(["load_batches"])
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Return everything that a load stores, except times of the server."""
    queries = {
        "trade": "SELECT * FROM trade ORDER BY trade_id",
        "quote": "SELECT * FROM quote ORDER BY frame_seq",
        "gap": "SELECT * FROM gap ORDER BY gap_id",
        "session": "SELECT * FROM session ORDER BY session_id",
        "quarantine": "SELECT segment, position, item, scope, sha256::text FROM quarantine ORDER BY 1, 2, 3",
        "journal": "SELECT journal_id, segment, position, block_seq FROM journal",
        "load_ledger": "SELECT table_name, blocks, offered, inserted, duplicate, quarantined FROM load_ledger",
    }
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            found = {}
            for name, text in queries.items():
                cursor.execute(text)
                found[name] = sorted(cursor.fetchall()) if name == "load_ledger" else cursor.fetchall()
            return found
    finally:
        connection.close()


def kill_and_restart(url: str, count: int, kills: int, seed: int) -> int:
    """Load `count` batches with a loader killed at random instants; return how many kills interrupted it."""
    rng = random.Random(seed)
    hits = 0
    pause = threading.Event()
    for _ in range(kills):
        ready = FORKS.Event()
        loader = FORKS.Process(target=load_all, args=(url, count), kwargs={"ready": ready})
        loader.start()
        assert ready.wait(30)
        pause.wait(rng.uniform(0.0, 0.05))  # the random instant is the test
        loader.kill()
        loader.join(10)
        hits += loader.exitcode == -signal.SIGKILL
        loader.close()
    return hits


def wait_for_backend(url: str, condition: str, *, present: bool, deadline_s: float = 20.0) -> bool:
    """Return whether, before the deadline, a backend of the writer satisfies a condition, or none does any more."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    deadline = time.monotonic() + deadline_s
    pause = threading.Event()
    try:
        with connection.cursor() as cursor:
            while time.monotonic() < deadline:
                cursor.execute(
                    "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
                    f" AND application_name = 'writer' AND {condition}"
                )
                if cursor.fetchone() == (present,):
                    return True
                pause.wait(0.02)
        return False
    finally:
        connection.close()


@pytest.mark.parametrize("kills", [pytest.param(20, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)])
def test_a_writer_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves(
    kills: int, database: str, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])  # for the imports of the fork server
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    count = kills * 12
    hits = kill_and_restart(database, count, kills, seed)
    assert hits >= kills * 0.75
    load_all(database, count)
    migrate(empty_database)
    load_all(empty_database, count)
    assert contents(database) == contents(empty_database)


@pytest.mark.parametrize(
    ("blocker", "stored"),
    [
        pytest.param("LOCK TABLE quote", False, id="between two tables"),
        pytest.param("SELECT * FROM journal FOR UPDATE", True, id="while COMMIT is on its way"),
    ],
)
def test_a_writer_killed_inside_its_transaction_leaves_all_of_it_or_nothing(
    blocker: str, stored: bool, database: str, empty_database: str
) -> None:
    migrate(empty_database)
    load_all(database, 8)
    load_all(empty_database, 8)
    holder = psycopg2.connect(database)
    with holder.cursor() as cursor:
        cursor.execute(blocker)
        with subprocess.Popen([*LOADER, database, "9"], stdout=subprocess.PIPE, env=ENVIRONMENT) as loader:
            assert wait_for_backend(database, "wait_event_type = 'Lock'", present=True)
            loader.kill()
    holder.close()
    assert wait_for_backend(database, "true", present=False)
    if stored:
        load_all(empty_database, 9)
    assert contents(database) == contents(empty_database)
    load_all(database, 9)
    load_all(empty_database, 9)
    assert contents(database) == contents(empty_database)


def test_a_server_killed_under_load_comes_back_with_all_that_was_committed(
    database_server: DatabaseServer, database: str
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    count = 400
    url = database_server.url("tapedeck")
    migrate(url)
    pause = threading.Event()
    with subprocess.Popen([*LOADER, url, str(count)], stdout=subprocess.PIPE, env=ENVIRONMENT) as loader:
        assert loader.stdout is not None
        assert loader.stdout.readline() == b"ready\n"
        for _ in range(3):
            pause.wait(rng.uniform(0.02, 0.12))
            database_server.kill()
            database_server.start()
        assert loader.wait(timeout=60) == 0
    load_all(database, count)
    assert contents(url) == contents(database)


def test_after_a_lost_answer_to_commit_the_position_shows_whether_the_batch_is_stored(database: str) -> None:
    load_all(database, 3)
    store = Store(database)
    assert store.position(JOURNAL) == Position(FIRST.segment, FIRST.offset + 3000)
    store.close()
