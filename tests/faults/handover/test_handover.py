"""A recorder is replaced by a new process under load: nothing is missing or stored twice, whoever is killed."""

import time
from collections.abc import Callable, Sequence

import pytest
from support.fault_rig import Rig
from support.machine.slow_relay import SlowRelay

from recorder.journal.reader import JournalReader
from recorder.process.slots import HANDED_OVER
from recorder.replay.redecode import RedecodedBlock, redecode
from recorder.simulator.build import VENUES
from recorder.venues import venue_class

MakeRig = Callable[..., Rig]
ALL = sorted(VENUES)
QUICK = ("kraken", "okx")
GAPS = "SELECT count(*) FROM gap"
QUOTES_TWICE = """
SELECT count(*) FROM (
    SELECT instrument_id, ts_event, sequence, bid, bid_size, ask, ask_size FROM quote WHERE ts_event IS NOT NULL
     GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING count(DISTINCT session_id) > 1
) AS twice"""


def replays(rig: Rig, program: str, venue: str) -> list[str]:
    """Return the blocks of a journal whose frames do not decode to their rows."""
    reader = JournalReader(rig.journals / program)
    try:
        blocks = list(redecode(reader, venue_class(venue)().decoder, 0, None))
    finally:
        reader.close()
    assert any(isinstance(block, RedecodedBlock) and block.frames for block in blocks)
    return [
        f"{program} {block.position}: {block.diffs} {block.undecodable}"
        if isinstance(block, RedecodedBlock)
        else str(block)
        for block in blocks
        if not isinstance(block, RedecodedBlock) or block.differs
    ]


def prove_no_gap(rig: Rig, gaps: int, venues: Sequence[str]) -> None:
    report = rig.prove(60.0)
    assert report.doubled_ids == 0
    assert rig.number(GAPS) == gaps, rig.gaps()
    for venue in venues:
        for program in (f"recorder-{venue}", f"recorder-{venue}-b"):
            assert replays(rig, program, venue) == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize("venue", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.long) for name in ALL])
