"""Certificates of recorded hours: their grades, their checks from raw frames, and their revisions."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.certify.home import BEGIN_US, CertifiedHome, heal, hourly_feed, of_channel, record_hours

from recorder.certify.check import check
from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, Certificate, JournalFact, digest
from recorder.certify.make import graded


@pytest.fixture
def home(tmp_path: Path, database: str) -> CertifiedHome:
    return CertifiedHome(tmp_path, database)


def forged(one: Certificate, **changes: object) -> Certificate:
    """Return a certificate with other facts and a hash that fits them."""
    changed = msgspec.structs.replace(one, **changes, sha256="")
    return msgspec.structs.replace(changed, sha256=digest(changed))


def test_complete_hours_are_proved_by_their_ids_and_quotes_claimed(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    made, unsettled = home.make()
    assert not unsettled
    trades, quotes = of_channel(made, "trade"), of_channel(made, "quote")
    assert [one.grade for one in trades] == ["proved", "proved"]
    assert [one.grade for one in quotes] == ["claimed", "claimed"]
    first = trades[0]
    assert first.begin_us == BEGIN_US
    assert first.replay == "equal"
    assert (first.rows.stored, first.rows.first_id, first.rows.last_id) == (60, 2, 61)
    assert (first.rows.before_id, first.rows.after_id) == (1, 62)
    assert [result.faults for result in check(made, home.journals)] == [[]] * 4


def test_certificates_of_a_stream_are_a_chain(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    first, second = of_channel(home.make()[0], "trade")
    assert (first.number, first.previous, second.number) == (1, None, 2)
    assert second.previous == first.sha256
    assert second.hour > first.hour
    assert second.begin_us - first.begin_us == HOUR_US
    other = forged(first, made_at="2020-01-01T00:00:00Z")
    refused = [result.faults for result in check([other, second], home.journals)]
    assert refused == [[], ["it does not name certificate 1 of its stream as the one before it"]]


def test_a_missing_id_makes_the_hour_holed(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    trades = of_channel(home.make()[0], "trade")
    assert [one.grade for one in trades] == ["holed", "proved"]
    assert trades[0].gaps[0].cause == "sequence"
    assert [result.faults for result in check(trades, home.journals)] == [[], []]


def test_a_row_that_was_altered_after_loading_is_refused(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    home.run("UPDATE trade SET price = price + 1 WHERE trade_id = 20")
    first, second = of_channel(home.make()[0], "trade")
    assert (first.grade, first.replay, second.grade) == ("holed", "differs", "proved")
    assert "trade BTC-USD trade_id=20 stored otherwise: price 102.5 -> 103.5" in first.differences
    faults = [result.faults for result in check([first, second], home.journals)]
    assert faults[0]
    assert not faults[1]


GAP_OF_TRADES = "channel = 'trade' AND cause = 'sequence'"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"DELETE FROM gap WHERE {GAP_OF_TRADES}", "not stored: sequence, open, ids 29 to 31"),
        (f"UPDATE gap SET state = 'healed' WHERE {GAP_OF_TRADES}", "stored otherwise: sequence, open"),
        (
            f"UPDATE gap SET state = 'healed', revision = revision + 5 WHERE {GAP_OF_TRADES}",
            "stored otherwise: sequence, open",
        ),
        (
            f"UPDATE gap SET ended_at = ended_at + interval '1 min' WHERE {GAP_OF_TRADES}",
            "stored otherwise: sequence, open, ids 29 to 31",
        ),
        (
            f"UPDATE gap SET started_at = started_at - interval '1 day', ended_at = ended_at - interval '1 day'"
            f" WHERE {GAP_OF_TRADES}",
            "not stored: sequence, open, ids 29 to 31",
        ),
    ],
)
def test_a_gap_that_was_altered_after_loading_makes_its_hour_holed(
    home: CertifiedHome, statement: str, reason: str
) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    home.run(statement)
    first, second = of_channel(home.make(decode=False)[0], "trade")
    assert (first.grade, first.replay, second.grade) == ("holed", "differs", "proved")
    assert any(
        line.startswith(f"gap BTC-USD gap_id={first.gaps[0].gap_id} ") and reason in line for line in first.reasons
    )
    assert [(gap.state, gap.last_id, gap.first_id) for gap in first.gaps] == [("open", 29, 31)]
    assert check([first], home.journals)[0].faults == [
        f"stored rows were not those of the frames: {line}" for line in first.differences
    ]


def test_a_gap_that_nothing_healed_is_a_hole_although_no_id_is_missing(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    heal(home, 30, 103.75, 0.25, "b")
    home.run(f"UPDATE gap SET revision = revision + 1 WHERE {GAP_OF_TRADES}")
    one = of_channel(home.make(decode=False)[0], "trade")[0]
    assert (one.grade, len(one.reasons)) == ("holed", 1)
    home.run(f"UPDATE gap SET revision = revision - 1 WHERE {GAP_OF_TRADES}")
    assert of_channel(home.make()[0], "trade")[0].grade == "proved"


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM gap WHERE {0}",
        "UPDATE gap SET state = 'unhealable', revision = revision + 1 WHERE {0}",
        "UPDATE gap SET ended_at = ended_at + interval '1 min' WHERE {0}",
    ],
)
def test_an_hour_is_due_again_when_a_gap_of_it_is_stored_otherwise(home: CertifiedHome, change: str) -> None:
    def due() -> list[tuple[str, int]]:
        with opened(home.url) as database:
            found = database.due("coinbase", BEGIN_US, BEGIN_US + 2 * HOUR_US)
        return [(hour.channel, hour.begin_us) for hour in found if hour.channel != "book"]

    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    assert len(due()) == 4
    home.make()
    assert due() == []
    home.run(change.format(GAP_OF_TRADES))
    assert due() == [("trade", BEGIN_US)]


def test_a_removed_or_changed_segment_is_refused(home: CertifiedHome, tmp_path: Path) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    made = home.make()[0]
    copy = tmp_path / "copy"
    shutil.copytree(home.journals, copy)
    assert not any(result.faults for result in check(made, copy))
    segment = sorted((copy / home.recorder.name).glob("*.tape"))[0]
    data = segment.read_bytes()
    segment.write_bytes(data[:-200] + bytes([data[-200] ^ 1]) + data[-199:])
    assert any("has other bytes" in fault for result in check(made, copy) for fault in result.faults)
    segment.unlink()
    assert all("is missing" in result.faults[0] for result in check(made, copy))


def test_a_feed_of_the_venue_that_no_journal_is_of_is_refused(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    one = of_channel(home.make()[0], "quote")[0]
    other = "coinbase_advanced"
    (fact,) = one.journals
    assert (one.feed, one.grade) == ("coinbase", "claimed")
    journal = msgspec.structs.replace(fact, feed=other)
    renamed = msgspec.structs.replace(journal, recorder=f"recorder-{other}")
    changes: list[dict[str, object]] = [
        {"feed": other},
        {"feed": other, "journals": [journal]},
        {"feed": other, "journals": [renamed]},
    ]
    documents = [graded(msgspec.structs.replace(one, **change)) for change in changes]
    assert [document.grade for document in documents] == ["proved"] * 3
    faults = [check([forged(document)], home.journals)[0].faults for document in documents]
    assert faults == [
        ["its feed is 'coinbase_advanced', and by its journals 'coinbase'"],
        ["the journal of recorder-coinbase is of the feed 'coinbase', not 'coinbase_advanced'"],
        ["the journal of recorder-coinbase_advanced is that of recorder-coinbase"],
    ]


def without_last_segment(one: Certificate) -> list[JournalFact]:
    """Return the journals of a certificate without the segment that holds the end of the hour."""
    (fact,) = one.journals
    assert len(fact.segments) > 1
    return [msgspec.structs.replace(fact, segments=fact.segments[:-1])]


FORGERIES: dict[str, Callable[[Certificate], dict[str, object]]] = {
    "grade": lambda _: {"grade": "proved", "reasons": ["ids 1 to 62 follow each other"]},
    "rows": lambda one: {"rows": msgspec.structs.replace(one.rows, sha256="0" * 64)},
    "no gap": lambda _: {"gaps": []},
    "gap is healed": lambda one: {"gaps": [msgspec.structs.replace(one.gaps[0], state="healed", revision=9)]},
    "gap is shorter": lambda one: {"gaps": [msgspec.structs.replace(one.gaps[0], first_id=30)]},
    "sessions": lambda _: {"sessions": [1]},
    "symbol": lambda _: {"symbol": "ETH-USD"},
    "feed": lambda _: {"feed": "kraken"},
    "no journal": lambda _: {"journals": []},
    "fewer segments": lambda one: {"journals": without_last_segment(one)},
    "read to the begin": lambda one: {"read_until_us": one.begin_us},
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_forged_document_whose_hash_fits_is_refused(home: CertifiedHome, what: str) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    one = of_channel(home.make()[0], "trade")[0]
    changed = msgspec.structs.replace(one, **FORGERIES[what](one))
    regraded = changed if what == "grade" else graded(changed)  # a careful forger grades by the rules
    document = msgspec.structs.replace(regraded, sha256=digest(regraded))
    assert check([one], home.journals)[0].faults == []
    assert check([document], home.journals)[0].faults


def test_a_changed_text_with_the_old_hash_is_refused(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    one = of_channel(home.make()[0], "trade")[0]
    document = msgspec.structs.replace(one, frames=one.frames + 1)
    assert "its hash is not that of its text" in check([document], home.journals)[0].faults


def test_a_healed_hour_gets_a_higher_revision_and_its_history_is_checked_too(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    before = of_channel(home.make()[0], "trade")
    heal(home, 30, 103.75, 0.25, "b")
    after = of_channel(home.make()[0], "trade")
    assert [(one.revision, one.grade) for one in after] == [(2, "proved"), (1, "proved")]
    assert (after[0].rows.healed, after[0].rows.stored) == (1, 60)
    assert after[0].number == 3
    assert [fact.recorder for fact in after[0].journals] == ["recorder-coinbase", "poller"]
    assert [result.faults for result in check([*before, after[0]], home.journals)] == [
        [],
        [],
        [],
    ]
    shutil.rmtree(home.journals / "poller")
    assert "is not here" in check(after[:1], home.journals)[0].faults[0]


def test_a_healed_trade_that_was_altered_is_refused(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    heal(home, 30, 103.75, 0.25, "b")
    home.run("UPDATE trade SET size = 9 WHERE trade_id = 30")
    one = of_channel(home.make()[0], "trade")[0]
    assert (one.grade, one.replay) == ("holed", "differs")
    assert any(
        "rows.sha256" in fault or "stored rows were not" in fault for fault in check([one], home.journals)[0].faults
    )


def test_certificates_without_decoding_are_the_same_but_for_that_verdict(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    recorded = home.make(decode=False)[0]
    assert {one.replay for one in recorded} == {"not made"}
    assert not any(result.faults for result in check(recorded, home.journals))
    decoded = home.make()[0]
    assert {(one.replay, one.revision) for one in decoded} == {("equal", 2)}
    assert [one.rows for one in decoded] == [one.rows for one in recorded]
    assert home.make(decode=False)[0] == decoded


def test_an_hour_is_certified_only_when_its_journal_is_loaded_beyond_it(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed(hours=1))
    home.load()
    made, unsettled = home.make()
    assert not made
    assert {one.reason for one in unsettled} == {"the journal is not loaded to a minute after it"}


def test_hours_whose_rows_were_moved_to_the_archive_keep_their_certificates(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    made = home.make()[0]
    home.run(
        "INSERT INTO archive (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes,"
        " sha256, checksum) SELECT DISTINCT 'trade', ts_event::date, 'coinbase', 1, 'kept', '/a', 'b', 1, 0, 1,"
        " repeat('0', 64), 1 FROM trade"
    )
    home.run("DELETE FROM trade")
    with opened(home.url) as database:
        due = database.due("coinbase", BEGIN_US, BEGIN_US + 2 * HOUR_US)
    assert {hour.channel for hour in due} == {"book"}
    again, unsettled = home.make()
    assert again == of_channel(made, "quote")
    assert {one.reason for one in unsettled} == {"its rows were moved to the archive"}


def test_hours_whose_segments_were_removed_are_left_out_and_not_called_holed(home: CertifiedHome) -> None:
    record_hours(home.recorder, hourly_feed())
    home.load()
    (home.recorder / "00000001.tape").unlink()
    made, unsettled = home.make(decode=False)
    assert {one.begin_us for one in made} <= {BEGIN_US + HOUR_US}
    assert "segments of its journal were removed" in {one.reason for one in unsettled}
    made, unsettled = home.make()
    assert not made
    assert any("the begin of its session was removed" in one.reason for one in unsettled)
