"""Hours with unusual values: loaders treat them as gaps where a score is asked for, and a command shows them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.workers.bars import rows

from analysis import load
from analysis.cli import main
from analysis.errors import GapError
from recorder.errors import ConfigError
from recorder.identity import instrument_id

DAY = datetime(2026, 3, 5, tzinfo=UTC)
END = DAY + timedelta(hours=2)
NUMBER = instrument_id("test", "X")


@pytest.fixture
def scored(database: str) -> str:
    """Two hours of trades, one each minute, with a finding in one minute of the second hour."""
    rows(database, f"""
        SELECT ensure_partition('trade', '2026-03-05');
        INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES ({NUMBER}, 'test', 'X', '2026-03-01');
        INSERT INTO session (session_id, venue, recorder, link, url, started_at, last_frame_at, frames, bytes, trades,
                             quotes, books, quarantined, revision)
        VALUES (1, 'test', 'recorder-test', 0, 'ws://127.0.0.1/', '2026-03-01', '2026-03-06', 1, 1, 1, 0, 0, 0, 1);
        INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)
        SELECT {NUMBER}, n, t, t, 100, 1
          FROM generate_series(0, 119) AS n,
               LATERAL (SELECT timestamptz '2026-03-05Z' + n * interval '1 minute' AS t) AS x;
        INSERT INTO bar SELECT {NUMBER}, 60, ts_event, 100, 100, 100, 100, 1, 100, 100, 1, 0, 0, 1, false, true, 1,
               now(), 0
          FROM trade;
        INSERT INTO bar_finding VALUES ({NUMBER}, 60, '2026-03-05 01:30Z', 'jump', 20.5, 15, now())""")  # fmt: skip
    return database


def test_an_hour_of_low_quality_counts_as_a_gap_for_a_loader_that_asks(scored: str) -> None:
    assert load.trades("test", "X", DAY, END, source=scored).num_rows == 120
    assert load.trades("test", "X", DAY, END, source=scored, min_quality=0.9).num_rows == 120
    with pytest.raises(GapError, match="low_quality"):
        load.trades("test", "X", DAY, END, source=scored, min_quality=0.99)
    assert load.trades("test", "X", DAY, DAY + timedelta(minutes=59), source=scored, min_quality=0.99).num_rows == 59
    found = load.bars("test", "X", DAY, END, source=scored, min_quality=0.99, on_gap="mask")
    assert found["in_gap"].to_pylist() == [False] * 60 + [True] * 60
    assert set(found["close"].to_pylist()) == {100.0}
    tape = load.tape("test", "X", DAY, END, source=scored, warmup=timedelta(0), min_quality=0.99)
    assert tape.gaps.missing(*(tape.trades.rows.ts_event[at : at + 1] for at in (60, 119)))[0] > 0


def test_an_archive_has_no_scores(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no scores of quality"):
        load.trades("test", "X", DAY, END, source=tmp_path, min_quality=0.5)


def test_the_command_shows_the_hour_and_what_was_found(
    scored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", scored)
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    words = ["--config", "demo", "quality", "test", "X", "--start", "2026-03-05", "--end", "2026-03-05T02:00"]
    assert main([*words, "--findings"]) == 1
    shown = capsys.readouterr().out
    assert "2026-03-05 01:00" in shown
    assert "0.983" in shown
    assert "1 of 2 hours" in shown
    assert "jump" in shown
    assert "20.5" in shown
    assert main([*words, "--below", "0.9"]) == 0
