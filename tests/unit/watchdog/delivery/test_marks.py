"""Acknowledgements and silences on disk."""

from pathlib import Path

import pytest
from support.machine.message_sinks import AT

from recorder.errors import ConfigError
from recorder.watchdog.delivery.marks import (
    SILENCE_MAX_S,
    Ack,
    Marks,
    MarksFile,
    Silence,
    change,
    path_of,
    read_marks,
)


def test_what_a_command_notes_is_seen_by_the_watchdog(tmp_path: Path) -> None:
    watching = MarksFile(tmp_path)
    assert watching.read() == Marks()
    change(tmp_path, AT, lambda marks: Marks((*marks.acks, Ack(1, AT)), marks.silences))
    change(tmp_path, AT, lambda marks: Marks((*marks.acks, Ack(2, AT, "seen")), marks.silences))
    assert [ack.alert_id for ack in watching.read().acks] == [1, 2]
    assert watching.read() == read_marks(tmp_path)


def test_a_silence_ends_by_itself_and_is_then_left_out(tmp_path: Path) -> None:
    change(tmp_path, AT, lambda marks: Marks(marks.acks, (Silence("lineage", None, AT, AT + 60),)))
    marks = read_marks(tmp_path)
    assert marks.silenced_until("lineage", "kraken", AT + 59) == AT + 60
    assert marks.silenced_until("lineage", "kraken", AT + 60) is None
    assert marks.silenced_until("gap_long", "kraken", AT) is None
    assert change(tmp_path, AT + 61, lambda marks: marks) == Marks()


def test_no_silence_lasts_longer_than_30_days_whatever_the_file_says() -> None:
    silence = Silence("lineage", "okx", AT, AT + 1e12)
    assert silence.active(AT + SILENCE_MAX_S - 1)
    assert not silence.active(AT + SILENCE_MAX_S)
    assert not silence.active(AT - 86_400)  # the clock was set back by a day
    assert not silence.covers("lineage", "kraken")


@pytest.mark.parametrize("content", [b"", b"[1", b'{"acks": 7}', b"\xff"])
def test_a_damaged_file_is_reported_to_a_person_and_survived_by_the_watchdog(tmp_path: Path, content: bytes) -> None:
    change(tmp_path, AT, lambda marks: Marks((Ack(1, AT),), marks.silences))
    watching = MarksFile(tmp_path)
    before = watching.read()
    path_of(tmp_path).write_bytes(content)
    assert watching.read() == before
    with pytest.raises(ConfigError, match=r"marks\.json cannot be read"):
        read_marks(tmp_path)
