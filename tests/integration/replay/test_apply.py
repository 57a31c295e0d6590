"""`tapedeck replay --apply` against a real Postgres: stored rows become those of a right recording, exactly once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.recordings import (
    BEGIN_NS,
    CHUNK_NS,
    SYMBOLS,
    Blind,
    Doubled,
    Inverted,
    Late,
    Shifted,
    damage,
    feed,
    frame,
    match,
    record,
)

from recorder.cli import main
from recorder.errors import ConfigError, StoreError
from recorder.identity import instrument_id
from recorder.journal.reader import JournalReader
from recorder.load.main import Loader
from recorder.replay.apply import ReplayStore
from recorder.replay.report import ReplayReport
from recorder.replay.run import ReplayApplier, Request, replay
from recorder.replay.transaction import COMPLETE, HEALED
from recorder.settings import Settings
from recorder.store.database import Connection
from recorder.store.loader import Store
from recorder.store.migrate import migrate
from recorder.venues.base import Decoder
from recorder.venues.coinbase.stream import CoinbaseDecoder
from recorder.verify.check import verify

NAME = "recorder-coinbase"
TABLES = {
    "trade": "SELECT * FROM trade ORDER BY instrument_id, trade_id, ts_event",
    "quote": "SELECT * FROM quote ORDER BY instrument_id, ts_recv, session_id, frame_seq, sequence",
    "book": "SELECT * FROM book ORDER BY instrument_id, ts_recv, session_id, frame_seq, bids, asks",
    "quarantine": "SELECT ts_recv, item, scope, table_name, session_id, sha256 FROM quarantine ORDER BY ts_recv, item",
    "instrument": "SELECT instrument_id, venue, symbol FROM instrument ORDER BY 1",
}

Rows = dict[str, list[tuple[Any, ...]]]


class RecordedJournal:
    """A journal and the database into which it is loaded."""

    def __init__(self, journals: Path, url: str) -> None:
        self.url = url
        self.journals = journals
        self.folder = journals / NAME
        self.connection: Connection = psycopg2.connect(url)
        self.connection.autocommit = True

    def load(self) -> None:
        """Load the complete journal, as the writer does."""
        loader = Loader(Store(self.url), self.journals, Settings.load(environ={}))
        while loader.step():
            pass
        loader.reset()

    def replay(
        self, decoder: Callable[[], Decoder] = CoinbaseDecoder, **request: Any
    ) -> tuple[ReplayReport, ReplayApplier]:
        """Run `tapedeck replay --apply`."""
        reader = JournalReader(self.folder)
        store = ReplayStore(self.url, reader.journal_id, "coinbase", 1)
        try:
            report, applier = replay(reader, Request(decoder, **request), store, lambda _: None)
        finally:
            store.close()
            reader.close()
        assert applier is not None
        return report, applier

    def rows(self) -> Rows:
        """Return all stored rows."""
        found = {}
        with self.connection.cursor() as cursor:
            for table, query in TABLES.items():
                cursor.execute(query)
                found[table] = cursor.fetchall()
        return found

    def one(self, query: str) -> Any:
        """The answer to a query."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone()
            return row[0] if row is not None and len(row) == 1 else row

    def assert_clean(self) -> None:
        """Run `tapedeck verify`, and check that the default partitions are empty."""
        report = verify(self.connection)
        assert report.ok, report.problems
        for table in ("trade", "quote", "book"):
            assert self.one(f"SELECT count(*) FROM partition.{table}_default") == 0


@pytest.fixture
def kept(tmp_path: Path, database: str) -> Iterator[RecordedJournal]:
    made = RecordedJournal(tmp_path / "journal", database)
    yield made
    made.connection.close()


@pytest.fixture
def right(tmp_path: Path, empty_database: str) -> Rows:
    """The rows that the right adapter would have recorded from the same feed."""
    migrate(empty_database)
    made = RecordedJournal(tmp_path / "right", empty_database)
    record(made.folder, CoinbaseDecoder, feed())
    made.load()
    rows = made.rows()
    made.connection.close()
    return rows


