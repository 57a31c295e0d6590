"""A replay finds exactly what another adapter makes of the same frames."""

from collections.abc import Callable
from pathlib import Path

import pytest
from recordings import (
    BEGIN_NS,
    CHUNK_NS,
    Blind,
    Doubled,
    Inverted,
    Late,
    Shifted,
    damage,
    feed,
    match,
    record,
    stored_blocks,
)

from recorder import rows
from recorder.cli import main
from recorder.journal_reader import JournalReader, StoredBlock
from recorder.position import Position
from recorder.replay import Account, Redone, Replayer, Skipped, compare, redo
from recorder.tuples import conform, split
from recorder.venues.base import Session as Decoder
from recorder.venues.coinbase import CoinbaseSession


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal" / "tapedeck" / "recorder-coinbase"


def account_of(
    folder: Path, decoder: Callable[[], Decoder] = CoinbaseSession, from_ns: int = 0, until_ns: int | None = None
) -> Account:
    reader = JournalReader(folder)
    account = Account("test")
    for item in redo(reader, decoder, from_ns, until_ns):
        account.add(item, 3)
    reader.close()
    return account


def counts(account: Account, table: str) -> tuple[int, int, int, int]:
    found = account.tables[table]
    return found.same, found.changed, found.only_now, found.no_longer


def test_the_adapter_that_recorded_finds_nothing_to_change(folder: Path) -> None:
    record(folder, CoinbaseSession, feed())
    account = account_of(folder)
    assert not account.differs
    assert counts(account, "trade") == (80 + 4 + 4, 0, 0, 0)
    assert counts(account, "quote") == (40, 0, 0, 0)
    assert counts(account, "book") == (42, 0, 0, 0)
    assert account.quarantined_before == account.quarantined_now == 4


def test_an_inverted_side_is_shown_row_by_row(folder: Path) -> None:
    record(folder, Inverted, feed())
    account = account_of(folder)
    assert counts(account, "trade") == (0, 88, 0, 0)
    assert counts(account, "quote") == (40, 0, 0, 0)
    example = account.examples[0]
    assert example.old is not None
    assert example.new is not None
    assert {key for key in example.old if example.old[key] != example.new[key]} == {"aggressor"}
    assert (example.old["aggressor"], example.new["aggressor"]) == ("b", "s")
    assert example.new["symbol"] == "BTC-USD"
    assert len(account.examples) == 3


def test_a_wrong_id_is_a_row_that_goes_and_a_row_that_comes(folder: Path) -> None:
    record(folder, Shifted, feed())
    _, changed, only_now, no_longer = counts(account_of(folder), "trade")
    assert only_now == no_longer > 0
    assert changed == 88 - only_now  # neighbours in one block share an id


def test_a_wrong_event_time_is_a_changed_row(folder: Path) -> None:
    record(folder, Late, feed())
    assert counts(account_of(folder), "trade") == (0, 88, 0, 0)


def test_frames_that_were_quarantined_give_their_rows(folder: Path) -> None:
    record(folder, Blind, feed())
    account = account_of(folder)
    assert counts(account, "quote") == (0, 0, 40, 0)
    assert counts(account, "trade") == (48, 0, 40, 0)
    assert (account.quarantined_before, account.quarantined_now) == (84, 4)


def test_frames_no_longer_understood_are_told_with_their_reason(folder: Path) -> None:
    record(folder, CoinbaseSession, feed())
    account = account_of(folder, Blind)
    assert counts(account, "quote") == (0, 0, 0, 40)
    assert (account.quarantined_before, account.quarantined_now) == (4, 84)
    assert "unknown message type ticker" in account.unread
    assert any(reason.startswith("fault in the adapter: KeyError") for reason in account.unread)


def test_rows_made_twice_are_no_longer_there(folder: Path) -> None:
    record(folder, Doubled, feed())
    account = account_of(folder)
    assert counts(account, "quote") == (40, 0, 0, 40)
    assert counts(account, "book") == (42, 0, 0, 42)


def test_only_the_range_asked_for_is_compared_but_sessions_are_decoded_from_their_beginning(folder: Path) -> None:
    record(folder, Inverted, feed(20))
    decoders: list[CoinbaseSession] = []

    def decoder() -> CoinbaseSession:
        decoders.append(CoinbaseSession())
        return decoders[-1]

    account = account_of(folder, decoder, BEGIN_NS + 10 * CHUNK_NS, BEGIN_NS + 15 * CHUNK_NS)
    assert account.blocks == 5
    assert account.sessions_without_beginning == 0
    assert len(decoders) == 1


def test_each_session_has_a_decoder_of_its_own(folder: Path) -> None:
    record(folder, CoinbaseSession, feed(5), session_id=1)
    record(folder, CoinbaseSession, feed(5, 100), session_id=2, begin_ns=BEGIN_NS + 10**9)
    decoders: list[CoinbaseSession] = []

    def decoder() -> CoinbaseSession:
        decoders.append(CoinbaseSession())
        return decoders[-1]

    assert not account_of(folder, decoder).differs
    assert len(decoders) == 2


