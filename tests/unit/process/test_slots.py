"""Which slot of a recorder records: every step is decided by one file, whoever is killed."""

import threading
import time
from pathlib import Path

import pytest

from recorder.clock import SystemClock
from recorder.process.slots import Slots, SlotState, program_of


@pytest.fixture
def slots(tmp_path: Path) -> Slots:
    return Slots(tmp_path, "recorder-kraken", SystemClock())


def soon() -> float:
    return time.time() + 60.0


def test_a_recorder_that_was_never_handed_over_records_in_slot_a(slots: Slots) -> None:
    assert slots.read() == SlotState()
    assert (program_of("recorder-kraken", "a"), program_of("recorder-kraken", "b")) == (
        "recorder-kraken",
        "recorder-kraken-b",
    )


def test_a_handover_ends_with_the_successor_as_the_one_that_records(slots: Slots) -> None:
    assert slots.want("b", soon(), "/new/python")
    assert slots.read().successor(time.time()) == "b"
    assert slots.ask("b", "1")
    assert slots.give("1")
    assert not slots.accept("b", "1"), "nothing is on disk yet"
    assert slots.given("1")
    assert slots.accept("b", "1")
    assert slots.read() == SlotState("b", python={"b": "/new/python"})
    assert not slots.accept("b", "1"), "once"


def test_what_is_not_wanted_any_more_is_not_asked_for(slots: Slots) -> None:
    assert not slots.ask("b", "1")
    assert slots.want("b", time.time() - 1.0, None)
    assert slots.read().successor(time.time()) is None
    assert not slots.ask("b", "1")
    assert slots.want("a", soon(), None)
    assert slots.read().successor(time.time()) is None, "it records already"


@pytest.mark.parametrize("phase", ["asked", "giving", "given"])
def test_either_process_may_withdraw_before_the_successor_accepts(slots: Slots, phase: str) -> None:
    slots.want("b", soon(), None)
    slots.ask("b", "1")
    for step in {"asked": [], "giving": [slots.give], "given": [slots.give, slots.given]}[phase]:
        assert step("1")
    assert slots.withdraw("1")
    assert not slots.withdraw("1")
    assert not slots.give("1")
    assert not slots.given("1")
    assert not slots.accept("b", "1")
    assert slots.read() == SlotState("a")


def test_the_command_ends_a_handover_only_before_its_last_phase(slots: Slots) -> None:
    slots.want("b", soon(), None)
    assert slots.end()
    slots.want("b", soon(), None)
    slots.ask("b", "1")
    slots.give("1")
    assert not slots.end()
    assert not slots.want("b", soon(), None)


def test_a_process_that_was_killed_while_it_stopped_is_asked_again(slots: Slots) -> None:
    slots.want("b", soon(), None)
    slots.ask("b", "1")
    slots.give("1")
    slots.restarted()
    assert not slots.given("1")
    assert slots.ask("b", "2")


@pytest.mark.parametrize("data", [b"", b"{", b'{"active":"c"}', b"\xff\x00"])
def test_a_damaged_file_is_that_of_a_recorder_in_slot_a(slots: Slots, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "slots").mkdir()
    (tmp_path / "slots" / "recorder-kraken.json").write_bytes(data)
    assert slots.read() == SlotState()
    slots.activate("b")
    assert slots.read() == SlotState("b")


def test_a_reader_never_sees_a_change_that_is_under_way(slots: Slots, tmp_path: Path) -> None:
    slots.activate("b")
    reader, stop = Slots(tmp_path, "recorder-kraken", SystemClock()), threading.Event()
    seen: set[str] = set()

    def read() -> None:
        while not stop.is_set():
            seen.add(reader.read().active)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(30):
        assert slots.want("a", soon(), "/a/long/path" * number)
        assert slots.end()
    stop.set()
    thread.join()
    assert seen == {"b"}