def test_a_new_process_takes_over_under_load_and_another_one_back(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    gaps = rig.number(GAPS)
    for _ in range(2):
        rig.hand_over(f"recorder-{venue}")
    prove_no_gap(rig, gaps, (venue,))
    assert rig.number(QUOTES_TWICE) == 0
    ends = rig.query("SELECT end_reason, count(*) FROM session GROUP BY end_reason")
    assert dict(ends) == {None: 1, "handed over": 2}


@pytest.mark.timeout(400)
def test_a_successor_that_never_becomes_live_leaves_the_old_process_recording(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    gaps = rig.number(GAPS)
    rig.do("kraken", "refuse_handshake", status=503, times=1000)
    old, new = rig.begin_handover("recorder-kraken", 30.0)
    rig.wait("the new one is refused", lambda: "HTTP 503" in rig.log(new))
    ending = rig.processes.pop(new)
    assert rig.slots("recorder-kraken").end(), "the command ends it"
    assert ending.wait(60) == 1
    rig.prove()
    assert rig.recorders == [old]
    assert rig.number(GAPS) == gaps, rig.gaps()
    rig.start(new)
    ending = rig.processes.pop(new)
    assert ending.wait(60) == HANDED_OVER, "started again, it finds that it is not wanted"


@pytest.mark.timeout(400)
def test_a_successor_that_receives_late_waits_until_it_has_caught_up(make_rig: MakeRig, database: str) -> None:
    """What the old process stores has not come to it yet, so nothing would show which rows both have."""
    rig = make_rig(database, venues=("kraken",)).up()
    gaps = rig.number(GAPS)
    with SlowRelay(rig.venues["kraken"].url, lag_s=6.0) as relay:
        rig.redirect("kraken", relay.url)
        old, new = rig.begin_handover("recorder-kraken")
        rig.wait("it is late", lambda: "s behind" in getattr(rig.health(new), "detail", ""), 60.0)
        assert rig.recorders == [old]
        relay.lag_s = 0.2
        ending = rig.processes.pop(old)
        rig.wait("it takes over", lambda: rig.recorders == [new], 60.0)
        assert ending.wait(20) == HANDED_OVER
        prove_no_gap(rig, gaps, ("kraken",))
        assert rig.number(QUOTES_TWICE) == 0


@pytest.mark.timeout(400)
def test_a_successor_killed_while_it_waits_leaves_no_trace(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    gaps = rig.number(GAPS)
    old, new = rig.begin_handover("recorder-kraken")
    rig.wait("it is connected", lambda: "link.up" in rig.log(new), 60.0)
    rig.kill(new)
    assert rig.slots("recorder-kraken").end()
    rig.prove()
    assert rig.recorders == [old]
    assert rig.number(GAPS) == gaps, rig.gaps()


@pytest.mark.timeout(400)
def test_an_old_process_killed_while_its_successor_waits_costs_its_usual_gap(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    rig.do("kraken", "refuse_handshake", status=503, times=30)
    old, new = rig.begin_handover("recorder-kraken")
    rig.wait("the new one is refused", lambda: "HTTP 503" in rig.log(new), 60.0)
    rig.kill(old)
    rig.start(old)
    assert rig.processes.pop(new).wait(60) == 1
    rig.do("kraken", "heal")
    rig.start(new)  # as supervisord does
    ending = rig.processes.pop(old)
    rig.wait("the new one records", lambda: rig.recorders == [new], 90.0)
    assert ending.wait(20) == HANDED_OVER
    rig.prove(60.0)
    # What the old process had not read when the new one subscribed is declared, too.
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart", "overtaken"}


@pytest.mark.timeout(400)
def test_a_successor_begins_again_when_the_old_process_does(make_rig: MakeRig, database: str) -> None:
    """The old process was killed; its next one does not know which rows were stored that the successor holds.

    Binance answers a subscription with no quote, which a successor that ends would have received alone.
    """
    rig = make_rig(database, venues=("binance",)).up()
    old, new = rig.begin_handover("recorder-binance")
    rig.wait("the successor holds rows", lambda: getattr(rig.health(new), "detail", "").endswith("ready"), 60.0)
    rig.kill(old)
    rig.start(old)
    assert rig.processes.pop(new).wait(60) == 1
    assert "started again" in rig.log(new)
    rig.start(new)  # as supervisord does
    ending = rig.processes.pop(old)
    rig.wait("it takes over", lambda: rig.recorders == [new], 90.0)
    assert ending.wait(20) == HANDED_OVER
    rig.prove(60.0)
    assert rig.number(QUOTES_TWICE.replace("ts_event IS", "sequence IS")) == 0


@pytest.mark.timeout(400)
def test_an_accepted_offer_without_a_continuation_costs_the_usual_gap(make_rig: MakeRig, database: str) -> None:
    """The successor is killed between its acceptance and its first block; supervisord starts it again."""
    rig = make_rig(database, venues=("kraken",)).up()
    slots = rig.slots("recorder-kraken")
    old = rig.processes.pop("recorder-kraken")
    assert slots.want("b", time.time() + 60.0, None)
    assert slots.ask("b", "token")
    rig.wait("it is offered", lambda: slots.read().phase == "given")
    assert slots.accept("b", "token")
    assert old.wait(20) == HANDED_OVER
    rig.start("recorder-kraken-b")
    rig.wait_live(60.0)
    rig.prove(60.0)
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart"}
    assert rig.gaps("cause = 'restart'"), "what came between the two is declared"


@pytest.mark.long
@pytest.mark.timeout(400)
def test_an_offer_that_is_not_accepted_is_taken_back(make_rig: MakeRig, database: str) -> None:
    """The successor is killed after it asked; the old process starts again and continues."""
    rig = make_rig(database, venues=("kraken",)).up()
    slots = rig.slots("recorder-kraken")
    old = rig.processes.pop("recorder-kraken")
    assert slots.want("b", time.time() + 60.0, None)
    assert slots.ask("b", "token")
    assert old.wait(60) == 1
    assert not slots.accept("b", "token")
    rig.start("recorder-kraken")
    rig.wait_live(60.0)
    rig.prove(60.0)
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart"}


@pytest.mark.timeout(400)
def test_a_successor_that_starts_again_frees_the_recorder_that_waits_for_it(make_rig: MakeRig, database: str) -> None:
    """It was killed after it asked; the old process must not wait for the dead one while nothing is recorded."""
    rig = make_rig(database, venues=("kraken",)).up()
    slots = rig.slots("recorder-kraken")
    old = rig.processes.pop("recorder-kraken")
    assert slots.want("b", time.time() + 60.0, None)
    assert slots.ask("b", "token")
    rig.wait("it is offered", lambda: slots.read().phase == "given")
    rig.start("recorder-kraken-b")
    assert old.wait(12) == 1  # an offer that is left alone stands for 20 s
    assert rig.processes.pop("recorder-kraken-b").wait(30) == HANDED_OVER
    rig.start("recorder-kraken")
    rig.wait_live(60.0)
    rig.prove(60.0)
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart"}


@pytest.mark.timeout(400)
def test_a_process_killed_while_it_offers_starts_again_and_is_asked_again(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    slots = rig.slots("recorder-kraken")
    assert slots.want("b", time.time() + 60.0, None)
    assert slots.ask("b", "token")
    rig.wait("it is offered", lambda: slots.read().phase == "given")
    rig.kill("recorder-kraken")
    rig.start("recorder-kraken")
    rig.wait("the offer is taken back", lambda: not slots.read().phase)
    assert not slots.accept("b", "token")
    rig.wait_live(60.0)
    rig.prove(60.0)
    rig.hand_over("recorder-kraken")
    rig.prove(60.0)
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart"}


@pytest.mark.timeout(400)
def test_a_new_process_killed_after_it_took_over_costs_its_usual_gap(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    rig.hand_over("recorder-kraken")
    rig.kill("recorder-kraken-b")
    rig.start("recorder-kraken-b")
    rig.wait_live(60.0)
    rig.prove(60.0)
    assert {gap["cause"] for gap in rig.gaps("state <> 'healed'")} <= {"restart"}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_venues_are_handed_over_one_after_another_under_load(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=ALL, rate=300.0).up()
    gaps = rig.number(GAPS)
    for venue in ALL:
        rig.hand_over(f"recorder-{venue}")
    prove_no_gap(rig, gaps, ())
