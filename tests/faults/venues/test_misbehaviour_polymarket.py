"""The faults that only Polymarket has, and the exact effect of each on the recording."""

from collections.abc import Callable

import pytest
from support.fault_rig import Rig

MakeRig = Callable[..., Rig]


def sessions(rig: Rig) -> int:
    return rig.number("SELECT count(*) FROM session")


@pytest.mark.timeout(300)
def test_equal_prints_and_another_tick_size_do_not_change_the_rows(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    token = rig.symbols["polymarket"][0]
    twice = """SELECT count(*) FROM (SELECT FROM trade
        GROUP BY instrument_id, ts_event, price, size, aggressor, venue_trade_id HAVING count(*) = 2) AS twins"""
    before = rig.number(twice)
    rig.do("polymarket", "equal_prints", times=40, symbol=token)
    rig.wait("equal prints are stored, each with its own id", lambda: rig.number(twice) >= before + 30)
    rig.do("polymarket", "tick_size", symbol=token)
    books = rig.stored("book")
    rig.wait("books are stored", lambda: rig.stored("book") > books + 100)
    rig.prove()
    assert rig.gaps() == []
    assert sessions(rig) == 1


@pytest.mark.timeout(300)
def test_a_book_that_does_not_come_is_requested_again(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    rig.do("polymarket", "bookless", symbol=rig.symbols["polymarket"][0])
    rig.do("polymarket", "close")
    rig.wait("it did not come", lambda: not rig.venues["polymarket"].venue.faults.rules)
    rig.prove()
    ended = rig.gaps("channel = 'book' AND cause = 'disconnect' AND ended_at IS NOT NULL")
    assert {gap["symbol"] for gap in ended} == set(rig.symbols["polymarket"])


@pytest.mark.timeout(300)
def test_an_open_connection_without_data_is_replaced(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    rig.do("polymarket", "silence")
    rig.wait("another session brings data", lambda: sessions(rig) == 2, 60.0)
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
