"""A random mix of all faults for a bounded time: everything is accounted for, and no resource grows."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from support.databases import terminate_backends
from support.fault_rig import Rig
from support.misbehaviour import ENDS, FAULTS, FIRST, OWN

from recorder.simulator.build import VENUES

MakeRig = Callable[..., Rig]
SEVEN = sorted(VENUES.keys() - {"coinbase_advanced"})  # it has the instruments of coinbase


def hold_a_lock(url: str, table: str, seconds: float) -> None:
    """Lock a table for a while."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            threading.Event().wait(seconds)
    finally:
        connection.close()


def one_fault(rig: Rig) -> str:
    """Cause one random fault and return its description."""
    rng = rig.rng
    draw = rng.random()
    if draw < 0.15:
        program = rng.choice(rig.programs)
        rig.kill(program)
        rig.start(program)
        return f"kill {program}"
    if draw < 0.22:
        terminate_backends(rig.url)
        return "terminate backends"
    if draw < 0.27:
        table = rng.choice(["trade", "quote", "book", "gap"])
        hold_a_lock(rig.url, table, rng.uniform(0.1, 0.5))
        return f"lock {table}"
    venue = rng.choice(list(rig.venues))
    possible = [one for one in (*FAULTS, *OWN.get(venue, [])) if one[0] != "refuse"]  # it lasts five minutes
    action, arguments = rng.choice(possible)
    filled = {key: rig.symbols[venue][0] if value == FIRST else value for key, value in arguments.items()}
    rig.do(venue, action, **filled)
    return f"{venue} {action} {filled}"


def open_files(rig: Rig) -> dict[str, int]:
    """Return the number of file descriptors of each program."""
    return {name: len(os.listdir(f"/proc/{process.pid}/fd")) for name, process in rig.processes.items()}


def thread_count(rig: Rig) -> dict[str, int]:
    """Return the number of threads of each program."""
    return {name: len(list(Path(f"/proc/{process.pid}/task").iterdir())) for name, process in rig.processes.items()}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seconds", [pytest.param(8, id="short"), pytest.param(600, id="long", marks=pytest.mark.long)])
def test_a_random_mix_of_faults_leaves_everything_accounted_for(seconds: int, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=SEVEN, rate=60.0).up()
    files, threads = open_files(rig), thread_count(rig)
    began = time.monotonic()
    proved_s = began
    while time.monotonic() - began < seconds:
        print(f"{time.monotonic() - began:7.2f} {one_fault(rig)}")
        rig.pause(rig.rng.uniform(0.0, 0.5))
        if rig.rng.random() < 0.3:
            heal(rig)
        if time.monotonic() - proved_s > 60:
            fresh_sessions(rig)
            rig.prove(60.0)
            proved_s = time.monotonic()
    fresh_sessions(rig)
    report = rig.prove(60.0)
    assert sum(check.stored for check in report.streams) > 60 * seconds
    for now, before in ((open_files(rig), files), (thread_count(rig), threads)):
        assert all(now[name] <= before[name] + 4 for name in before), f"seed {rig.seed}: {before} {now}"
    assert max(rig.rss_kb(name) for name in rig.recorders) < 150 * 1024


def fresh_sessions(rig: Rig) -> None:
    """End the faults and the sessions, since books that failed often would wait long for a snapshot."""
    heal(rig)
    for venue in rig.venues:
        rig.do(venue, "close", how="frame")


def heal(rig: Rig) -> None:
    """End the faults of all venues."""
    for venue, running in rig.venues.items():
        rig.do(venue, "heal")
        for action, arguments in ENDS.items():
            if action in running.controls.help():
                rig.do(venue, action, **arguments)
