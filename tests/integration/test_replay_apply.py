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
from recordings import (
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
from recorder.database import Connection
from recorder.errors import ConfigError, StoreError
from recorder.instruments import instrument_id
from recorder.journal_reader import JournalReader
from recorder.migrate import migrate
from recorder.replay import Account
from recorder.replay_run import Correction, Request, replay
from recorder.settings import Settings
from recorder.store import Store
from recorder.store_replay import ReplayStore
from recorder.store_replay_piece import COMPLETE, HEALED
from recorder.venues.base import Session as Decoder
from recorder.venues.coinbase import CoinbaseSession
from recorder.verify import verify
from recorder.writer import Loader

NAME = "recorder-coinbase"
TABLES = {
    "trade": "SELECT * FROM trade ORDER BY instrument_id, trade_id, ts_event",
    "quote": "SELECT * FROM quote ORDER BY instrument_id, ts_recv, session_id, frame_seq, sequence",
    "book": "SELECT * FROM book ORDER BY instrument_id, ts_recv, session_id, frame_seq, bids, asks",
    "quarantine": "SELECT ts_recv, item, scope, table_name, session_id, sha256 FROM quarantine ORDER BY ts_recv, item",
    "instrument": "SELECT instrument_id, venue, symbol FROM instrument ORDER BY 1",
}

Rows = dict[str, list[tuple[Any, ...]]]


class Tape:
    """A journal and the database it is loaded into."""

    def __init__(self, journals: Path, url: str) -> None:
        self.url = url
        self.journals = journals
        self.folder = journals / NAME
        self.connection: Connection = psycopg2.connect(url)
        self.connection.autocommit = True

    def load(self) -> None:
        """Load everything there is, as the writer does."""
        loader = Loader(Store(self.url), self.journals, Settings.load(environ={}))
        while loader.step():
            pass
        loader.forget()

    def replay(self, decoder: Callable[[], Decoder] = CoinbaseSession, **request: Any) -> tuple[Account, Correction]:
        """`tapedeck replay --apply`."""
        reader = JournalReader(self.folder)
        store = ReplayStore(self.url, reader.journal_id, "coinbase", 1)
        try:
            account, correction = replay(reader, Request(decoder, **request), store, lambda _: None)
        finally:
            store.close()
            reader.close()
        assert correction is not None
        return account, correction

    def rows(self) -> Rows:
        """Everything that is stored."""
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
        """`tapedeck verify`, and no row where no partition is."""
        report = verify(self.connection)
        assert report.ok, report.problems
        for table in ("trade", "quote", "book"):
            assert self.one(f"SELECT count(*) FROM {table}_default") == 0


@pytest.fixture
def tape(tmp_path: Path, database: str) -> Iterator[Tape]:
    made = Tape(tmp_path / "journal", database)
    yield made
    made.connection.close()


@pytest.fixture
def right(tmp_path: Path, empty_database: str) -> Rows:
    """The rows of the same feed had the right adapter recorded it."""
    migrate(empty_database)
    made = Tape(tmp_path / "right", empty_database)
    record(made.folder, CoinbaseSession, feed())
    made.load()
    rows = made.rows()
    made.connection.close()
    return rows


@pytest.mark.parametrize("faulty", [Inverted, Shifted, Late, Blind, Doubled])
def test_applying_gives_the_rows_of_a_right_recording_and_again_changes_nothing(
    tape: Tape, right: Rows, faulty: type[CoinbaseSession]
) -> None:
    record(tape.folder, faulty, feed())
    tape.load()
    assert tape.rows() != right
    account, correction = tape.replay()
    assert account.differs
    assert correction.applied.any
    assert tape.rows() == right
    tape.assert_clean()

    ledger = tape.one("SELECT array_agg(l::text ORDER BY l::text) FROM load_ledger l")
    _, again = tape.replay()
    assert not again.applied.any
    assert tape.rows() == right
    assert tape.one("SELECT array_agg(l::text ORDER BY l::text) FROM load_ledger l") == ledger
    tape.assert_clean()


@pytest.mark.parametrize("second", [Shifted, Late, Inverted, Blind])
def test_a_correction_that_was_wrong_itself_is_corrected_by_the_next(
    tape: Tape, right: Rows, second: type[CoinbaseSession]
) -> None:
    record(tape.folder, CoinbaseSession, feed())
    tape.load()
    tape.replay(second)
    assert tape.rows() != right
    tape.assert_clean()
    account, _ = tape.replay()
    assert not account.differs  # from the journal, but what is stored did
    assert tape.rows() == right
    tape.assert_clean()
    assert tape.one("SELECT count(*) FROM replayed_block") == tape.one("SELECT count(*) FROM replayed_trade") == 0


def test_corrections_of_corrections_of_keys_leave_nothing_behind(tape: Tape, right: Rows) -> None:
    record(tape.folder, Shifted, feed())
    tape.load()
    tape.replay(Late)
    tape.replay(Shifted)
    tape.replay()
    assert tape.rows() == right
    tape.assert_clean()


def test_without_a_difference_nothing_is_touched(tape: Tape, right: Rows) -> None:
    record(tape.folder, CoinbaseSession, feed())
    tape.load()
    account, correction = tape.replay()
    assert not account.differs
    assert not correction.applied.any
    assert tape.rows() == right
    assert tape.one("SELECT count(*) FROM replay_ledger") == 0


def test_only_what_was_recorded_in_the_range_is_corrected(tape: Tape, right: Rows) -> None:
    record(tape.folder, Inverted, feed())
    tape.load()
    wrong = tape.rows()["trade"]
    tape.replay(from_ns=BEGIN_NS + 5 * CHUNK_NS, until_ns=BEGIN_NS + 10 * CHUNK_NS)
    rows = tape.rows()["trade"]
    corrected = [row for row in rows if row in right["trade"]]
    assert len(corrected) == 5 * 4 + 1  # and one that a block of the range repeats
    assert sorted(corrected + [row for row in rows if row in wrong]) == sorted(rows)
    tape.assert_clean()
    tape.replay()
    assert tape.rows() == right


def test_rows_of_a_damaged_section_are_restored_and_their_gaps_healed(tape: Tape, right: Rows) -> None:
    record(tape.folder, CoinbaseSession, feed())
    for table in ("trade", "book"):
        damage(tape.folder, table)
    tape.load()
    damaged = "SELECT count(*) FROM gap WHERE cause = 'journal_damage' AND state = 'open'"
    assert tape.one(damaged) == 3  # the book of BTC-USD had a gap already: it awaits a snapshot
    assert tape.one("SELECT count(*) FROM trade") < len(right["trade"])
    _, correction = tape.replay()
    assert correction.applied.gaps_healed == 3
    assert tape.one(damaged) == 0
    assert tape.one("SELECT DISTINCT state, reason, revision FROM gap WHERE cause = 'journal_damage'") == (
        "healed",
        HEALED,
        2,
    )
    rows = tape.rows()
    assert {table: rows[table] for table in ("trade", "quote", "book")} == {
        table: right[table] for table in ("trade", "quote", "book")
    }
    tape.assert_clean()
    _, again = tape.replay()
    assert not again.applied.any


def test_a_gap_in_trades_is_healed_once_the_replay_has_all_ids_between(tape: Tape) -> None:
    def trades(first: int) -> list[bytes]:
        return [
            match(number, BEGIN_NS + number * 1000, symbol) for symbol in SYMBOLS for number in range(first, first + 3)
        ]

    record(tape.folder, Blind, [trades(1), trades(4), trades(7)])
    with tape.connection.cursor() as cursor:
        tape.load()
        # As it stands when the adapter understood the first and the last of them.
        cursor.execute(
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, last_id, first_id, started_at, ended_at,"
            " revision) VALUES (1, %(eth)s, 'trade', 'unreadable', 'open', 2, 8, now(), now(), 1),"
            "        (2, %(eth)s, 'trade', 'unreadable', 'open', 5, 11, now(), now(), 1)",
            {"eth": instrument_id("coinbase", "ETH-USD")},
        )
    _, correction = tape.replay()
    assert correction.applied.gaps_healed == 1
    assert tape.one("SELECT state, reason, revision FROM gap WHERE gap_id = 1") == ("healed", COMPLETE, 2)
    assert tape.one("SELECT state FROM gap WHERE gap_id = 2") == "open"


def test_gaps_whose_frames_are_damaged_too_stay_open(tape: Tape) -> None:
    record(tape.folder, CoinbaseSession, feed())
    block = damage(tape.folder, "trade")
    path = tape.folder / f"{block.position.segment:08d}.tape"
    offset = block.next.offset - sum(section.size for section in block.header.sections)
    assert block.header.sections[0].table == ""
    with open(path, "r+b") as file:
        os.pwrite(file.fileno(), b"\xff\xff\xff\xff", offset)
    tape.load()
    before = tape.rows()
    account, correction = tape.replay()
    assert account.skipped == 1
    assert not correction.applied.any
    assert tape.rows() == before
    assert tape.one("SELECT count(*) FROM gap WHERE cause = 'journal_damage' AND state = 'open'") == 2


def test_blocks_the_writer_has_yet_to_load_are_left_to_it(tape: Tape) -> None:
    record(tape.folder, Inverted, feed(5))
    tape.load()
    record(tape.folder, Inverted, feed(5, 100), session_id=78, begin_ns=BEGIN_NS + 10**9)
    _, correction = tape.replay()
    assert correction.not_loaded == 5
    tape.load()
    tape.assert_clean()
    _, later = tape.replay()
    assert later.not_loaded == 0
    assert later.applied.tables["trade"].updated > 0
    tape.assert_clean()


def test_a_row_postgres_refuses_costs_only_its_block(tape: Tape) -> None:
    class Negative(CoinbaseSession):
        """Makes a size nobody can trade."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                if getattr(output, "trade_id", None) == 5:
                    output.size = 0.0
            return outputs

    record(tape.folder, Inverted, feed())
    tape.load()
    account, correction = tape.replay(Negative)
    assert account.skipped == 1
    assert "Postgres refuses a row of it" in account.skipped_examples[0]
    assert correction.applied.tables["trade"].updated == 76
    tape.assert_clean()


def test_a_row_the_writer_quarantined_is_stored_once_the_adapter_makes_it_right(tape: Tape) -> None:
    chunk = [match(1, BEGIN_NS), match(2, BEGIN_NS)]

    class Zero(CoinbaseSession):
        """Loses the size."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                if getattr(output, "trade_id", None) == 2:
                    output.size = 0.0
            return outputs

    record(tape.folder, Zero, [chunk])
    tape.load()
    assert tape.one("SELECT count(*) FROM quarantine WHERE scope = 'row'") == 1
    assert tape.one("SELECT count(*) FROM trade") == 1
    _, unchanged = tape.replay(Zero)
    assert not unchanged.applied.any  # what Postgres refused then is refused now
    tape.replay()
    assert tape.one("SELECT count(*) FROM quarantine WHERE scope = 'row'") == 0
    assert tape.one("SELECT count(*) FROM trade") == 2
    assert tape.one("SELECT sum(quarantined) FROM load_ledger") == 0
    tape.assert_clean()


def test_symbols_seen_for_the_first_time_get_their_instrument(tape: Tape) -> None:
    class OnlyBtc(CoinbaseSession):
        """Understands one symbol."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            if b"SOL-USD" in payload:
                raise KeyError("SOL-USD")
            return super().decode(payload, ts_recv_ns)

    record(tape.folder, OnlyBtc, [[match(1, BEGIN_NS), match(1, BEGIN_NS, "SOL-USD")]])
    tape.load()
    tape.replay()
    assert tape.one("SELECT symbol FROM trade JOIN instrument USING (instrument_id) WHERE symbol = 'SOL-USD'")
    assert tape.one("SELECT count(*) FROM quarantine") == 0
    tape.assert_clean()


def test_trades_of_an_hour_the_writer_never_saw_go_into_their_own_partition(tape: Tape) -> None:
    class Yesterday(CoinbaseSession):
        """Reads the venue's clock ten days wrong."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            outputs: Any = super().decode(payload, ts_recv_ns)
            for output in outputs:
                output.ts_event_ns -= 10 * 86_400 * 10**9
            return outputs

    record(tape.folder, CoinbaseSession, [[match(1, BEGIN_NS)]])
    tape.load()
    tape.replay(Yesterday)
    assert tape.one("SELECT count(*) FROM trade") == 1
    tape.assert_clean()


def test_a_trade_that_came_twice_keeps_the_first_receipt(tape: Tape) -> None:
    again = [match(1, BEGIN_NS, kind="last_match")]
    record(tape.folder, Inverted, [[match(1, BEGIN_NS)], again, again])
    tape.load()
    first = tape.one("SELECT ts_recv FROM trade")
    tape.replay()
    assert tape.one("SELECT ts_recv, aggressor FROM trade") == (first, "s")
    tape.assert_clean()


def test_killed_at_any_moment_it_leaves_whole_pieces_and_the_next_run_ends_it(tape: Tape, right: Rows) -> None:
    record(tape.folder, Blind, feed())
    tape.load()
    program = """
import os, sys
import recorder.replay_run as run
from recorder.journal_reader import JournalReader
from recorder.store_replay import ReplayStore
from recorder.venues.coinbase import CoinbaseSession
from pathlib import Path
run._PIECE_BLOCKS = 2
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
run.replay(reader, run.Request(CoinbaseSession), store, lambda _: None)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for statements in (4, 9, 17, 40, 90):
        arguments = [sys.executable, "-c", program, str(tape.folder), tape.url, str(statements)]
        done = subprocess.run(arguments, env=environment, timeout=60, check=False)
        assert done.returncode == -signal.SIGKILL
        tape.assert_clean()
    tape.replay()
    assert tape.rows() == right
    tape.assert_clean()


def test_a_second_replay_of_a_journal_at_once_is_refused(tape: Tape) -> None:
    record(tape.folder, CoinbaseSession, feed(1))
    tape.load()
    journal_id = JournalReader(tape.folder).journal_id
    store = ReplayStore(tape.url, journal_id, "coinbase", 1)
    with pytest.raises(StoreError, match="another replay of this journal is at work"):
        ReplayStore(tape.url, journal_id, "coinbase", 2)
    store.close()
    ReplayStore(tape.url, journal_id, "coinbase", 2).close()


def test_a_login_without_the_right_to_correct_is_told_which_role_it_needs(tape: Tape) -> None:
    from recorder.database import with_database

    with tape.connection.cursor() as cursor:
        cursor.execute("DROP ROLE IF EXISTS replay_stranger")
        cursor.execute("CREATE ROLE replay_stranger LOGIN PASSWORD 'x' IN ROLE tapedeck_writer")
    try:
        host = tape.url.split("@")[-1]
        url = with_database(f"postgresql://replay_stranger:x@{host}", tape.url.rpartition("/")[2].partition("?")[0])
        with pytest.raises(ConfigError, match="grant it the role tapedeck_replay"):
            ReplayStore(url, "none", "coinbase", 1)
    finally:
        with tape.connection.cursor() as cursor:
            cursor.execute("DROP ROLE replay_stranger")


def test_the_role_of_a_replay_is_enough_for_it(tape: Tape, right: Rows) -> None:
    record(tape.folder, Blind, feed())
    tape.load()
    with tape.connection.cursor() as cursor:  # ReplayStore takes the role on; nobody else's rights are used
        cursor.execute("SELECT has_table_privilege('tapedeck_replay', 'subscription', 'UPDATE')")
        assert cursor.fetchone() == (False,)
    tape.replay()
    assert tape.rows() == right


def test_quarantined_frames_that_no_longer_decode_are_entered_with_their_place(tape: Tape) -> None:
    record(tape.folder, CoinbaseSession, [[match(1, BEGIN_NS), frame(type="status")]])
    tape.load()

    class Strict(CoinbaseSession):
        """Wants no status."""

        def decode(self, payload: bytes, ts_recv_ns: int) -> Any:
            if b"status" in payload:
                raise ValueError("status")
            return super().decode(payload, ts_recv_ns)

    tape.replay(Strict)
    assert tape.one("SELECT item, scope, session_id, sample FROM quarantine")[:3] == (1, "frame", 77)
    tape.replay()
    assert tape.one("SELECT count(*) FROM quarantine") == 0
    assert instrument_id("coinbase", "BTC-USD") == tape.one("SELECT instrument_id FROM trade")
    tape.assert_clean()


def test_the_command_applies_says_what_it_did_and_the_second_time_that_there_is_nothing_to_do(
    tape: Tape, right: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tape.journals.parent)
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", tape.url)
    monkeypatch.setenv("TAPEDECK__JOURNAL__DIR", str(tape.journals))
    record(tape.folder, Inverted, feed())
    tape.load()
    assert main(["replay"]) == 0
    assert tape.rows() != right
    assert main(["replay", "--apply"]) == 0
    assert "trade: 0 removed, 0 inserted, 80 updated" in capsys.readouterr().out
    assert tape.rows() == right
    assert main(["replay", "--apply", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["differs"]
    assert all(not any(changed.values()) for changed in answer["applied"]["tables"].values())
