"""A recorder meets a limit of its machine: no inode is left, or no file descriptor."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.fault_rig import Rig
from support.machine.small_disks import mounted

MakeRig = Callable[..., Rig]


@pytest.fixture
def few_inodes(tmp_path: Path) -> Iterator[Path]:
    """Yield a file system in memory that holds at most 40 files."""
    with mounted(["-t", "tmpfs", "-o", "size=256m,nr_inodes=40", "tapedeck-test"], tmp_path / "disk") as disk:
        yield disk


def use_all_inodes(disk: Path) -> list[Path]:
    """Create files until the file system refuses one, and return them."""
    made: list[Path] = []
    while True:
        try:
            (disk / f"filler-{len(made)}").touch(exist_ok=False)
        except OSError:
            assert made
            return made
        made.append(disk / f"filler-{len(made)}")


@pytest.mark.timeout(180)
def test_a_disk_without_inodes_sheds_declares_and_resumes_by_itself(
    make_rig: MakeRig, few_inodes: Path, database: str
) -> None:
    rig = make_rig(
        database,
        venues=["kraken"],
        rate=4000.0,
        settings={"journal": {"dir": str(few_inodes / "journal"), "reserve_mb": 0, "segment_mb": 1}},
    ).up()
    fillers = use_all_inodes(few_inodes)
    rig.wait("the next segment cannot be created", lambda: "journal.full" in rig.log("recorder-kraken"), 60.0)
    rig.wait("and the state says so", lambda: getattr(rig.health("recorder-kraken"), "state", "") == "degraded")
    rig.pause(2.0)
    assert len(rig.venues["kraken"].venue.clients) == 1  # the connection stays open
    for filler in fillers:
        filler.unlink()
    rig.wait_live(30.0)
    report = rig.prove()
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == 1
    assert {gap["channel"] for gap in rig.gaps("cause = 'disk_full'")} == {"trade", "quote", "book"}
    assert sum(check.declared for check in report.streams) > 0


@pytest.mark.timeout(180)
def test_a_recorder_without_file_descriptors_says_so_and_reconnects_once_it_has_some(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=["coinbase"]).up()
    process = rig.processes["recorder-coinbase"].pid
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    rig.do("coinbase", "close")  # gives one descriptor back, which a new connection could use
    resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))
    rig.wait("the reason is in the log", lambda: "Too many open files" in rig.log("recorder-coinbase"), 60.0)
    tries = rig.log("recorder-coinbase").count("Too many open files")
    rig.pause(5.0)
    assert rig.log("recorder-coinbase").count("Too many open files") - tries < 40  # it waits between its tries
    assert rig.processes["recorder-coinbase"].poll() is None
    resource.prlimit(process, resource.RLIMIT_NOFILE, before)
    rig.wait_live(60.0)
    rig.prove()
    assert rig.gaps("cause = 'disconnect'")
