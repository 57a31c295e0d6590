"""`tapedeck handover` on a running appliance: a new process of a recorder, and releases that are broken."""

import stat
from pathlib import Path

import psycopg2
import pytest

from recorder.appliance.embedded_postgres import database_url
from recorder.appliance.processes import wait_until
from recorder.appliance.supervisor import Supervisor
from recorder.cli import main
from recorder.settings import Settings
from recorder.store.database import READER

pytestmark = pytest.mark.long  # each test runs a whole appliance or waits out a venue's silence


def gaps() -> int:
    connection = psycopg2.connect(database_url(Settings.load(), READER))
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM gap")
            (count,) = cursor.fetchone() or (0,)
            return int(count)
    finally:
        connection.close()


def pids(home: Path) -> dict[str, int]:
    return {one.name: one.pid for one in Supervisor(home).processes() if one.pid and one.name.startswith("recorder")}


def broken(folder: Path, name: str, body: str) -> str:
    """Return the path of an interpreter of a broken release."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.timeout(480)
def test_recorders_are_replaced_and_a_broken_release_leaves_the_old_process_recording(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--venues", "kraken,coinbase"]) == 0, capsys.readouterr().out
    before, first = gaps(), pids(home)
    assert set(first) == {"recorder-kraken", "recorder-coinbase"}

    assert main(["handover", "--all"]) == 0, capsys.readouterr().out
    second = pids(home)
    assert set(second) == {"recorder-kraken-b", "recorder-coinbase-b"}
    assert wait_until(lambda: main(["status", "--json"]) == 0, 60.0, pause_s=0.5), capsys.readouterr().out

    crashes = broken(tmp_path, "crashes", "exit 1")
    capsys.readouterr()
    assert main(["handover", "kraken", "--python", crashes]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "recorder-kraken did not take over: it ended" in said
    assert "recorder-kraken-b records on" in said
    assert "its last line" not in said, "the log has lines of an earlier process only"
    hangs = broken(tmp_path, "hangs", "exec sleep 600")
    assert main(["handover", "recorder-kraken", "--python", hangs, "--wait", "6"]) == 1
    assert "not ready after 6 s" in " ".join(capsys.readouterr().out.split())
    assert pids(home) == second, "the old process was not touched"

    assert main(["handover", "recorder-kraken"]) == 0, capsys.readouterr().out
    assert set(pids(home)) == {"recorder-kraken", "recorder-coinbase-b"}
    assert pids(home)["recorder-kraken"] != first["recorder-kraken"]
    assert gaps() == before
    assert wait_until(lambda: main(["verify", "--truth", str(home / "simulator")]) == 0, 30.0), capsys.readouterr().out

    assert main(["down"]) == 0
    assert main(["up", "--venues", "kraken,coinbase"]) == 0, capsys.readouterr().out
    assert set(pids(home)) == {"recorder-kraken", "recorder-coinbase-b"}, "each continues where it was"


@pytest.mark.timeout(480)
def test_a_restart_of_a_healthy_recorder_costs_no_gap_and_a_hard_one_does(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up", "--venues", "kraken"]) == 0, capsys.readouterr().out
    before, first = gaps(), pids(home)

    assert main(["restart", "kraken"]) == 0, capsys.readouterr().out
    second = pids(home)
    assert set(second) == {"recorder-kraken-b"}
    assert second["recorder-kraken-b"] not in first.values()
    assert "replaced without a gap" in capsys.readouterr().out

    writer = Supervisor(home).process("writer")
    assert main(["restart", "writer"]) == 0, capsys.readouterr().out
    again = Supervisor(home).process("writer")
    assert writer is not None
    assert again is not None
    assert again.pid != writer.pid
    assert wait_until(lambda: main(["verify", "--truth", str(home / "simulator")]) == 0, 30.0), capsys.readouterr().out
    assert gaps() == before

    assert main(["restart", "recorder-kraken", "--hard"]) == 0, capsys.readouterr().out
    third = pids(home)
    assert set(third) == {"recorder-kraken-b"}
    assert third != second
    assert wait_until(lambda: gaps() > before, 30.0), "what was missed is declared"


def test_a_wrong_call_is_answered_in_one_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, sentence in (
        (["handover"], "name the recorders to replace, or give --all"),
        (["handover", "krakn"], "no recorder is named 'krakn'"),
        (["handover", "--all", "--python", "/nowhere/python"], "there is no Python /nowhere/python"),
        (["handover", "--all"], "is not running"),
        (["restart", "krakn"], "no program is named 'krakn'; did you mean kraken?"),
        (["restart", "writr"], "did you mean writer?"),
        (["restart", "kraken", "writer"], "no appliance is running"),
        (["restart", "--hard"], "--hard needs the names of recorders"),
        (["restart", "writer", "--wait", "5"], "--wait is for a restart of the whole appliance"),
    ):
        assert main(words) == 2
        assert sentence in " ".join(capsys.readouterr().err.split())
