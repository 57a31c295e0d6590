"""Export of whole days: completely or not at all, once, and again only when the database has more."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from support.analysis.market_data import ROOT
from support.analysis.stored_tape import BEGIN, BEGIN_NS, DAYS, END, LATER, MIDNIGHT, Stored

from analysis import load
from analysis.arrays import HOUR, Trades
from analysis.errors import ArchiveError
from analysis.export import Exported, export
from analysis.load import PostgresSource
from analysis.load.manifest import Manifest, data_folder, manifest_path, problems, read_manifest
from recorder.errors import ConfigError

TABLES = ("trade", "quote", "book")


def run(stored: Stored, root: Path, **more: bool) -> list[Exported]:
    return export(PostgresSource(stored.url), root, "kraken", DAYS, now=LATER, **more)  # type: ignore[arg-type]


def manifest(root: Path, day: int = 0) -> Manifest:
    found = read_manifest(root, "kraken", DAYS[day])
    assert found is not None
    return found


def snapshot(root: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of writing for every file of an archive."""
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("venue", ["../..", "a/b", "", "..", "kraken\n", "x" * 65])
def test_a_venue_whose_name_leads_out_of_the_archive_is_refused(tmp_path: Path, venue: str) -> None:
    with pytest.raises(ArchiveError, match="cannot name a folder"):
        manifest_path(tmp_path, venue, DAYS[0])
    with pytest.raises(ArchiveError, match="cannot name a folder"):
        data_folder(tmp_path, "trade", venue, DAYS[0])


def test_an_archive_holds_every_row_and_states_their_number(stored: Stored, archive: Path) -> None:
    for day in (0, 1):
        found = manifest(archive, day)
        assert problems(archive, found, hashes=True) == []
        assert found.schema_version == stored.run("SELECT max(version) FROM schema_migration")[0][0]
        assert (found.start, found.end) == (MIDNIGHT - timedelta(days=1 - day), MIDNIGHT + timedelta(days=day))
        assert {row.symbol for row in found.instruments} == {"BTC/USD", "ETH/USD"}
        for table in TABLES:
            entry = found.files[table]
            clock = "ts_event" if table == "trade" else "ts_recv"
            counted = stored.run(
                f"SELECT count(*) FROM {table} JOIN instrument USING (instrument_id)"
                f" WHERE venue = 'kraken' AND {clock} >= %s AND {clock} < %s", found.start, found.end
            )  # fmt: skip
            assert entry.rows == counted[0][0] == pq.read_metadata(archive / entry.path).num_rows > 0


def test_any_tool_that_knows_hive_partitions_reads_it(archive: Path) -> None:
    found = (
        pl.scan_parquet(archive / "trade" / "**" / "*.parquet", hive_partitioning=True)
        .filter(pl.col("venue") == "kraken", pl.col("symbol") == "ETH/USD")
        .sort("ts_event", "trade_id")
        .collect()
    )
    mine = load.trades("kraken", "ETH/USD", BEGIN, END, source=archive, to="polars")
    assert found["trade_id"].equals(mine["trade_id"])
    assert found["price"].equals(mine["price"])
    codec = pq.ParquetFile(archive / manifest(archive).files["trade"].path).metadata.row_group(0).column(0).compression
    assert codec == "ZSTD"


def test_exporting_again_touches_nothing(stored: Stored, archive: Path) -> None:
    before = snapshot(archive)
    assert {one.outcome for one in run(stored, archive)} == {"unchanged"}
    assert snapshot(archive) == before
    assert {one.outcome for one in run(stored, archive, again=True)} == {"written"}
    assert (
        manifest(archive).files["trade"].sha256
        == json.loads((archive / "manifest" / "venue=kraken" / f"date={DAYS[0]}.json").read_text())["files"]["trade"][
            "sha256"
        ]
    )


def test_two_exports_of_one_tape_are_equal_to_the_byte(stored: Stored, archive: Path, tmp_path: Path) -> None:
    run(stored, tmp_path / "other")
    for day in (0, 1):
        assert manifest(archive, day).files == manifest(tmp_path / "other", day).files


def test_a_late_trade_has_its_day_written_again_and_no_other_day(stored: Stored, archive: Path) -> None:
    old = manifest(archive).files
    one = np.array([BEGIN_NS + HOUR])
    late = Trades(one, one + 9 * HOUR, np.array([5]), np.array([123.0]), np.array([1.0]), np.array([0], np.int8))
    stored.trades("kraken", "BTC/USD", late, first_id=800_000)
    assert [done.outcome for done in run(stored, archive)] == ["written", "unchanged"]
    new = manifest(archive).files
    assert new["trade"].rows == old["trade"].rows + 1
    assert new["quote"] == old["quote"]
    files = {path.relative_to(archive).as_posix() for path in (archive / "trade" / "venue=kraken").rglob("*.parquet")}
    assert files == {new["trade"].path, manifest(archive, 1).files["trade"].path}
    assert load.trades("kraken", "BTC/USD", BEGIN, END, source=archive).equals(
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url)
    )


