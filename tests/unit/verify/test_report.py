"""The printed report of `tapedeck verify`, and its progress."""

import io

import pytest
from rich.console import Console

from recorder.cli import verify as command
from recorder.verify.check import LedgerCheck, Report
from recorder.verify.reconcile import StreamCheck


def report(*ledger: LedgerCheck, streams: list[StreamCheck] | None = None) -> Report:
    return Report(all(one.ok for one in ledger), list(ledger), 0, streams or [], [])


def test_every_table_shows_its_rows_and_the_legend_says_what_must_be_equal() -> None:
    tables = LedgerCheck("instrument", 3, 3, 0, 0, 900, True), LedgerCheck("trade", 9, 7, 1, 1, 7, True)
    lines = list(command.lines(report(*tables), 140))
    assert lines[1].split() == ["instrument", "3", "3", "0", "0", "900"]
    assert lines[2].split() == ["trade", "9", "7", "1", "1", "7"]
    assert "offered = inserted + duplicate + quarantined" in lines[3]
    assert lines[4] == "The lists of venues add rows to instrument, refused rows and damage to quarantine and gap."
    assert lines[-1].startswith("clean")


@pytest.mark.parametrize("width", [60, 80, 100])
@pytest.mark.parametrize("ok", [True, False])
def test_the_report_fits_the_terminal_and_explains_its_columns(width: int, ok: bool) -> None:
    many = 12_345_678
    stream = StreamCheck("coinbase_advanced", "9" * 77, "quote", many, many, many)
    hostile = StreamCheck("okx", "[/x]\x1b[2J\u202e\n", "trade", 12, 10, 2)
    ledger = [LedgerCheck(name, many, many, many, many, many, ok) for name in ("instrument", "book_audit")]
    lines = list(command.lines(report(*ledger, streams=[stream, hostile]), width))
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert " 12,345,678 12,345,678 12,345,678 0 0 0" in text
    assert "okx [/x]\\x1b[2J\\u202e\\n trade 12 10 2 0 0 0" in text
    assert text.count("WRONG") == (0 if ok else 2)
    for column in ("sent:", "declared:", "missing:", "twice:", "wrong:"):
        assert column in text


@pytest.mark.parametrize(("terminal", "shown"), [(True, True), (False, False)])
def test_progress_names_the_stream_and_the_rows_on_a_terminal_and_is_quiet_in_a_pipe(
    terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.StringIO()
    target = Console(file=output, force_terminal=terminal, width=100)
    monkeypatch.setattr(command, "console", lambda stderr: target)
    with command.ProgressBar(shown=True) as progress:
        progress("rows of trade", 0, 0)
        progress("kraken BTC/USD book", 312_000, 1_248_000)
    assert ("kraken BTC/USD book 312,000 rows" in output.getvalue()) is shown
    assert ("25%" in output.getvalue()) is shown
    assert bool(output.getvalue()) is shown


def test_progress_is_off_for_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    target = Console(file=output, force_terminal=True)
    monkeypatch.setattr(command, "console", lambda stderr: target)
    with command.ProgressBar(shown=False) as progress:
        progress("kraken BTC/USD book", 1, 2)
    assert output.getvalue() == ""
