"""Certificates of hours of simulated venues: each grade where the guarantees say, and what no check lets pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.certify.home import BEGIN_US, of_channel
from support.certify.venues import VenueHome, faults_of, forged

from recorder.certify.document import HOUR_US, Certificate, Grade
from recorder.simulator.faults import Rule
from recorder.venues.base import Audit

GRADES: dict[str, dict[str, Grade]] = {
    "kraken": {"trade": "proved", "quote": "claimed", "book": "proved"},
    "binance": {"trade": "proved", "quote": "claimed", "book": "consistent"},
    "bitfinex": {"trade": "proved", "quote": "proved", "book": "proved"},
    "figure": {"trade": "claimed", "quote": "claimed", "book": "claimed"},
}


@pytest.fixture(params=sorted(GRADES))
def home(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> VenueHome:
    """An hour of a venue and four minutes more, recorded and loaded."""
    found = VenueHome(tmp_path, database, request.param)
    found.session.run(3600 + 300)
    found.session.close()
    found.load()
    return found


def test_an_undisturbed_hour_has_the_grade_that_the_protocol_proves(home: VenueHome) -> None:
    made = home.certify()
    assert {one.channel: one.grade for one in made} == GRADES[home.name], [one.reasons for one in made]
    assert all(one.replay == "equal" and one.rows.stored > 10 for one in made)
    assert faults_of(made, home.journals) == [[], [], []]
    (book,) = of_channel(made, "book")
    assert bool(book.book.checksums_passed) == (home.name in ("kraken", "bitfinex"))


FORGERIES: dict[str, Callable[[Certificate], dict[str, object]]] = {
    "rows": lambda one: {"rows": msgspec.structs.replace(one.rows, sha256="0" * 64)},
    "fewer rows": lambda one: {"rows": msgspec.structs.replace(one.rows, stored=one.rows.stored - 1)},
    "checks": lambda one: {"book": msgspec.structs.replace(one.book, checksums_passed=9999)},
    "witness": lambda _: {"witnesses": {"quiet": 3, "agrees": 3}},
    "sessions": lambda _: {"sessions": [1]},
    "frames": lambda one: {"frames": one.frames + 1},
    "subscribed before": lambda one: {"watched_from_us": BEGIN_US - HOUR_US},
    "no journal": lambda _: {"journals": []},
}


def test_altered_rows_removed_segments_and_forged_documents_are_refused(home: VenueHome, tmp_path: Path) -> None:
    honest = home.certify()
    for what, change in FORGERIES.items():
        documents = [forged(one, **change(one)) for one in honest]
        assert all(faults_of(documents, home.journals)), what
    copy = tmp_path / "copy"
    shutil.copytree(home.journals, copy)
    for segment in (copy / home.recorder.name).glob("*.tape"):
        segment.unlink()
    assert all("is missing" in faults[0] for faults in faults_of(honest, copy))
    in_hour = f"ts_recv >= to_timestamp({BEGIN_US // 10**6}) + interval '20 min'"
    for statement in (
        f"UPDATE trade SET price = price * 2 WHERE (trade_id, ts_event) IN"
        f" (SELECT trade_id, ts_event FROM trade WHERE {in_hour} ORDER BY ts_event LIMIT 1)",
        f"DELETE FROM quote WHERE ctid IN (SELECT ctid FROM quote WHERE {in_hour} ORDER BY ts_recv LIMIT 1)",
        f"UPDATE book SET ts_event = NULL, sequence = 5 WHERE ctid IN"
        f" (SELECT ctid FROM book WHERE {in_hour} ORDER BY ts_recv LIMIT 1)",
    ):
        home.run(statement)
    altered = home.certify(decode=False)
    assert [(one.grade, one.replay, one.revision) for one in altered] == [("holed", "differs", 2)] * 3
    assert all(faults_of(altered, home.journals))
    # Whoever hides the difference certifies rows that the frames do not give.
    hidden = [forged(one, replay="equal", differences=[]) for one in altered]
    assert all(faults_of(hidden, home.journals))


def test_a_lost_connection_makes_every_channel_holed(tmp_path: Path, database: str) -> None:
    home = VenueHome(tmp_path, database, "figure")
    home.session.run(1200)
    home.session.drop()
    home.session.run(60, connected=False)
    home.session.reopen()
    home.session.run(2700)
    home.session.close()
    home.load()
    made = home.certify()
    assert [one.grade for one in made] == ["holed"] * 3
    assert all(one.reasons[0].startswith("gap disconnect, ") for one in made)
    documents = [forged(one, gaps=[]) for one in made]
    assert [one.grade for one in documents] == ["claimed"] * 3
    assert all(faults_of(documents, home.journals))


def test_checksums_are_those_of_the_frames_whatever_the_recorder_counted(tmp_path: Path, database: str) -> None:
    home = VenueHome(tmp_path, database, "kraken")
    session = home.session
    session.run(70)
    session.report_s = 1000  # one audit holds the failure, and lies in the hour
    session.run(600)
    session.venue.faults.add(Rule("checksum", session.symbol, "book", 1))
    session.run(120)
    session.audits[session.symbol] = Audit(checksums_passed=100_000)  # a fault of the recorder that hides the failure
    session.run(3200)
    session.close()
    home.load()
    (recorded,) = of_channel(home.certify(decode=False), "book")
    assert (recorded.book.checksums_passed > 100_000, recorded.book.checksums_failed) == (True, 0)
    (faults,) = faults_of([recorded], home.journals)
    assert any(fault.startswith("book.checksums_passed was recorded as") for fault in faults)
    assert "book.checksums_failed was recorded as 0, the frames give 1" in faults
    (decoded,) = of_channel(home.certify(), "book")
    assert (decoded.revision, decoded.grade, decoded.book.checksums_failed) == (2, "holed", 1)
    assert 0 < decoded.book.checksums_passed < 10_000
    assert faults_of([decoded], home.journals) == [[]]
    # What was counted while recording does not replace what the frames show.
    assert of_channel(home.certify(decode=False), "book") == [decoded]


def test_audits_that_reach_over_the_end_of_an_hour_never_make_it_better_than_its_frames(
    tmp_path: Path, database: str
) -> None:
    home = VenueHome(tmp_path, database, "kraken")
    home.session.report_s = 50  # no report falls on the end of an hour
    home.session.run(2 * 3600 + 300)
    home.session.close()
    home.load()
    recorded = of_channel(home.certify(decode=False, hours=2), "book")
    decoded = of_channel(home.certify(hours=2), "book")
    for one, other in zip(recorded, decoded, strict=True):
        assert (one.grade, other.grade) == ("proved", "proved")
        assert one.book.checksums_passed < other.book.checksums_passed
    assert faults_of(recorded + decoded, home.journals) == [[]] * 4