@pytest.mark.parametrize("faulty", [Inverted, Shifted, Late, Blind, Doubled])
def test_applying_gives_the_rows_of_a_right_recording_and_again_changes_nothing(
    kept: RecordedJournal, right: Rows, faulty: type[CoinbaseDecoder]
) -> None:
    record(kept.folder, faulty, feed())
    kept.load()
    assert kept.rows() != right
    report, applier = kept.replay()
    assert report.differs
    assert applier.applied.any
    assert kept.rows() == right
    kept.assert_clean()

    ledger = kept.one("SELECT array_agg(l::text ORDER BY l::text) FROM load_ledger l")
    _, again = kept.replay()
    assert not again.applied.any
    assert kept.rows() == right
    assert kept.one("SELECT array_agg(l::text ORDER BY l::text) FROM load_ledger l") == ledger
    kept.assert_clean()


@pytest.mark.parametrize("second", [Shifted, Late, Inverted, Blind])
def test_a_correction_that_was_wrong_itself_is_corrected_by_the_next(
    kept: RecordedJournal, right: Rows, second: type[CoinbaseDecoder]
) -> None:
    record(kept.folder, CoinbaseDecoder, feed())
    kept.load()
    kept.replay(second)
    assert kept.rows() != right
    kept.assert_clean()
    report, _ = kept.replay()
    assert not report.differs  # from the journal, but what is stored did
    assert kept.rows() == right
    kept.assert_clean()
    assert kept.one("SELECT count(*) FROM replayed_block") == kept.one("SELECT count(*) FROM replayed_trade") == 0


def test_corrections_of_corrections_of_keys_leave_nothing_behind(kept: RecordedJournal, right: Rows) -> None:
    record(kept.folder, Shifted, feed())
    kept.load()
    kept.replay(Late)
    kept.replay(Shifted)
    kept.replay()
    assert kept.rows() == right
    kept.assert_clean()


def test_without_a_difference_nothing_is_touched(kept: RecordedJournal, right: Rows) -> None:
    record(kept.folder, CoinbaseDecoder, feed())
    kept.load()
    report, applier = kept.replay()
    assert not report.differs
    assert not applier.applied.any
    assert kept.rows() == right
    assert kept.one("SELECT count(*) FROM replay_ledger") == 0


def test_only_what_was_recorded_in_the_range_is_corrected(kept: RecordedJournal, right: Rows) -> None:
    record(kept.folder, Inverted, feed())
    kept.load()
    wrong = kept.rows()["trade"]
    kept.replay(from_ns=BEGIN_NS + 5 * CHUNK_NS, until_ns=BEGIN_NS + 10 * CHUNK_NS)
    rows = kept.rows()["trade"]
    corrected = [row for row in rows if row in right["trade"]]
    assert len(corrected) == 5 * 4 + 1  # and one that a block of the range repeats
    assert sorted(corrected + [row for row in rows if row in wrong]) == sorted(rows)
    kept.assert_clean()
    kept.replay()
    assert kept.rows() == right


def test_rows_of_a_damaged_section_are_restored_and_their_gaps_healed(kept: RecordedJournal, right: Rows) -> None:
    record(kept.folder, CoinbaseDecoder, feed())
    for table in ("trade", "book"):
        damage(kept.folder, table)
    kept.load()
    damaged = "SELECT count(*) FROM gap WHERE cause = 'journal_damage' AND state = 'open'"
    assert kept.one(damaged) == 3  # the book of BTC-USD had a gap already: it awaits a snapshot
    assert kept.one("SELECT count(*) FROM trade") < len(right["trade"])
    _, applier = kept.replay()
    assert applier.applied.gaps_healed == 3
    assert kept.one(damaged) == 0
    assert kept.one("SELECT DISTINCT state, reason, revision FROM gap WHERE cause = 'journal_damage'") == (
        "healed",
        HEALED,
        2,
    )
    rows = kept.rows()
    assert {table: rows[table] for table in ("trade", "quote", "book")} == {
        table: right[table] for table in ("trade", "quote", "book")
    }
    kept.assert_clean()
    _, again = kept.replay()
    assert not again.applied.any


