"""Certificates of recorded hours: their grades, their checks from raw frames, and their revisions."""

import shutil
from pathlib import Path

import msgspec
import pytest
from support.certified import BEGIN_US, CertifiedHome, hourly_feed, of_channel, record_hours

from recorder.certify.check import check
from recorder.certify.document import HOUR_US, Certificate, digest


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


@pytest.mark.parametrize("what", ["grade", "rows", "gaps", "sessions", "text"])
def test_a_forged_document_is_refused(home: CertifiedHome, what: str) -> None:
    record_hours(home.recorder, hourly_feed(skip=[30]))
    home.load()
    one = of_channel(home.make()[0], "trade")[0]
    changes: dict[str, dict[str, object]] = {
        "grade": {"grade": "proved", "reasons": ["ids 1 to 62 follow each other"]},
        "rows": {"rows": msgspec.structs.replace(one.rows, sha256="0" * 64)},
        "gaps": {"gaps": []},
        "sessions": {"sessions": [1]},
    }
    document = forged(one, **changes[what]) if what in changes else msgspec.structs.replace(one, frames=one.frames + 1)
    assert check([document], home.journals)[0].faults
