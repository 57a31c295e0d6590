"""Texts of the commands about histories in a terminal of 80 columns: folded, with the right words."""

import sys
from datetime import UTC, datetime

import pytest
from support.machine.terminal import in_terminal

from recorder.backfill.progress import Asked, Progress
from recorder.cli.common import counted, say_folded
from recorder.cli.polls.backfill import BackfillLine
from recorder.cli.polls.gaps import GapLine, _cells
from recorder.cli.polls.reads import Reads
from recorder.cli.verify import lines
from recorder.poller.slots import Schedule
from recorder.verify.check import Report
from recorder.verify.polls import PollCheck
from recorder.verify.reconcile import StreamCheck

NS = 10**9
NOW = datetime(2026, 12, 1, tzinfo=UTC)
READS = Reads("", Schedule(30, 11), {})


def test_one_of_a_thing_is_named_in_the_singular() -> None:
    assert [counted(count, "answer") for count in (0, 1, 1200)] == ["0 answers", "1 answer", "1,200 answers"]


def test_the_line_of_a_backfill_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    asked = Asked("binance", "BTCUSDT", "trades", 10 * NS, 20 * NS)
    done = Progress(True, "short", None, "beyond retention: the first trade listed is id 5", 5, 15 * NS, answers=1)
    say_folded(BackfillLine.of(asked, done, rising=True).sentence)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) > 2
    assert max(map(len, shown)) <= 80
    assert "in 1 answer," in " ".join(shown)


def test_an_error_is_folded_in_a_terminal_and_names_each_venue_once() -> None:
    command = [sys.executable, "-m", "recorder", "backfill", "polymarket", "X", "--start", "2026-11-01"]
    code, shown, _ = in_terminal(command, 80)
    text = " ".join(line.strip() for line in shown)
    assert code == 2
    assert max(map(len, shown)) <= 80
    assert text.count("kraken") == 1, text


def test_a_list_of_all_channels_names_the_channel_of_each_gap() -> None:
    gap = GapLine("okx", "BTC-USDT", "trade", "disconnect", "open", None, 1, 5, NOW, NOW, None, None, None, 1)
    assert _cells(gap, NOW, READS, all_channels=True)[0] == "okx BTC-USDT trade"
    assert _cells(gap, NOW, READS, all_channels=False)[0] == "okx BTC-USDT"


def test_verify_says_where_more_trades_than_were_sent_come_from() -> None:
    stream = StreamCheck("kraken", "BTC/USD", "trade", sent=90, stored=100)
    text = " ".join(line.strip() for line in lines(Report(True, [], 0, [stream], []), 80))
    assert "10 trades more are stored than were sent: they were read from the history" in text
    stream.stored = 90
    assert "more are stored" not in " ".join(lines(Report(True, [], 0, [stream], []), 80))


def test_verify_does_not_count_answers_among_fewer() -> None:
    polls = PollCheck(answers=27, frames=0, complete=False)
    text = " ".join(line.strip() for line in lines(Report(True, [], 0, [], [], polls=polls), 80))
    assert "27 answers used and not all of them counted yet" in text
