"""The rigs and seeds of the experiments, and the scoreboard that `make faults` prints."""

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.fault_rig import Rig
from support.scoreboard import write_scoreboard


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --scoreboard, which exists when pytest is started with this folder."""
    parser.addoption("--scoreboard", action="store_true", help="print which fault experiments held")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the score after the results."""
    if config.getoption("--scoreboard", default=False):
        write_scoreboard(terminalreporter)


@pytest.fixture
def seed() -> int:
    """Return the seed of this experiment; FAULT_SEED repeats one that failed."""
    chosen = int(os.environ.get("FAULT_SEED") or random.randrange(2**32))
    print(f"seed {chosen}: repeat with FAULT_SEED={chosen}")
    return chosen


@pytest.fixture
def make_rig(tmp_path: Path, seed: int) -> Iterator[Callable[..., Rig]]:
    """Yield a function that makes rigs; their processes end with the test."""
    with contextlib.ExitStack() as stack:
        count = 0

        def make(url: str, **options: Any) -> Rig:
            nonlocal count
            count += 1
            return stack.enter_context(Rig(tmp_path / f"rig-{count}", url, seed, **options))

        yield make
