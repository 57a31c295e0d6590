"""Sessions whose end is known in advance: the next session takes over first, and nothing is missing in between."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from support.fault_rig import Rig

from recorder.journal.reader import JournalReader
from recorder.replay.redecode import RedecodedBlock, redecode
from recorder.simulator.build import VENUES
from recorder.venues import venue_class

MakeRig = Callable[..., Rig]

# The action that announces the end of a session some seconds in advance.
ANNOUNCED: dict[str, tuple[str, dict[str, Any]]] = {
    "binance": ("session_end", {"lead_s": 6.0}),
    "okx": ("upgrade", {"lead_s": 6.0}),
    "bitfinex": ("restart", {"grace_s": 6.0}),
}


def hang_up(rig: Rig, venue: str) -> None:
    """Request new sessions, and wait until they have taken over."""
    program = f"recorder-{venue}"
    before = rig.log(program).count("link.took_over")
    os.kill(rig.processes[program].pid, signal.SIGHUP)
    rig.wait("a session took over", lambda: rig.log(program).count("link.took_over") > before)


def differences(rig: Rig, venue: str) -> list[str]:
    """Return the blocks of the journal whose frames do not decode to their rows."""
    reader = JournalReader(rig.journals / f"recorder-{venue}")
    try:
        blocks = list(redecode(reader, venue_class(venue)().decoder, 0, None))
    finally:
        reader.close()
    assert any(isinstance(block, RedecodedBlock) and block.frames for block in blocks)
    return [
        f"{block.position}: {block.diffs} {block.undecodable}" if isinstance(block, RedecodedBlock) else str(block)
        for block in blocks
        if not isinstance(block, RedecodedBlock) or block.differs
    ]


# On a busy machine the old session may read a message only after the new one has taken over: a gap of seconds says so.
# A trade that the new session brings first opens a gap, which the trades of the old one fill: it is healed.
UNEXCUSED = """
SELECT count(*) FROM gap
 WHERE state <> 'healed' AND (cause <> 'overtaken' OR ended_at - started_at > interval '5 s')"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", sorted(VENUES))
def test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    gaps = rig.number(UNEXCUSED)
    for _ in range(2):
        hang_up(rig, venue)
    rig.prove()
    assert rig.number(UNEXCUSED) == gaps, rig.gaps()
    ends = rig.query("SELECT end_reason, count(*) FROM session GROUP BY end_reason")
    assert dict(ends) == {None: 1, "handed over": 2}
    assert differences(rig, venue) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", sorted(ANNOUNCED))
def test_a_session_end_that_the_venue_announces_leaves_no_gap(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    gaps = rig.number(UNEXCUSED)
    action, arguments = ANNOUNCED[venue]
    rig.do(venue, action, **arguments)
    rig.wait("a session took over", lambda: "link.took_over" in rig.log(f"recorder-{venue}"))
    rig.pause(6.0)  # until the end that was announced
    rig.prove()
    assert rig.number(UNEXCUSED) == gaps, rig.gaps()


@pytest.mark.timeout(300)
def test_the_old_session_continues_while_the_venue_refuses_a_new_one(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    gaps = rig.number(UNEXCUSED)
    rig.do("kraken", "refuse_handshake", status=503, times=3)
    hang_up(rig, "kraken")
    rig.prove()
    assert "HTTP 503" in rig.log("recorder-kraken")
    assert rig.number(UNEXCUSED) == gaps, rig.gaps()


@pytest.mark.timeout(300)
def test_an_old_session_that_dies_before_the_new_one_is_there_leaves_a_declared_gap(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=("coinbase",)).up()
    rig.do("coinbase", "refuse_handshake", status=503, times=4)
    os.kill(rig.processes["recorder-coinbase"].pid, signal.SIGHUP)
    rig.wait("the new one is refused", lambda: "HTTP 503" in rig.log("recorder-coinbase"))
    rig.do("coinbase", "close")
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
    rig.wait_live()


@pytest.mark.timeout(300)
def test_a_new_session_that_dies_during_its_takeover_costs_only_what_it_received(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    program = "recorder-kraken"
    rig.do("kraken", "freeze", channel="book")
    os.kill(rig.processes[program].pid, signal.SIGHUP)
    rig.wait("the new one is up", lambda: rig.log(program).count("link.up") == 2)
    newest = max(rig.venues["kraken"].venue.clients)
    rig.do("kraken", "close", connection=newest)
    rig.do("kraken", "heal")
    rig.wait("another took over", lambda: "link.took_over" in rig.log(program))
    rig.prove()
    assert differences(rig, "kraken") == []