def test_a_gap_in_trades_is_healed_once_the_replay_has_all_ids_between(kept: RecordedJournal) -> None:
    def trades(first: int) -> list[bytes]:
        return [
            match(number, BEGIN_NS + number * 1000, symbol) for symbol in SYMBOLS for number in range(first, first + 3)
        ]

    record(kept.folder, Blind, [trades(1), trades(4), trades(7)])
    with kept.connection.cursor() as cursor:
        kept.load()
        # The state of a recording whose adapter decoded only the first and the last trade.
        cursor.execute(
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, last_id, first_id, started_at, ended_at,"
            " revision) VALUES (1, %(eth)s, 'trade', 'unreadable', 'open', 2, 8, now(), now(), 1),"
            "        (2, %(eth)s, 'trade', 'unreadable', 'open', 5, 11, now(), now(), 1)",
            {"eth": instrument_id("coinbase", "ETH-USD")},
        )
    _, applier = kept.replay()
    assert applier.applied.gaps_healed == 1
    assert kept.one("SELECT state, reason, revision FROM gap WHERE gap_id = 1") == ("healed", COMPLETE, 2)
    assert kept.one("SELECT state FROM gap WHERE gap_id = 2") == "open"


def test_gaps_whose_frames_are_damaged_too_stay_open(kept: RecordedJournal) -> None:
    record(kept.folder, CoinbaseDecoder, feed())
    block = damage(kept.folder, "trade")
    path = kept.folder / f"{block.position.segment:08d}.tape"
    offset = block.next.offset - sum(section.size for section in block.header.sections)
    assert block.header.sections[0].table == ""
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), b"\xff\xff\xff\xff", offset)
    kept.load()
    before = kept.rows()
    report, applier = kept.replay()
    assert report.skipped == 1
    assert not applier.applied.any
    assert kept.rows() == before
    assert kept.one("SELECT count(*) FROM gap WHERE cause = 'journal_damage' AND state = 'open'") == 2


def test_blocks_that_the_writer_has_not_loaded_yet_are_left_to_it(kept: RecordedJournal) -> None:
    record(kept.folder, Inverted, feed(5))
    kept.load()
    record(kept.folder, Inverted, feed(5, 100), session_id=78, begin_ns=BEGIN_NS + 10**9)
    _, applier = kept.replay()
    assert applier.not_loaded == 5
    kept.load()
    kept.assert_clean()
    _, later = kept.replay()
    assert later.not_loaded == 0
    assert later.applied.tables["trade"].updated > 0
    kept.assert_clean()


def test_a_row_postgres_refuses_costs_only_its_block(kept: RecordedJournal) -> None:
    class Negative(CoinbaseDecoder):
        """Makes an impossible size."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                if getattr(output, "trade_id", None) == 5:
                    output.size = 0.0
            return outputs

    record(kept.folder, Inverted, feed())
    kept.load()
    report, applier = kept.replay(Negative)
    assert report.skipped == 1
    assert "Postgres refuses a row of it" in report.skipped_examples[0]
    assert applier.applied.tables["trade"].updated == 76
    kept.assert_clean()


def test_a_row_the_writer_quarantined_is_stored_once_the_adapter_makes_it_right(kept: RecordedJournal) -> None:
    chunk = [match(1, BEGIN_NS), match(2, BEGIN_NS)]

    class Zero(CoinbaseDecoder):
        """Loses the size."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                if getattr(output, "trade_id", None) == 2:
                    output.size = 0.0
            return outputs

    record(kept.folder, Zero, [chunk])
    kept.load()
    assert kept.one("SELECT count(*) FROM quarantine WHERE scope = 'row'") == 1
    assert kept.one("SELECT count(*) FROM trade") == 1
    assert kept.one("SELECT count(*) FROM gap WHERE state = 'open' AND cause = 'row_refused'") == 1
    _, unchanged = kept.replay(Zero)
    assert not unchanged.applied.any  # what Postgres refused then is refused now
    kept.replay()
    assert kept.one("SELECT count(*) FROM quarantine WHERE scope = 'row'") == 0
    assert kept.one("SELECT count(*) FROM trade") == 2
    assert kept.one("SELECT sum(quarantined) FROM load_ledger") == 0
    assert kept.one("SELECT count(*) FROM gap WHERE state = 'healed' AND cause = 'row_refused'") == 1
    kept.assert_clean()


