"""The printed report of `tapedeck verify`, and its progress."""

import io

import msgspec
import pytest
from rich.console import Console

from recorder.cli import verify as command
from recorder.verify.check import LedgerCheck, Report
from recorder.verify.declared import GapCounts
from recorder.verify.lineage import JournalComparison
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


@pytest.mark.parametrize(
    ("gaps", "words"),
    [
        (GapCounts(), "clean: nothing lost, nothing doubled, everything accounted for"),
        (
            GapCounts(lasting=3, ended=5, unhealable=2, healed=40, unsubscribed=9),
            "clean: every loss is declared, nothing doubled, everything accounted for; 8 gaps are open: 3 going on, "
            "5 ended and not healed yet; 2 unhealable; 40 healed (see `tapedeck gaps --all`)",
        ),
        (
            GapCounts(unhealable=2),
            "clean: every loss is declared, nothing doubled, everything accounted for; gaps: 2 unhealable "
            "(see `tapedeck gaps --all`)",
        ),
        (
            GapCounts(healed=1),
            "clean: nothing lost, nothing doubled, everything accounted for; gaps: 1 healed "
            "(see `tapedeck gaps --all`)",
        ),
    ],
)
def test_the_last_line_names_the_declared_gaps(gaps: GapCounts, words: str) -> None:
    one = report()
    one.gaps = gaps
    assert command.verdict(one) == words
    assert words.split()[-1] in list(command.lines(one, 80))[-1]
    assert msgspec.to_builtins(one)["gaps"]["lasting"] == gaps.lasting
    one.ok = False
    assert command.verdict(one).startswith("NOT clean")
    assert ("8 gaps are open" in command.verdict(one)) is (gaps.open == 8)


def test_what_was_not_looked_at_is_in_the_last_line() -> None:
    one = report()
    command._add(one, JournalComparison(seen=False), command.Waited(False), with_truth=False)
    one.unseen.append("2 files of the archive that are elsewhere")
    assert one.ok
    assert command.verdict(one).endswith("; not looked at: the journals, 2 files of the archive that are elsewhere")


@pytest.mark.parametrize(
    ("compared", "waited", "with_truth", "problem"),
    [
        (JournalComparison(), command.Waited(True, "the writer is late"), False, "not all was checked: the writer is"),
        (JournalComparison(waiting=900), command.Waited(False), False, "no writer runs that loads the 900 bytes"),
        (JournalComparison(), command.Waited(True), True, "nothing was compared with the truth"),
    ],
)
def test_a_check_that_could_not_look_at_all_is_not_clean(
    compared: JournalComparison, waited: command.Waited, with_truth: bool, problem: str
) -> None:
    one = report()
    command._add(one, compared, waited, with_truth=with_truth)
    assert not one.ok
    assert any(problem in sentence for sentence in one.problems)
    assert command.verdict(one) == "NOT clean"


def test_a_few_bytes_that_a_running_writer_is_about_to_load_are_no_problem() -> None:
    one = report()
    command._add(one, JournalComparison(waiting=900), command.Waited(True), with_truth=False)
    assert one.ok