def test_a_gap_that_was_healed_since_is_healed_in_the_archive(stored: Stored, tmp_path: Path) -> None:
    stored.gap("kraken", "BTC/USD", 1, state="open")
    assert [done.gaps for done in run(stored, tmp_path)] == [1, 0]
    data = {path: when for path, when in snapshot(tmp_path).items() if path.endswith(".parquet")}
    stored.run("UPDATE gap SET state = 'healed', reason = 'filled by REST', revision = 2")
    assert [done.outcome for done in run(stored, tmp_path)] == ["written", "unchanged"]
    assert {path: when for path, when in snapshot(tmp_path).items() if path.endswith(".parquet")} == data
    assert load.gaps("kraken", "BTC/USD", BEGIN, END, source=tmp_path).num_rows == 0
    assert [row.reason for row in manifest(tmp_path).gaps] == ["filled by REST"]


def test_the_latest_revision_of_a_gap_over_midnight_is_the_truth(stored: Stored, tmp_path: Path) -> None:
    stored.gap("kraken", "BTC/USD", 1, started_at=MIDNIGHT - timedelta(minutes=1), ended_at=None, state="open")
    source = PostgresSource(stored.url)
    export(source, tmp_path, "kraken", DAYS[:1], now=LATER)
    stored.run("UPDATE gap SET ended_at = %s, state = 'unhealable', revision = 2", MIDNIGHT + timedelta(minutes=1))
    export(source, tmp_path, "kraken", DAYS[1:], now=LATER)
    found = load.gaps("kraken", "BTC/USD", BEGIN, END, source=tmp_path).to_pylist()
    assert [(row["state"], row["ended_at"]) for row in found] == [("unhealable", MIDNIGHT + timedelta(minutes=1))]


def test_a_day_that_is_not_over_is_refused_unless_requested(stored: Stored, tmp_path: Path) -> None:
    source = PostgresSource(stored.url)
    now = MIDNIGHT + timedelta(hours=3)
    with pytest.raises(
        ConfigError, match=r"2023-11-16 is not over: export it after 2023-11-17 00:10 UTC, or add --open-day"
    ):
        export(source, tmp_path, "kraken", DAYS, now=now)
    assert not (tmp_path / "manifest").exists()
    with pytest.raises(ConfigError, match="2023-11-15 is not over"):
        export(source, tmp_path, "kraken", DAYS[:1], now=MIDNIGHT + timedelta(minutes=5))
    stored.run("UPDATE session SET last_frame_at = %s", END)
    export(source, tmp_path, "kraken", DAYS, now=now, open_day=True)
    late = load.gaps("kraken", "BTC/USD", MIDNIGHT, MIDNIGHT + timedelta(days=1), source=tmp_path).to_pylist()
    assert [(row["reason"], row["started_at"]) for row in late] == [("after the latest frame", END)]


def test_an_export_that_was_killed_leaves_complete_days_and_continues(
    stored: Stored, archive: Path, tmp_path: Path
) -> None:
    root = tmp_path / "killed"
    command = [
        sys.executable, "-c", "import sys; from analysis.cli import main; sys.exit(main(sys.argv[1:]))",
        "export", "kraken", "--to", str(root), "--start", str(DAYS[0]), "--end", str(DAYS[1] + timedelta(days=1)),
    ]  # fmt: skip
    environment = {**os.environ, "DATABASE_URL": stored.url, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    first = root / "manifest" / "venue=kraken" / f"date={DAYS[0]}.json"
    deadline, pause = time.monotonic() + 110, threading.Event()
    while not first.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        pause.wait(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    assert problems(root, manifest(root), hashes=True) == []
    (root / "trade" / "venue=kraken" / f"date={DAYS[1]}").mkdir(parents=True, exist_ok=True)
    (root / "trade" / "venue=kraken" / f"date={DAYS[1]}" / ".part.new").write_bytes(b"half a file")
    done = run(stored, root)
    assert done[0].outcome == "unchanged"
    assert [manifest(root, day).files for day in (0, 1)] == [manifest(archive, day).files for day in (0, 1)]
    assert list(root.rglob(".part.new")) == []


def test_only_one_export_writes_to_an_archive_at_a_time(stored: Stored, archive: Path) -> None:
    with open(archive / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another export is writing"):
            run(stored, archive)


def test_a_damaged_file_is_written_again(stored: Stored, archive: Path) -> None:
    path = archive / manifest(archive).files["book"].path
    path.write_bytes(path.read_bytes()[:-10])
    assert [done.outcome for done in run(stored, archive)] == ["written", "unchanged"]
    assert problems(archive, manifest(archive), hashes=True) == []


def test_a_venue_that_was_not_recorded_is_refused(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing of krakn was recorded"):
        export(PostgresSource(stored.url), tmp_path, "krakn", DAYS, now=LATER)