def test_symbols_seen_for_the_first_time_get_their_instrument(kept: RecordedJournal) -> None:
    class OnlyBtc(CoinbaseDecoder):
        """Decodes only one symbol."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            if b"SOL-USD" in payload:
                raise KeyError("SOL-USD")
            return super().decode(payload, ts_recv_ns)

    record(kept.folder, OnlyBtc, [[match(1, BEGIN_NS), match(1, BEGIN_NS, "SOL-USD")]])
    kept.load()
    kept.replay()
    assert kept.one("SELECT symbol FROM trade JOIN instrument USING (instrument_id) WHERE symbol = 'SOL-USD'")
    assert kept.one("SELECT count(*) FROM quarantine") == 0
    kept.assert_clean()


def test_trades_of_an_hour_the_writer_never_saw_go_into_their_own_partition(kept: RecordedJournal) -> None:
    class Yesterday(CoinbaseDecoder):
        """Reads the venue's clock five days wrong."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                output.ts_event_ns -= 5 * 86_400 * 10**9
            return outputs

    record(kept.folder, CoinbaseDecoder, [[match(1, BEGIN_NS)]])
    kept.load()
    kept.replay(Yesterday)
    assert kept.one("SELECT count(*) FROM trade") == 1
    kept.assert_clean()


def test_a_trade_that_came_twice_keeps_the_first_receipt(kept: RecordedJournal) -> None:
    again = [match(1, BEGIN_NS, kind="last_match")]
    record(kept.folder, Inverted, [[match(1, BEGIN_NS)], again, again])
    kept.load()
    first = kept.one("SELECT ts_recv FROM trade")
    kept.replay()
    assert kept.one("SELECT ts_recv, aggressor FROM trade") == (first, "s")
    kept.assert_clean()


