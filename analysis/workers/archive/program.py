"""Archive one day of one table and drop it: `-m analysis.workers.archive.program --table trade --day 2026-03-05`.

The keeper starts it for each day, so that the memory of a day is given back. The last line of its output is a JSON
object; the exit code is 0 after a drop or when there was nothing to do, 1 when nothing was dropped for another reason.
"""

import argparse
import sys
from datetime import date
from pathlib import Path

import msgspec

from analysis.errors import ArchiveError
from analysis.workers.archive.day import Archiver, Result
from recorder.appliance.embedded_postgres import database_url
from recorder.errors import StoreError
from recorder.process import program
from recorder.settings import Settings
from recorder.store.database import KEEPER


class Answer(msgspec.Struct):
    """What the keeper reads."""

    outcome: str  # released, nothing, refused
    rows: int = 0
    bytes: int = 0
    reason: str = ""


def main(settings: Settings, table: str, day: date) -> int:
    """Archive a day.

    Raises:
        ConfigError: A person must act.
    """
    root = settings.keeper.archive_dir or settings.home / "archive"
    try:
        result: Result = Archiver(database_url(settings, KEEPER), Path(root).absolute()).archive(table, day)
    except (ArchiveError, StoreError, OSError) as error:
        return _answer(Answer("refused", reason=str(error)), 1)
    return _answer(Answer(result.outcome, result.rows, result.bytes), 0)


def _answer(answer: Answer, code: int) -> int:
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")
    return code


def start() -> int:
    """Run the program with the arguments of the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="archive", description=__doc__)
    parser.add_argument("--table", choices=("trade", "quote", "book"), required=True)
    parser.add_argument("--day", type=date.fromisoformat, required=True)
    given = parser.parse_args()
    return program.run("archive", lambda settings: main(settings, given.table, given.day))


if __name__ == "__main__":
    sys.exit(start())
