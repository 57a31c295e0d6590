"""Journal and database go different ways: restored, copied, cut, removed, in any order. Everything is accounted for."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fault_rig import Rig
from support.lineage import Lab

from recorder.journal.reader import JournalReader, StoredBlock, segment_path, segments

RECORDER = "recorder-coinbase"


class Rounds:
    """Random actions on one journal and its database."""

    def __init__(self, lab: Lab, folder: Path, rng: random.Random) -> None:
        self.lab = lab
        self.rng = rng
        self._copy = folder / "copy"
        self._dumped = False
        self.actions = (
            self.record, self.record, self.record, self.rotate, self.load, self.load, self.kill_recorder,
            self.kill_writer, self.remove_segment, self.cut_between_blocks, self.cut_out, self.repeat,
            self.cut_anywhere, self.copy_journal, self.put_back_journal, self.dump, self.restore,
            self.remove_folder, self.remove_files, self.trim, self.flip,
        )  # fmt: skip

    def record(self) -> None:
        self.lab.record(self.rng.randrange(1, 6))

    def rotate(self) -> None:
        self.lab.rotate()
        self.lab.record(1)

    def load(self) -> None:
        self.lab.load()

    def kill_recorder(self) -> None:
        self.lab.restart(lost=self.rng.randrange(3))

    def kill_writer(self) -> None:
        self.lab.reload()

    def remove_segment(self) -> None:
        self.lab.segment(self.rng.choice(segments(self.lab.folder))).unlink()
        self.lab.restart(lost=1)

    def blocks(self) -> list[StoredBlock]:
        """Return the blocks of one segment."""
        number = self.rng.choice(segments(self.lab.folder))
        reader = JournalReader(self.lab.folder)
        items = list(reader.read(reader.first(), 1 << 62))
        reader.close()
        return [one for one in items if isinstance(one, StoredBlock) and one.position.segment == number]

    def cut_between_blocks(self) -> None:
        found = self.blocks()
        if len(found) > 1:
            block = self.rng.choice(found[1:])
            os.truncate(self.lab.segment(block.position.segment), block.position.offset)
            self.lab.restart(lost=1)

    def cut_out(self) -> None:
        found = self.blocks()
        if len(found) > 2:
            block = self.rng.choice(found[1:])
            path = self.lab.segment(block.position.segment)
            data = path.read_bytes()
            path.write_bytes(data[: block.position.offset] + data[block.next.offset :])
            self.lab.restart()

    def repeat(self) -> None:
        found = self.blocks()
        if len(found) > 1:
            block = self.rng.choice(found[1:])
            path = self.lab.segment(block.position.segment)
            data = path.read_bytes()
            path.write_bytes(data + data[block.position.offset : block.next.offset])
            self.lab.restart()

    def cut_anywhere(self) -> None:
        path = self.lab.segment(self.rng.choice(segments(self.lab.folder)))
        os.truncate(path, self.rng.randrange(path.stat().st_size + 1))
        self.lab.restart(lost=1)

    def flip(self) -> None:
        path = self.lab.segment(self.rng.choice(segments(self.lab.folder)))
        data = bytearray(path.read_bytes())
        if data:
            data[self.rng.randrange(len(data))] ^= 1 << self.rng.randrange(8)
            path.write_bytes(data)
            self.lab.restart()

    def copy_journal(self) -> None:
        shutil.rmtree(self._copy, ignore_errors=True)
        self.lab.copy(self._copy)

    def put_back_journal(self) -> None:
        if self._copy.exists():
            self.lab.rig.kill()
            self.lab.put_back(self._copy)
            self.lab.send_to_no_one(2)
            self.lab.start()

    def dump(self) -> None:
        self.lab.dump()
        self._dumped = True

    def restore(self) -> None:
        if self._dumped:
            self.lab.restore()

    def remove_folder(self) -> None:
        self.lab.rig.kill()
        shutil.rmtree(self.lab.folder)
        self.lab.send_to_no_one(2)
        self.lab.start()

    def remove_files(self) -> None:
        self.lab.rig.kill()
        for path in self.lab.folder.glob("*.tape"):
            path.unlink()
        self.lab.send_to_no_one(1)
        self.lab.start()

    def trim(self) -> None:
        self.lab.load()
        for number in segments(self.lab.folder)[:-1]:
            if number < self.lab.tail().place.segment:
                self.lab.segment(number).unlink()


@pytest.mark.timeout(3600)
@pytest.mark.long
@pytest.mark.parametrize("times", [pytest.param(40, id="short"), pytest.param(1500, id="long")])
def test_whatever_happens_to_journal_and_database_all_is_loaded_once_or_declared(
    times: int, tmp_path: Path, database: str, seed: int
) -> None:
    rng = random.Random(seed)
    lab = Lab(tmp_path, database)
    rounds = Rounds(lab, tmp_path, rng)
    try:
        for number in range(times):
            action = rng.choice(rounds.actions)
            print(number, action.__name__)
            action()
            if rng.random() < 0.25:
                prove(lab, seed)
        prove(lab, seed)
        assert len(lab.sent) > times  # how many of them are stored depends on what was removed and restored
    finally:
        lab.close()


def prove(lab: Lab, seed: int) -> None:
    """Assert that all is accounted for once both sides have settled."""
    last = lab.sent[-1] if lab.sent else 0
    lab.restart()  # the recorder restores its streams, and a gap that it has can end
    lab.record(3)
    stored = "SELECT coalesce(max(trade_id), 0) FROM trade"
    lab.load_until(lambda: lab.query(stored)[0][0] == lab.sent[-1] > last)
    lab.load()
    assert lab.undeclared() == [], f"seed {seed}"
    assert lab.open_ended() == 0, f"seed {seed}: {lab.query('SELECT * FROM gap WHERE ended_at IS NULL')}"
    assert lab.query("SELECT count(*) FROM session WHERE ended_at IS NULL")[0][0] == 1, f"seed {seed}"
    assert lab.accounted(), f"seed {seed}"
    assert lab.health()[2].lag_bytes == 0, f"seed {seed}"


# ---- the real programs


def remove_folder_under_a_running_recorder(rig: Rig) -> None:
    shutil.rmtree(rig.journals / RECORDER)
    assert rig.processes.pop(RECORDER).wait(30) == 1  # supervisord starts it again
    rig.start(RECORDER)


def restore_an_older_home(rig: Rig) -> None:
    rig.stop(RECORDER)
    rig.wait("the writer has loaded the journals", rig.loaded)
    shutil.copytree(rig.journals, rig.home / "copy")
    rig.start(RECORDER)
    rig.wait_subscribed()
    rig.pause(2.0)
    for program in (RECORDER, "writer"):
        rig.kill(program)
    shutil.rmtree(rig.journals)
    shutil.copytree(rig.home / "copy", rig.journals)
    for program in (RECORDER, "writer"):
        rig.start(program)


def remove_what_is_not_loaded(rig: Rig) -> None:
    rig.kill("writer")
    rig.pause(1.0)
    rig.kill(RECORDER)
    newest = segments(rig.journals / RECORDER)[-1]
    segment_path(rig.journals / RECORDER, newest).unlink()
    for program in (RECORDER, "writer"):
        rig.start(program)


@pytest.mark.timeout(600)
@pytest.mark.long
@pytest.mark.parametrize(
    "act", [remove_folder_under_a_running_recorder, restore_an_older_home, remove_what_is_not_loaded]
)
def test_a_journal_that_goes_another_way_is_declared_and_recording_goes_on(
    act: Callable[[Rig], None], make_rig: Callable[..., Rig], database: str
) -> None:
    rig = make_rig(database, venues=["coinbase"], rate=100.0).up()
    act(rig)
    rig.wait("the break is found", lambda: rig.stored("journal_break") > 0, 120.0)
    rig.wait("the writer says so", lambda: getattr(rig.health("writer"), "state", "") == "degraded", 120.0)
    report = rig.prove(120.0)
    assert len(report.losses) == 1
    assert rig.number("SELECT count(*) FROM quarantine WHERE scope = 'block'") == 1
    assert rig.number("SELECT count(*) FROM session WHERE ended_at IS NULL") == 1
