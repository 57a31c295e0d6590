"""What only Polymarket can do wrong, and what exactly the recorder makes of it."""

from collections.abc import Callable

import pytest
from rig import Rig

MakeRig = Callable[..., Rig]


def sessions(rig: Rig) -> int:
    return rig.number("SELECT count(*) FROM session")


@pytest.mark.timeout(300)
def test_shapes_of_the_past_equal_prints_and_another_tick_size_change_nothing_in_what_is_stored(
    make_rig: MakeRig, database: str
) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    token = rig.symbols["polymarket"][0]
    twice = """SELECT count(*) FROM (SELECT FROM trade
        GROUP BY instrument_id, ts_event, price, size, aggressor, venue_trade_id HAVING count(*) = 2) AS twins"""
    before = rig.number(twice)
    rig.do("polymarket", "equal_prints", times=40, symbol=token)
    rig.wait("equal prints are stored, each with its own id", lambda: rig.number(twice) >= before + 30)
    for shape in ("changes", "single", "price_changes"):
        rig.do("polymarket", "shape", shape=shape)
        books = rig.stored("book")
        rig.wait(f"books of {shape} are stored", lambda books=books: rig.stored("book") > books + 100)  # type: ignore[misc]
    rig.do("polymarket", "tick_size", symbol=token)
    rig.prove()
    assert rig.gaps() == []
    assert sessions(rig) == 1


@pytest.mark.timeout(300)
def test_a_book_that_does_not_come_is_asked_for_anew(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    rig.do("polymarket", "bookless", symbol=rig.symbols["polymarket"][0])
    rig.do("polymarket", "close")
    rig.wait("it did not come", lambda: not rig.venues["polymarket"].venue.mischief.rules)
    rig.prove()
    ended = rig.gaps("channel = 'book' AND cause = 'disconnect' AND ended_at IS NOT NULL")
    assert {gap["symbol"] for gap in ended} == set(rig.symbols["polymarket"])


@pytest.mark.timeout(300)
def test_a_connection_that_lives_and_brings_nothing_is_left(make_rig: MakeRig, database: str) -> None:
    rig = make_rig(database, venues=("polymarket",)).up()
    rig.do("polymarket", "silence")
    rig.wait("another session brings data", lambda: sessions(rig) == 2, 60.0)
    rig.prove()
    assert {gap["cause"] for gap in rig.gaps()} == {"disconnect"}