def test_sessions_whose_beginning_was_deleted_are_decoded_from_where_they_begin(folder: Path) -> None:
    record(folder, Inverted, feed(10), ended=False)
    blocks = stored_blocks(folder)
    reader = JournalReader(folder)
    replayer = Replayer("coinbase", CoinbaseSession, reader.journal_id)
    redone = []
    for item in reader.read(blocks[4].position, 1 << 40, with_frames=True):
        assert isinstance(item, StoredBlock)
        redone.append(replayer.block(item, reader.frames_of(item)))
    assert sum(one.fresh_sessions for one in redone) == 1
    assert all(len(one.diffs["trade"].changed) >= 4 for one in redone)
    assert not any(one.diffs["book"].differs for one in redone)


def test_a_block_whose_frames_are_damaged_is_skipped_and_named(folder: Path) -> None:
    record(folder, Inverted, feed(10))
    block = damage(folder, "")
    account = account_of(folder)
    assert account.skipped == 1
    place = f"{block.position.segment}:{block.position.offset}"
    assert account.skipped_examples == [f"{place}: its section of {block.frames} frames is damaged; its rows stay"]
    assert account.tables["trade"].changed > 0


def test_bytes_that_are_no_block_are_skipped_and_named(folder: Path) -> None:
    record(folder, Inverted, feed(10))
    path = folder / "00000001.tape"
    block = stored_blocks(folder)[5]
    data = bytearray(path.read_bytes())
    data[block.position.offset] ^= 1
    path.write_bytes(data)
    account = account_of(folder)
    assert account.skipped == 1
    assert account.blocks == 9


def test_rows_of_a_damaged_section_come_back_and_their_gaps_can_be_healed(folder: Path) -> None:
    record(folder, CoinbaseSession, feed(10))
    damage(folder, "trade")
    account = account_of(folder)
    assert account.restorable_gaps == 2
    assert account.tables["trade"].only_now == 4
    assert account.differs
    assert account.skipped == 0


def test_an_impossible_event_time_is_quarantined_as_it_is_when_recorded(folder: Path) -> None:
    record(folder, CoinbaseSession, [[match(1, BEGIN_NS), match(2, BEGIN_NS + 10 * 86_400 * 10**9)]])
    (redone,) = list(redo(JournalReader(folder), CoinbaseSession))
    assert isinstance(redone, Redone)
    assert redone.unread.keys() == redone.unread_before == {1}
    assert redone.unread[1].reason == "event time out of range"
    assert not redone.differs


def test_rows_of_an_older_layout_are_compared_in_todays() -> None:
    old = rows.tuple_of(rows.int8(5), rows.text("x"))
    (row,) = split(conform(old, ("a", "gone"), ("new", "a")))
    assert row == rows.tuple_of(rows.int8(None), rows.int8(5))


def test_equal_rows_in_another_order_are_the_same() -> None:
    one, two = (rows.tuple_of(*(rows.int8(n) for n in (1, k, 3, 4, 5))) for k in (7, 8))
    diff = compare("quote", one + two, two + one)
    assert diff.same == 2
    assert not diff.differs


def test_skipped_places_are_counted_beyond_those_that_are_named() -> None:
    account = Account("test")
    for offset in range(50):
        account.add(Skipped(Position(1, offset), "gone"), 3)
    assert account.skipped == 50
    assert len(account.skipped_examples) == 20


# ---- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEDECK__JOURNAL__DIR", str(tmp_path / "journal" / "tapedeck"))
    for name in ("TAPEDECK_CONFIG", "DATABASE_URL", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_shows_old_and_new_and_changes_nothing(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder, Inverted, feed(5))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main(["replay", "--journal", "recorder-coinbase"]) == 0
    out = capsys.readouterr().out
    assert "trade BTC-USD trade_id=1" in out
    assert "aggressor b -> s" in out
    assert "nothing was changed; --apply corrects the stored rows" in out
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--journal", "recorder-nowhere"], "there is no journal 'recorder-nowhere' in "),
        (["--from", "yesterday"], "--from 'yesterday' is no instant; write it like 2026-11-21T13:30:00Z"),
        (["--from", "2026-11-21", "--to", "2026-11-20"], "--from must be before --to"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_code_2(
    home: Path, folder: Path, arguments: list[str], fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record(folder, CoinbaseSession, feed(1))
    assert main(["replay", *arguments]) == 2
    err = capsys.readouterr().err
    assert fragment in err
    assert err.count("\n") == 1


def test_a_journal_of_a_venue_nobody_knows_is_one_sentence_and_exit_code_2(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, CoinbaseSession, feed(1))
    monkeypatch.setattr("recorder.venues.VENUES", {})
    assert main(["replay"]) == 2
    assert "unknown venue 'coinbase'" in capsys.readouterr().err


def test_no_journal_at_all_is_one_sentence_and_exit_code_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay"]) == 2
    assert "there is no journal in " in capsys.readouterr().err
