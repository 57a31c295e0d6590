"""Random rounds of faults, judged by a checker that shares nothing with the product, and by `tapedeck verify`.

A failure prints the command that repeats it. ORACLE_KINDS="kill_a_recorder,hand_over" runs only those kinds;
ORACLE_ROUNDS sets the number of rounds.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.oracle.lab import SYMBOLS, Lab
from faults.oracle.rounds import KINDS
from support.database_server import DatabaseServer
from support.machine.ports import free_port

EACH = 10  # rounds before a judgement in the long form
RARE = {
    "remove_a_segment",
    "cut_between_blocks",
    "remove_a_journal",
    "restore_the_database",
    "restore_a_journal",
    "restore_the_home",
    "remove_tape_files",
    "copy_the_home",
    "restore_the_database_without_journals",
    "make_the_database_again",
}
"""Kinds that take long or restore something: the short form leaves them to the long form."""


def draw(lab: Lab, count: int) -> list[str]:
    """Return the kinds of the rounds to run."""
    chosen = [name for name in os.environ.get("ORACLE_KINDS", "").split(",") if name]
    left_out = RARE if count < EACH else set()
    possible = chosen or [name for name in KINDS if name not in left_out]
    count = int(os.environ.get("ORACLE_ROUNDS") or count)
    return [lab.rng.choice(possible) for _ in range(count)]


def repeat(seed: int, kinds: list[str], test: str) -> str:
    """Return the command that repeats an experiment."""
    return (
        f"FAULT_SEED={seed} ORACLE_ROUNDS={len(kinds)} .ci/test -n 0 -m '' -s "
        f"'tests/faults/oracle/test_rounds.py::{test}'"
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("rounds", "part"),
    [
        pytest.param(3, 0, id="short"),
        *(pytest.param(EACH, part, id=f"long-{part}", marks=pytest.mark.long) for part in range(1, 21)),
    ],
)
def test_after_random_rounds_the_checker_and_verify_agree_that_all_is_accounted_for(
    rounds: int, part: int, seed: int, tmp_path: Path, database_server: DatabaseServer, request: pytest.FixtureRequest
) -> None:
    run(seed, lambda lab: draw(lab, rounds), tmp_path, database_server, request.node.name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("removed", ["remove_a_journal", "remove_tape_files"])
def test_what_is_gone_from_the_journals_and_then_from_the_database_is_declared(
    removed: str, seed: int, tmp_path: Path, database_server: DatabaseServer, request: pytest.FixtureRequest
) -> None:
    run(seed, lambda _lab: [removed, "make_the_database_again"], tmp_path, database_server, request.node.name)


def run(seed: int, choose: Callable[[Lab], list[str]], home: Path, server: DatabaseServer, test: str) -> None:
    """Run rounds of these kinds in a fresh lab, and judge at their end."""
    with Lab(home / "lab", server, [free_port() for _ in SYMBOLS], seed) as lab:
        kinds = choose(lab)
        again = repeat(seed, kinds, test)
        print(again)
        lab.wait_flowing()
        for number, name in enumerate(kinds, 1):
            lab.wait_subscribed()
            print(f"round {number}: {name}: {KINDS[name](lab)}")
            lab.pause(lab.rng.uniform(0, 1))
        finding = lab.judge()
        status, printed = lab.verify()
        print(f"verify {status}; {finding}")
        assert finding.clean, f"{again}\n{kinds}\n{finding}\n{printed}\n{lab.logs()}"
        assert status == 0, f"verify does not agree with the checker\n{again}\n{kinds}\n{finding}\n{printed}"
        assert finding.stored > 100, f"almost nothing was sent\n{again}"
