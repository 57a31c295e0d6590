"""The faults that only Coinbase Advanced Trade has, and the exact effect of each on the recording."""

from collections.abc import Callable
from typing import Any

import pytest
from support.fault_rig import CHANNELS, Rig

MakeRig = Callable[..., Rig]


def sessions(rig: Rig) -> int:
    return rig.number("SELECT count(*) FROM session")


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("action", "arguments"), [("sequence_hole", {"missing": 2}), ("repeat_sequence", {"times": 1})]
)
def test_a_broken_sequence_of_a_connection_is_a_gap_of_all_its_streams_and_a_new_session(
    action: str, arguments: dict[str, Any], make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=("coinbase_advanced",)).up()
    rig.do("coinbase_advanced", action, **arguments)
    rig.wait("another session began", lambda: sessions(rig) == 2)
    rig.prove()
    gaps = rig.gaps()
    streams = {(symbol, channel) for symbol in rig.symbols["coinbase_advanced"] for channel in CHANNELS}
    broken = [gap for gap in gaps if gap["cause"] == "sequence"]
    assert {(gap["symbol"], gap["channel"]) for gap in broken} == streams
    # Data read together with the break ended some of these gaps; these streams get another with the connection.
    assert {gap["cause"] for gap in gaps} <= {"sequence", "disconnect"}
    assert {gap["venue"] for gap in gaps} == {"coinbase"}  # both APIs share the instruments of coinbase


@pytest.mark.timeout(300)
def test_a_snapshot_of_five_megabytes_is_stored_completely(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("coinbase_advanced",)).up()
    rig.do("coinbase_advanced", "deep_book")
    rig.do("coinbase_advanced", "close")
    deep = "SELECT count(*) FROM book WHERE kind = 's' AND cardinality(bids) + cardinality(asks) > 45000"
    rig.wait("both books are stored", lambda: rig.number(deep) == 2)
    rig.prove()
    assert rig.stored("quarantine") == 0
