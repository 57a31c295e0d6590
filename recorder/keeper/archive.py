"""The job `archive`: moves ended days from their tables into the archive, by the limits of the settings.

Each day is the work of a process of its own (`analysis.workers.archive`), which needs the extra `derive`. Without it
nothing is dropped, and the keeper says so.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, date, datetime

import msgspec
import psycopg2

from recorder.keeper import budget
from recorder.keeper.check import problem_of
from recorder.keeper.job import Outcome, Work
from recorder.keeper.plan import SHED, Limit, Move, Partition, moves
from recorder.settings import Settings
from recorder.store.archive_files import FilesCheck, check_files
from recorder.store.database import KEEPER, Cursor, classify, connect

_NEEDED = ("analysis", "pyarrow", "polars", "adbc_driver_postgresql")
_WAIT_S = 0.5
_END_S = 10.0
_PARTITIONS = """
SELECT k.table_name, k.day, pg_total_relation_size(c.oid)
  FROM day_partition k
  JOIN pg_class c ON c.relname = k.table_name || '_' || to_char(k.day, 'YYYYMMDD')
                 AND c.relnamespace = to_regnamespace('partition')
 WHERE k.table_name = ANY (%s) AND k.day < %s"""
_ARCHIVED = "SELECT DISTINCT day FROM archive WHERE table_name = %s ORDER BY day"


class Answer(msgspec.Struct):
    """What the process of a day prints."""

    outcome: str
    rows: int = 0
    bytes: int = 0
    reason: str = ""


def missing() -> list[str]:
    """Return the packages that archiving needs and that are not installed."""
    return [name for name in _NEEDED if importlib.util.find_spec(name) is None]


def archive_days(work: Work) -> Outcome:
    """Archive and drop the days that are beyond the limits, and archive what came later of archived days.

    Raises:
        StoreError, ConfigError: The database cannot be used.
    """
    due = planned(work)
    check = _look(work)
    damage = problem_of(check)
    if not due:
        return Outcome("skipped", "no day is beyond the limits", damage, len(check.faults))
    if missing():
        text = f"{len(due)} days are to be archived, which needs {', '.join(missing())}: install the extra `derive`"
        return Outcome("done", "nothing was dropped", f"{text}; nothing is dropped", len(check.faults))
    rows = files = 0
    refused: list[str] = []
    for move in due:
        if work.stop.is_set():
            break
        answer = run_day(work, move.table, move.day)
        if answer.outcome == "refused":
            refused.append(f"{move.table} {move.day}: {answer.reason}")
        rows, files = rows + answer.rows, files + (answer.outcome == "released")
    detail = f"{files} days with {rows:,} rows left their tables"
    return Outcome("done", detail, "; ".join([*([damage] if damage else []), *refused[:3]]), len(check.faults))


def _look(work: Work) -> FilesCheck:
    """Compare the files of the archive with its ledger: by size, and all of their bytes where a person asks."""
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        return check_files(connection, stopped=work.stop.is_set, sizes_only=not work.by_hand)


def planned(work: Work) -> list[Move]:
    """Return the days that are to be archived now.

    Raises:
        StoreError, ConfigError: The database cannot be used.
    """
    today = datetime.fromtimestamp(work.now(), UTC).date()
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute(_PARTITIONS, (list(SHED), today))
                partitions = [Partition(*row) for row in cursor.fetchall()]
                late = [(table, day) for table in SHED for day in _late(cursor, table)]
        except psycopg2.Error as error:
            raise classify(error) from error
    return moves(partitions, limits(work.settings), today, late=late, excess=budget.excess(work.settings))


def limits(settings: Settings) -> dict[str, Limit]:
    """Return the limits of the tables."""
    groups = {"trade": settings.keeper.trade, "quote": settings.keeper.quote, "book": settings.keeper.book}
    return {name: Limit(one.days, None if one.gb is None else one.gb * (1 << 30)) for name, one in groups.items()}


def _late(cursor: Cursor, table: str) -> list[date]:
    """Return the archived days of a table that have rows in it again."""
    cursor.execute(_ARCHIVED, (table,))
    archived = [day for (day,) in cursor.fetchall()]
    clock = "ts_event" if table == "trade" else "ts_recv"
    found = []
    for day in archived:
        cursor.execute(
            f"SELECT EXISTS (SELECT FROM {table} WHERE {clock} >= %s AND {clock} < %s::date + 1)", (day, day)
        )
        if cursor.fetchone() == (True,):
            found.append(day)
    return found


def run_day(work: Work, table: str, day: date) -> Answer:
    """Archive one day in a process of its own, which ends when the keeper is stopped."""
    command = [sys.executable, "-P", "-m", "analysis.workers.archive.program", "--table", table, "--day", f"{day}"]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=work.settings.environment(), text=True
    )
    try:
        while True:
            try:
                output, errors = child.communicate(timeout=_WAIT_S)
                break
            except subprocess.TimeoutExpired:
                if work.stop.is_set():
                    child.terminate()
                    output, errors = child.communicate(timeout=_END_S)
                    break
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
    return _answer(output, errors)


def _answer(output: str, errors: str) -> Answer:
    for line in reversed(output.splitlines()):
        try:
            return msgspec.json.decode(line, type=Answer)
        except msgspec.MsgspecError:
            continue
    last: Sequence[str] = errors.strip().splitlines()[-1:]
    return Answer("refused", reason=last[0][:300] if last else "it ended without an answer")
