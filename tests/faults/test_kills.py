"""kill -9 at random instants, a torn journal, a second process: nothing is lost without a declaration."""

import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from support.fault_rig import Rig

from recorder.journal.reader import segment_path, segments

MakeRig = Callable[..., Rig]
LOSS_S = 0.2  # longest loss of a killed recorder; by its settings it is milliseconds, plus the delays of a busy machine
STREAMS = 6  # of each venue of the rig


def runs(short: int, long: int) -> pytest.MarkDecorator:
    """Return the short and the long form of a repeated experiment."""
    return pytest.mark.parametrize(
        "kills", [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.long)]
    )


def kill_at_random(rig: Rig, programs: list[str], kills: int) -> None:
    """Kill and restart one of the programs at random instants, mostly while it works."""
    for _ in range(kills):
        victim = rig.rng.choice(programs)
        if rig.rng.random() < 0.8:
            rig.wait_subscribed()
        rig.pause(rig.rng.uniform(0.0, 0.4))
        rig.kill(victim)
        rig.start(victim)


def losses(rig: Rig) -> list[float]:
    """Return, for each kill of a recorder, the seconds between its last stored frame and its end; assert the gaps."""
    gaps = rig.gaps()
    found = []
    for number, (program, killed) in enumerate(rig.killed):
        if program == "writer":
            continue
        at = datetime.fromtimestamp(killed, UTC)
        spans = [
            gap
            for gap in gaps
            if f"recorder-{gap['venue']}" == program
            and gap["started_at"] <= at
            and (gap["ended_at"] is None or gap["ended_at"] >= at)
        ]
        assert len({(gap["symbol"], gap["channel"]) for gap in spans}) == STREAMS, f"seed {rig.seed}: {at} {spans}"
        earlier = max((when for name, when in rig.killed[:number] if name == program), default=0.0)
        starts = [gap["started_at"].timestamp() for gap in spans if gap["cause"] == "restart"]
        found += [killed - start for start in starts if start > earlier]
    return found


@pytest.mark.timeout(1200)
@runs(short=4, long=200)
def test_a_recorder_killed_at_random_points_declares_what_it_missed(
    kills: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    kill_at_random(rig, rig.recorders, kills)
    report = rig.prove()
    assert rig.stored("quarantine") == 0
    assert sum(check.declared for check in report.streams) > 0
    lost = losses(rig)
    assert lost
    assert max(lost) <= LOSS_S, f"seed {rig.seed}: {sorted(lost)[-10:]}"


@pytest.mark.timeout(1200)
@runs(short=3, long=200)
def test_a_writer_killed_at_random_points_costs_nothing(kills: int, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    before = rig.number("SELECT count(*) FROM gap")
    kill_at_random(rig, ["writer"], kills)
    report = rig.prove()
    assert rig.number("SELECT count(*) FROM gap") == before
    assert not any(check.declared for check in report.streams)
    assert all(check.sent == check.stored for check in report.streams)


@pytest.mark.timeout(1200)
@runs(short=3, long=200)
def test_recorders_and_writer_killed_together_still_account_for_everything(
    kills: int, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database).up()
    kill_at_random(rig, rig.programs, kills)
    rig.wait_subscribed()
    for program in rig.programs:  # all at the same moment
        rig.kill(program)
    for program in rig.programs:
        rig.start(program)
    rig.prove()
    assert max(losses(rig)) <= LOSS_S


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "loaded",
    [
        pytest.param(True, id="rows are in Postgres"),
        pytest.param(False, id="rows are only in the journal", marks=pytest.mark.long),
    ],
)
@runs(short=2, long=40)
def test_a_journal_cut_at_a_random_byte_loses_only_what_was_behind_the_cut(
    kills: int, loaded: bool, make_rig: MakeRig, database: str
) -> None:
    """A power cut removes the bytes since the last sync, whether or not they were loaded."""
    rig = make_rig(database, venues=["kraken"]).up()
    program = "recorder-kraken"
    rig.kill(program)
    rig.start(program)  # so that the last segment follows one that lists the recorded streams
    for _ in range(kills):
        rig.wait_subscribed()
        if not loaded and "writer" in rig.processes:
            rig.kill("writer")
        rig.pause(rig.rng.uniform(0.1, 0.5))
        if loaded:
            rig.wait("all of it is loaded", lambda: rig.stored("gap") > 0 and rig.loaded())
        rig.kill(program)
        folder = rig.journals / program
        path = segment_path(folder, segments(folder)[-1])
        os.truncate(path, rig.rng.randrange(path.stat().st_size))
        rig.start(program)
    if not loaded:
        rig.start("writer")
    report = rig.prove()
    assert sum(check.declared for check in report.streams) > 0 or loaded


def test_a_second_recorder_or_writer_is_refused_and_the_first_continues(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=["kraken"]).up()
    twin = rig.spawn("recorder-kraken")
    assert twin.wait(15) == 2
    assert "recorder-kraken is already recording" in rig.log("recorder-kraken")
    second_writer = rig.spawn("writer")
    try:
        rig.wait("the second writer has found the journal locked", lambda: "journal.locked" in rig.log("writer"))
        rig.prove()
    finally:
        second_writer.kill()
        second_writer.wait(10)


def test_a_clean_stop_and_start_keeps_everything_up_to_the_stop(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database).up()
    for program in rig.programs:
        assert rig.stop(program) == 0, rig.log(program)[-2000:]
    for program in rig.programs:
        rig.start(program)
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"restart"}
