"""The writer's transaction under kill -9: rows, ledger and position are those of a run nobody disturbed."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import psycopg2
import pytest
from batches import FIRST, JOURNAL
from database_server import DatabaseServer
from load_batches import load_all

from recorder.migrate import migrate
from recorder.position import Position
from recorder.store import Store

TESTS = Path(__file__).parent.parent
LOADER = [sys.executable, str(TESTS / "load_batches.py")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Everything a load leaves behind, but for the clock of the server."""
    queries = {
        "trade": "SELECT * FROM trade ORDER BY trade_id",
        "quote": "SELECT * FROM quote ORDER BY frame_seq",
        "gap": "SELECT * FROM gap ORDER BY gap_id",
        "session": "SELECT * FROM session ORDER BY session_id",
        "quarantine": "SELECT segment, position, item, scope, sha256::text FROM quarantine ORDER BY 1, 2, 3",
        "journal": "SELECT journal_id, segment, position, block_seq FROM journal",
        "load_ledger": "SELECT table_name, blocks, offered, inserted, duplicate, quarantined FROM load_ledger ORDER BY 1",
    }
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            found = {}
            for name, text in queries.items():
                cursor.execute(text)
                found[name] = cursor.fetchall()
            return found
    finally:
        connection.close()


def kill_and_restart(url: str, count: int, kills: int, seed: int) -> int:
    """Load `count` batches with a loader killed at random instants; how many kills found it at work."""
    rng = random.Random(seed)
    hits = 0
    pause = threading.Event()
    for _ in range(kills):
        with subprocess.Popen([*LOADER, url, str(count)], stdout=subprocess.PIPE, env=ENVIRONMENT) as loader:
            assert loader.stdout is not None
            assert loader.stdout.readline() == b"ready\n"
            pause.wait(rng.uniform(0.0, 0.05))  # the instant is the test, not a condition
            loader.kill()
            hits += loader.wait(timeout=10) != 0
    return hits


@pytest.mark.parametrize("kills", [pytest.param(22, id="short"), pytest.param(200, id="long", marks=pytest.mark.long)])
def test_a_writer_killed_at_random_instants_leaves_what_an_undisturbed_one_leaves(
    kills: int, database: str, empty_database: str
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    count = kills * 18
    hits = kill_and_restart(database, count, kills, seed)
    assert hits >= kills * 0.9
    load_all(database, count)
    migrate(empty_database)
    load_all(empty_database, count)
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


def test_after_a_lost_answer_to_commit_the_position_tells_whether_the_batch_is_in(database: str) -> None:
    load_all(database, 3)
    store = Store(database)
    assert store.position(JOURNAL) == Position(FIRST.segment, FIRST.offset + 3000)
    store.close()
