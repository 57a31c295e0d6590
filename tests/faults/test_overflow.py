"""More streams than the connections of a recorder can carry."""

from collections.abc import Callable

import pytest
from support.fault_rig import CHANNELS, Rig

from recorder.venues.bitfinex.stream import Bitfinex

MakeRig = Callable[..., Rig]


@pytest.mark.timeout(120)
def test_streams_that_do_not_fit_are_refused_declared_and_recorded_once_there_is_room(
    make_rig: MakeRig, database: str
) -> None:
    first, least = "tBTCUSD", "tETHUSD"
    few = {"venues.bitfinex": {"max_links": 1}}
    rig = make_rig(database, venues=["bitfinex"], symbols={"bitfinex": (first,)}, settings=few)
    fitting = Bitfinex.limits.streams_per_link // len(CHANNELS)
    others = [f"tAA{number}USD" for number in range(fitting - 1)]  # with these, one symbol is too many
    for priority, symbol in enumerate((least, *others, first)):
        for channel in CHANNELS:
            rig.query("INSERT INTO subscription VALUES ('bitfinex', %s, %s, true, %s)", symbol, channel, priority)
    for program in rig.programs:
        rig.start(program)
    refused = "cause = 'overflow' AND ended_at IS NULL"
    rig.wait("it is declared", lambda: len(rig.gaps(refused)) == len(CHANNELS))
    assert {(gap["symbol"], gap["channel"]) for gap in rig.gaps(refused)} == {(least, one) for one in CHANNELS}
    assert "streams.unplaced" in rig.log("recorder-bitfinex")
    rig.wait("health says so", lambda: "do not fit" in getattr(rig.health("recorder-bitfinex"), "detail", ""))
    assert rig.metrics("recorder-bitfinex")["unplaced"] == len(CHANNELS)
    sessions = rig.number("SELECT count(DISTINCT session_id) FROM session")
    rig.query("UPDATE subscription SET active = false WHERE symbol = %s", others[0])
    rig.wait("it is taken up", lambda: not rig.gaps(refused))
    rows = "SELECT count(*) FROM trade JOIN instrument USING (instrument_id) WHERE symbol = %s"
    rig.wait("and recorded", lambda: rig.query(rows, least)[0][0] > 0)
    assert rig.number("SELECT count(DISTINCT session_id) FROM session") == sessions  # no other stream was disturbed
