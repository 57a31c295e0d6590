"""Sessions whose end is known beforehand: the next one takes over first, and nothing is missing in between."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from rig import Rig

from recorder.journal_reader import JournalReader
from recorder.replay import Redone, redo
from recorder.simulator.build import VENUES
from recorder.venues import venue_class

MakeRig = Callable[..., Rig]

# What announces the end of a session, seconds before it comes.
ANNOUNCED: dict[str, tuple[str, dict[str, Any]]] = {
    "binance": ("session_end", {"lead_s": 6.0}),
    "okx": ("upgrade", {"lead_s": 6.0}),
    "bitfinex": ("restart", {"grace_s": 6.0}),
}


def hang_up(rig: Rig, venue: str) -> None:
    """Ask for new sessions, and wait until they have taken over."""
    program = f"recorder-{venue}"
    before = rig.log(program).count("link.took_over")
    os.kill(rig.processes[program].pid, signal.SIGHUP)
    rig.wait("a session took over", lambda: rig.log(program).count("link.took_over") > before)


def differences(rig: Rig, venue: str) -> list[str]:
    """Blocks of the journal that decode to anything else than they hold."""
    reader = JournalReader(rig.journals / f"recorder-{venue}")
    try:
        blocks = list(redo(reader, venue_class(venue)().session, 0, None))
    finally:
        reader.close()
    assert any(isinstance(block, Redone) and block.frames for block in blocks)
    return [
        f"{block.position}: {block.diffs} {block.unread}" if isinstance(block, Redone) else str(block)
        for block in blocks
        if not isinstance(block, Redone) or block.differs
    ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", sorted(VENUES))
def test_a_session_replaced_under_load_leaves_no_gap_and_a_replay_finds_the_same_rows(
    venue: str, make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    gaps = rig.number("SELECT count(*) FROM gap")
    for _ in range(2):
        hang_up(rig, venue)
    rig.prove()
    assert rig.number("SELECT count(*) FROM gap") == gaps
    ends = rig.query("SELECT end_reason, count(*) FROM session GROUP BY end_reason")
    assert dict(ends) == {None: 1, "handed over": 2}
    assert differences(rig, venue) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("venue", sorted(ANNOUNCED))
def test_an_end_the_venue_announces_is_forestalled(venue: str, make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=(venue,)).up()
    gaps = rig.number("SELECT count(*) FROM gap")
    action, arguments = ANNOUNCED[venue]
    rig.do(venue, action, **arguments)
    rig.wait("a session took over", lambda: "link.took_over" in rig.log(f"recorder-{venue}"))
    rig.pause(6.0)  # until the end that was announced
    rig.prove()
    assert rig.number("SELECT count(*) FROM gap") == gaps


@pytest.mark.timeout(300)
def test_the_old_session_goes_on_while_the_venue_lets_no_new_one_in(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("kraken",)).up()
    gaps = rig.number("SELECT count(*) FROM gap")
    rig.do("kraken", "refuse_handshake", status=503, times=3)
    hang_up(rig, "kraken")
    rig.prove()
    assert "HTTP 503" in rig.log("recorder-kraken")
    assert rig.number("SELECT count(*) FROM gap") == gaps


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
def test_a_new_session_that_dies_while_it_takes_over_costs_only_what_it_had_taken(
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