def test_killed_at_any_moment_it_leaves_complete_batches_and_the_next_run_finishes(
    kept: RecordedJournal, right: Rows
) -> None:
    record(kept.folder, Blind, feed())
    kept.load()
    program = """
import os, sys
import recorder.replay.run as run
from recorder.journal.reader import JournalReader
from recorder.replay.apply import ReplayStore
from recorder.venues.coinbase.stream import CoinbaseDecoder
from pathlib import Path
run._BATCH_BLOCKS = 2
reader = JournalReader(Path(sys.argv[1]))
store = ReplayStore(sys.argv[2], reader.journal_id, "coinbase", 1)
left = int(sys.argv[3])
class Cut:
    def __init__(self, cursor): self.cursor = cursor
    def __enter__(self): self.cursor.__enter__(); return self
    def __exit__(self, *why): return self.cursor.__exit__(*why)
    def __getattr__(self, name): return getattr(self.cursor, name)
    def tick(self):
        global left
        left -= 1
        if left == 0: os.kill(os.getpid(), 9)
    def execute(self, *args): self.tick(); self.cursor.execute(*args)
    def copy_expert(self, *args): self.tick(); self.cursor.copy_expert(*args)
real = store._connection
class Wire:
    def cursor(self): return Cut(real.cursor())
    def __getattr__(self, name): return getattr(real, name)
store._connection = Wire()
run.replay(reader, run.Request(CoinbaseDecoder), store, lambda _: None)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    for statements in (4, 9, 17, 40, 90):
        arguments = [sys.executable, "-c", program, str(kept.folder), kept.url, str(statements)]
        done = subprocess.run(arguments, env=environment, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        kept.assert_clean()
    kept.replay()
    assert kept.rows() == right
    kept.assert_clean()


def test_a_second_replay_of_a_journal_at_once_is_refused(kept: RecordedJournal) -> None:
    record(kept.folder, CoinbaseDecoder, feed(1))
    kept.load()
    journal_id = JournalReader(kept.folder).journal_id
    store = ReplayStore(kept.url, journal_id, "coinbase", 1)
    with pytest.raises(StoreError, match="another replay of this journal is running"):
        ReplayStore(kept.url, journal_id, "coinbase", 2)
    store.close()
    ReplayStore(kept.url, journal_id, "coinbase", 2).close()


def test_a_login_without_the_right_to_correct_learns_which_role_it_needs(kept: RecordedJournal) -> None:
    from recorder.store.database import with_database

    with kept.connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS replay_stranger")
        cursor.execute("CREATE ROLE replay_stranger LOGIN PASSWORD 'x' IN ROLE tapedeck_writer")
    try:
        host = kept.url.split("@")[-1]
        url = with_database(f"postgresql://replay_stranger:x@{host}", kept.url.rpartition("/")[2].partition("?")[0])
        with pytest.raises(ConfigError, match="grant it the role tapedeck_replay"):
            ReplayStore(url, "none", "coinbase", 1)
    finally:
        with kept.connection.cursor() as cursor:
            cursor.execute("DROP ROLE replay_stranger")


def test_the_role_of_a_replay_is_enough_for_it(kept: RecordedJournal, right: Rows) -> None:
    record(kept.folder, Blind, feed())
    kept.load()
    with kept.connection.cursor() as cursor:  # ReplayStore assumes the role, so no other rights are used
        cursor.execute("SELECT has_table_privilege('tapedeck_replay', 'subscription', 'UPDATE')")
        assert cursor.fetchone() == (False,)
    kept.replay()
    assert kept.rows() == right


def test_frames_that_can_no_longer_be_decoded_enter_quarantine_with_their_place(kept: RecordedJournal) -> None:
    record(kept.folder, CoinbaseDecoder, [[match(1, BEGIN_NS), frame(type="status")]])
    kept.load()

    class Strict(CoinbaseDecoder):
        """Refuses status messages."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            if b"status" in payload:
                raise ValueError("status")
            return super().decode(payload, ts_recv_ns)

    kept.replay(Strict)
    assert kept.one("SELECT item, scope, session_id, sample FROM quarantine")[:3] == (1, "frame", 77)
    kept.replay()
    assert kept.one("SELECT count(*) FROM quarantine") == 0
    assert instrument_id("coinbase", "BTC-USD") == kept.one("SELECT instrument_id FROM trade")
    kept.assert_clean()


def test_the_command_applies_says_what_it_did_and_the_second_time_that_there_is_nothing_to_do(
    kept: RecordedJournal, right: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(kept.journals.parent)
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", kept.url)
    monkeypatch.setenv("TAPEDECK__JOURNAL__DIR", str(kept.journals))
    record(kept.folder, Inverted, feed())
    kept.load()
    assert main(["replay"]) == 0
    assert kept.rows() != right
    assert main(["replay", "--apply"]) == 0
    assert "trade: 0 removed, 0 inserted, 80 updated" in capsys.readouterr().out
    assert kept.rows() == right
    assert main(["replay", "--apply", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["differs"]
    assert all(not any(changed.values()) for changed in answer["applied"]["tables"].values())
