"""`tapedeck certify`, `tapedeck replay --check` and the poller's job, on a recorded home with its database."""

import json
import time
from pathlib import Path

import pytest
from support.certify.home import BEGIN_US, CertifiedHome, hourly_feed, record_hours
from support.poller.journals import Poller

from recorder.certify.database import instant
from recorder.certify.document import HOUR_US
from recorder.cli import main
from recorder.clock import ManualClock
from recorder.poller.certifying import NAME, Certifying, certificates_job
from recorder.settings import Settings

START, END = (instant(BEGIN_US + hours * HOUR_US).isoformat() for hours in (0, 2))
NEXT_US = time.time_ns() // 1000 // HOUR_US * HOUR_US + HOUR_US
LATER, MUCH_LATER = (instant(NEXT_US + hours * HOUR_US).isoformat() for hours in (1, 2))
RANGE = ["--start", START, "--end", END]


@pytest.fixture
def home(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> CertifiedHome:
    """A home with three recorded hours of one instrument; its settings are in the environment."""
    config = tmp_path / "one.toml"
    config.write_text("[venues.coinbase]\n")
    monkeypatch.setenv("TAPEDECK_HOME", str(tmp_path))
    monkeypatch.setenv("TAPEDECK_CONFIG", str(config))
    monkeypatch.setenv("DATABASE_URL", database)
    made = CertifiedHome(tmp_path, database)
    record_hours(made.recorder, hourly_feed())
    made.load()
    return made


def test_hours_are_certified_once_printed_and_checked_elsewhere(
    home: CertifiedHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["certify", "coinbase", "BTC-USD", *RANGE]) == 0
    shown = capfd.readouterr()
    assert "ids 1 to 62 follow each other" in shown.out
    assert "6 hours of streams: 2 proved" in shown.err
    assert main(["certify", "coinbase", "BTC-USD", *RANGE, "--json"]) == 0
    text = capfd.readouterr().out
    assert {json.loads(line)["revision"] for line in text.splitlines()} == {1}
    file = tmp_path / "certificates.json"
    file.write_text(text)
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert main(["certify", "--check", str(file)]) == 0
    assert main(["certify", "--check", str(file), "--journals", str(home.recorder)]) == 0
    assert "6 of 6 certificates are what the frames give" in capfd.readouterr().err
    file.write_text(text.replace('"frames":', '"frames":1'))
    assert main(["certify", "--check", str(file)]) == 1
    assert "REFUSED" in capfd.readouterr().out
    assert main(["certify", "--check", str(file), "--journals", str(tmp_path / "nowhere")]) == 2


def test_a_stored_row_that_differs_ends_both_commands_with_1(
    home: CertifiedHome, capfd: pytest.CaptureFixture[str]
) -> None:
    check = ["replay", "--check", "--from", START, "--to", END]
    assert main(check) == 0
    assert "6 hours of streams: 6 equal, 0 differ" in capfd.readouterr().err
    home.run("DELETE FROM quote WHERE sequence = 5")
    home.run("UPDATE trade SET ts_recv = ts_recv + interval '1 ms' WHERE trade_id = 6")
    assert main(check) == 1
    shown = capfd.readouterr()
    assert "quote BTC-USD not stored: " in shown.out
    assert "trade BTC-USD trade_id=6 stored otherwise: ts_recv" in shown.out
    assert "4 equal, 2 differ" in shown.err
    assert main([*check, "--json"]) == 1
    verdicts = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {one["channel"] for one in verdicts if one["verdict"] == "differs"} == {"trade", "quote"}
    assert main(["certify", "coinbase", *RANGE]) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["certify"], "name a venue, and a symbol or none"),
        (["certify", "coinbse"], "coinbse"),
        (["certify", "coinbase", "NO-USD"], "nothing of coinbase NO-USD was recorded"),
        (["certify", "coinbase", "--start", "soon"], "--start 'soon' is not an instant"),
        (["certify", "coinbase", "--start", END, "--end", START], "no complete hour lies in this time"),
        (["certify", "coinbase", "--start", LATER, "--end", MUCH_LATER], "is not over; certify after"),
        (["certify", "coinbase", "--start", "1970-01-01"], "are too many for one call"),
        (["certify", "--check"], "--check takes files of certificates"),
        (["certify", "--check", "nowhere.json"], "nowhere.json cannot be read"),
        (["certify", "coinbase", "--due"], "--due takes no venue and no time"),
        (["certify", "coinbase", "--journals", "x"], "--journals belongs to --check"),
        (["replay", "--check", "--apply"], "--check changes nothing"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    words: list[str], sentence: str, home: CertifiedHome, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    complaint = capfd.readouterr().err
    assert sentence in complaint
    assert len(complaint.splitlines()) == 1


def test_the_job_certifies_what_is_due_and_then_nothing(home: CertifiedHome) -> None:
    clock = ManualClock(time.time_ns())
    poller = Poller(home.journals, [certificates_job(Settings.load().environment, clock)], clock)
    try:
        run = poller.runner.extra(NAME, "by hand")
        assert run is not None
        assert run.state == "done", run
        grades = home.rows("SELECT channel, hour, grade, replay FROM certificate_last ORDER BY channel, hour")
        assert ("trade", instant(BEGIN_US), "proved", "not made") in grades
        assert ("trade", instant(BEGIN_US - HOUR_US), "holed", "not made") in grades  # recorded for a minute
        count = len(home.rows("SELECT FROM certificate"))
        assert poller.runner.extra(NAME, "by hand") is not None
        assert len(home.rows("SELECT FROM certificate")) == count
    finally:
        poller.end()


def test_the_job_certifies_an_hour_again_when_its_number_of_rows_changed(home: CertifiedHome) -> None:
    clock = ManualClock(time.time_ns())
    poller = Poller(home.journals, [certificates_job(Settings.load().environment, clock)], clock)
    try:
        assert poller.runner.extra(NAME, "by hand") is not None
        home.run("DELETE FROM quote WHERE sequence = 5")
        home.run("DELETE FROM trade WHERE trade_id = 70")
        run = poller.runner.extra(NAME, "by hand")
        assert run is not None
        assert run.state == "done", run
        again = "SELECT channel, hour, grade, replay FROM certificate WHERE revision = 2 ORDER BY channel"
        assert home.rows(again) == [
            ("quote", instant(BEGIN_US), "holed", "differs"),
            ("trade", instant(BEGIN_US + HOUR_US), "holed", "differs"),
        ]
    finally:
        poller.end()


def test_an_hour_that_is_not_over_is_left_out_and_named(home: CertifiedHome, capfd: pytest.CaptureFixture[str]) -> None:
    begin, end = instant(NEXT_US - 3 * HOUR_US), instant(NEXT_US + HOUR_US)
    assert main(["certify", "coinbase", "--start", begin.isoformat(), "--end", end.isoformat()]) == 0
    line = " ".join(capfd.readouterr().err.splitlines()[-2:])
    assert f"the hour {instant(NEXT_US):%Y-%m-%d %H:%M} UTC is not over; certify after" in line or (
        f"the hours from {instant(NEXT_US - HOUR_US):%Y-%m-%d %H:%M} UTC on are not over" in line
    )


def test_a_command_that_fails_fails_the_round_with_its_reason(home: CertifiedHome) -> None:
    clock = ManualClock(time.time_ns())
    job = certificates_job(
        lambda: {**Settings.load().environment(), "DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, clock
    )
    assert isinstance(job.handler, Certifying)
    poller = Poller(home.journals, [job], clock)
    try:
        run = poller.runner.extra(NAME, "by hand")
        assert run is not None
        assert (run.state, "the database cannot be reached" in (run.reason or "")) == ("failed", True), run
    finally:
        poller.end()
