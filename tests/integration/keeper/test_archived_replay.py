"""A replay changes no row of a day that the archive has, and stores none a second time."""

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest
from support.keeping.archives import query
from support.recordings import BEGIN_NS, Inverted, feed, record

from analysis.workers.archive.day import Archiver
from recorder.cli import main
from recorder.journal.reader import JournalReader
from recorder.load.main import Loader
from recorder.replay.apply import ReplayStore
from recorder.replay.archived import Day
from recorder.replay.redecode import RedecodedBlock
from recorder.replay.run import Request, replay
from recorder.settings import Settings
from recorder.store.loader import Store
from recorder.venues.coinbase.stream import CoinbaseDecoder
from recorder.verify.check import verify

DAY = datetime.fromtimestamp(BEGIN_NS / 1e9, UTC).date()
TABLES = ("trade", "quote", "book")


@pytest.fixture
def journals(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals of a recorder whose adapter was wrong, loaded; the command line knows them and the database."""
    folder = tmp_path / "journal"
    record(folder / "recorder-coinbase", Inverted, feed())
    loader = Loader(Store(database), folder, Settings.load(environ={}))
    while loader.step():
        pass
    loader.reset()
    monkeypatch.chdir(tmp_path)
    for name in ("TAPEDECK_CONFIG", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.setenv("TAPEDECK__JOURNAL__DIR", str(folder))
    return folder


def rows(url: str) -> dict[str, int]:
    """Return the rows in the tables and in the archive."""
    archived = dict(query(url, "SELECT table_name, sum(row_count)::bigint FROM archive GROUP BY 1"))
    return {name: query(url, f"SELECT count(*) FROM {name}")[0][0] + archived.get(name, 0) for name in TABLES}


def archive(url: str, tmp_path: Path, *tables: str) -> None:
    for table in tables:
        assert Archiver(url, tmp_path / "archive").archive(table, DAY).rows > 0


@pytest.mark.parametrize("tables", [TABLES, ("book",)])
def test_a_replay_over_an_archived_day_changes_nothing_and_says_why(
    database: str, tmp_path: Path, journals: Path, capsys: pytest.CaptureFixture[str], tables: tuple[str, ...]
) -> None:
    archive(database, tmp_path, *tables)
    before = rows(database)
    sides = query(database, "SELECT trade_id, aggressor FROM trade ORDER BY 1")
    assert main(["replay", "--apply"]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "blocks that differ are left out, because the archive has" in out
    assert f"{tables[0] if len(tables) == 1 else 'book'} of {DAY}" in out
    assert rows(database) == before
    assert query(database, "SELECT trade_id, aggressor FROM trade ORDER BY 1") == sides
    assert query(database, "SELECT count(*) FROM day_partition WHERE table_name = ANY (%s)", list(tables)) == [(0,)]
    with closing(psycopg2.connect(database)) as connection:
        assert verify(connection).ok


def test_a_day_that_is_archived_during_a_replay_is_left_alone(database: str, tmp_path: Path, journals: Path) -> None:
    before = rows(database)

    class Overtaken(ReplayStore):
        """Looks at the archive, and then the keeper drops the day."""

        def archived(self, blocks: list[RedecodedBlock]) -> set[Day]:  # type: ignore[override]
            found = super().archived(blocks)
            if not found:
                archive(database, tmp_path, *TABLES)
            return found

    reader = JournalReader(journals / "recorder-coinbase")
    store = Overtaken(database, reader.journal_id, "coinbase", 1)
    _, applier = replay(reader, Request(CoinbaseDecoder), store, lambda _: None)
    store.close()
    reader.close()
    assert applier is not None
    assert applier.archived > 0
    assert not applier.applied.any
    assert rows(database) == before
