"""The disk of the journal is full, fails, or flips bits."""

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fault_rig import CHANNELS, Rig
from support.machine.small_disks import mounted

from recorder.journal.reader import JournalReader, StoredBlock
from recorder.position import Position

MakeRig = Callable[..., Rig]
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN of the kernel's own tests: everything after it fails with EIO
_NO_LOG_FLUSH = struct.pack("I", 2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system of 24 MB in memory."""
    with mounted(["-t", "tmpfs", "-o", "size=24m", "tapedeck-test"], tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def failing_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a small ext4 file system in a file."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(["-o", "loop", str(image)], tmp_path / "disk") as disk:
        yield disk


def fill(disk: Path) -> Path:
    """Fill all free space, and return the file to remove."""
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError:
            return filler


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "reserve_mb",
    [pytest.param(0, id="to the last byte"), pytest.param(4, id="to the reserve", marks=pytest.mark.long)],
)
@pytest.mark.parametrize(
    "full_s", [pytest.param(2.0, id="short"), pytest.param(60.0, id="long", marks=pytest.mark.long)]
)
def test_a_full_disk_sheds_declares_and_resumes_by_itself(
    full_s: float, reserve_mb: int, make_rig: MakeRig, small_disk: Path, database: str
) -> None:
    rig = make_rig(
        database,
        venues=["kraken"],
        settings={"journal": {"dir": str(small_disk / "journal"), "reserve_mb": reserve_mb}},
    ).up()
    filler = fill(small_disk)
    rig.wait("the recorder sheds", lambda: "journal.full" in rig.log("recorder-kraken"))
    rig.wait("and says so", lambda: getattr(rig.health("recorder-kraken"), "state", "") == "degraded")
    before = rig.rss_kb("recorder-kraken")
    rig.pause(full_s)
    assert len(rig.venues["kraken"].venue.clients) == 1  # the connection stays open
    assert rig.rss_kb("recorder-kraken") - before < 8192
    filler.unlink()
    took_s = rig.wait_live(30.0)
    assert took_s < 30
    report = rig.prove()
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 1
    gaps = [gap for gap in rig.gaps() if gap["cause"] == "disk_full"]
    assert {gap["channel"] for gap in gaps} == {"trade", "quote", "book"}
    for channel in CHANNELS:  # a small block may fit where a large one does not
        spans = [gap["ended_at"] - gap["started_at"] for gap in gaps if gap["channel"] == channel]
        assert sum(span.total_seconds() for span in spans) >= full_s, channel
    assert sum(check.declared for check in report.streams) > 100
    assert rig.log("recorder-kraken").count("journal.full") == rig.log("recorder-kraken").count("journal.resumed")


def test_a_disk_that_fails_ends_the_recorder_at_once(make_rig: MakeRig, failing_disk: Path, database: str) -> None:
    rig = make_rig(
        database, venues=["kraken"], settings={"journal": {"dir": str(failing_disk / "journal"), "reserve_mb": 1}}
    ).up()
    recorder = rig.processes.pop("recorder-kraken")
    handle = os.open(failing_disk, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, _SHUTDOWN, _NO_LOG_FLUSH)
    finally:
        os.close(handle)
    assert recorder.wait(15) == 1  # supervisord sees a failure
    assert "JournalError" in rig.log("recorder-kraken")
    rig.kill("writer")  # it has loaded everything, or met the failure already
    rig.start("writer")
    rig.wait("the writer says what it cannot read", lambda: "journal.unreadable" in rig.log("writer"))
    rig.pause(1.5)  # all its threads have used the disk by then
    assert rig.processes["writer"].poll() is None
    rig.wait("and keeps saying it", lambda: getattr(rig.health("writer"), "state", "") == "degraded")


# ---- a bit turned over


def blocks(folder: Path) -> list[StoredBlock]:
    """Return all intact blocks of a journal."""
    reader = JournalReader(folder)
    found = [item for item in reader.read(reader.first(), 1 << 40) if isinstance(item, StoredBlock)]
    reader.close()
    return found


def flip(folder: Path, segment: int, offset: int, bit: int) -> None:
    """Flip one bit of a segment."""
    with open(folder / f"{segment:08d}.tape", "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def place_in(block: StoredBlock, table: str, rig: Rig) -> int:
    """Return an offset inside a section of a block; "header" is the part before the first section."""
    body = block.next.offset - sum(section.size for section in block.header.sections)
    if table == "header":
        return rig.rng.randrange(block.position.offset, body)
    for section in block.header.sections:
        if section.table == table:
            return body + rig.rng.randrange(section.size)
        body += section.size
    raise AssertionError(f"no section {table}")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("times", [pytest.param(1, id="short"), pytest.param(15, id="long", marks=pytest.mark.long)])
def test_a_flipped_bit_in_any_part_of_a_block_costs_that_part_and_is_declared(
    times: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=["coinbase"]).up()
    folder = rig.journals / "recorder-coinbase"
    rig.kill("writer")
    expected = 0
    for _ in range(times):
        since = len(blocks(folder))
        rig.do("coinbase", "skip", times=2, symbol="BTC-USD")
        rig.do("coinbase", "close")
        rig.wait_subscribed()
        rig.pause(1.0)
        fresh = blocks(folder)[since:-20]
        # (section of the block, target), the rarest first
        for holds, hit in (
            ("gap", "gap"), ("gap", "header"), ("gap", "header"), ("session", "session"), ("", "header"), ("", ""),
            ("trade", "trade"), ("quote", "quote"), ("book", "book"),
        ):  # fmt: skip
            able = [one for one in fresh if holds in {section.table for section in one.header.sections}]
            if not able:
                continue  # most gaps of this round ended in one block
            chosen = rig.rng.choice(able)
            place = fresh.index(chosen)
            del fresh[max(0, place - 1) : place + 2]  # neighbouring damage is found as one
            offset = place_in(chosen, hit, rig)
            print(f"{hit or 'frames'} of the block at {chosen.position}: byte {offset}")
            flip(folder, chosen.position.segment, offset, rig.rng.randrange(8))
            expected += 1
    rig.start("writer")
    rig.prove()
    damaged = rig.query("SELECT segment, position, reason FROM quarantine WHERE scope = 'block'")
    assert len(damaged) == expected >= 7
    assert all(Position(segment, position) > Position(0, 0) and reason for segment, position, reason in damaged)
    assert rig.log("writer").count("journal.damaged") == expected
    assert {gap["channel"] for gap in rig.gaps("cause = 'journal_damage'")} == {"trade", "quote", "book"}


@pytest.mark.timeout(300)
@pytest.mark.long
@pytest.mark.parametrize("times", [8, 200])
def test_bits_flipped_anywhere_in_what_is_not_loaded_yet_are_quarantined_and_declared(
    times: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=["kraken"]).up()
    folder = rig.journals / "recorder-kraken"
    rig.kill("writer")
    rig.pause(1.0 + times / 20)
    known = blocks(folder)[5:-10]
    for _ in range(times):
        offset = rig.rng.randrange(known[0].position.offset, known[-1].next.offset)
        flip(folder, known[0].position.segment, offset, rig.rng.randrange(8))
    rig.start("writer")
    rig.prove()
    assert 1 <= rig.stored("quarantine") <= times
    assert rig.number("SELECT count(*) FROM quarantine WHERE scope <> 'block'") == 0
