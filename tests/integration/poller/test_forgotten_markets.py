"""Markets that ended are asked for after their memory was lost: they are read from the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from support.batches import HandPart, batch
from support.poller.polymarket_rounds import GivenRound, intake
from support.venues.polymarket import CONDITION, HOUR_NS, NO, NOW_NS, YES, iso, market

from recorder.clock import ManualClock
from recorder.errors import StoreError
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.polled import encode_rows
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.labels import RECHECK_NS, Label
from recorder.poller.polymarket.resolving import Forgotten, Resolutions
from recorder.poller.polymarket.rows import market_row, resolution_row
from recorder.position import Position
from recorder.store.loader import Store

UP = (1_000_000, 0)


@dataclass
class Rig:
    """A database with markets, and a poller that knows none of them."""

    url: str
    clock: ManualClock
    markets: Intake
    end: Position | None = None

    def load(self, table: str, *rows: Sequence[object]) -> None:
        store = Store(self.url)
        try:
            self.end = store.load(
                batch(self.end, [HandPart(table, COLUMNS[table], len(rows), encode_rows(table, rows))])
            ).end
        finally:
            store.close()

    def read(self) -> str:
        """Run the job, and return what it says."""
        handler = Forgotten(self.markets, lambda: self.url, self.clock)
        return handler.run(GivenRound(self.clock, nothing)).detail

    def asked(self) -> str:
        """Run the job of labels, and return what it asked for."""
        round_ = GivenRound(self.clock, nothing)
        Resolutions(self.markets, self.clock).run(round_)
        return " ".join(round_.asked)


def nothing(_service: str, _path: str) -> tuple[int, bytes]:
    return 200, b'{"data": []}'


@pytest.fixture
def rig(database: str) -> Rig:
    return Rig(database, ManualClock(NOW_NS + HOUR_NS), intake())


def number(one: int, **changes: Any) -> tuple[object, ...]:
    """Return a row of a market with its own ids."""
    ids: dict[str, Any] = {"id": str(one), "conditionId": f"0x{one:064x}", "clobTokenIds": f'["{one}1", "{one}2"]'}
    return market_row(market(**ids | changes), NOW_NS, 1)


def test_markets_that_ended_and_have_no_label_are_asked_for(rig: Rig) -> None:
    rig.load(
        "market",
        number(1, closed=True),
        number(2, umaResolutionStatus="proposed"),
        number(3, endDate=iso(NOW_NS)),
        number(4),  # open, and its end is ahead
        number(5, closed=True, volumeNum=20),  # not chosen
        number(6, closed=True, negRiskOther=True),
        number(7, closed=True),  # labelled
        number(8, closed=True, clobTokenIds="[]"),
    )
    label = Label(UP, ("clob",), NOW_NS, None, {"clob": b"{}"})
    rig.load("resolution", resolution_row(7, f"0x{7:064x}", label, NOW_NS, NOW_NS + 1000, 1))
    assert rig.read() == "3 cases were forgotten"
    asked = rig.asked()
    assert [one for one in range(1, 9) if f"0x{one:064x}" in asked] == [1, 2, 3]
    assert rig.read() == "nothing due", "they have their cases now"


def test_a_market_that_was_not_seen_for_two_weeks_is_left(rig: Rig) -> None:
    rig.load("market", number(1, closed=True))
    rig.clock.advance(14 * 86_400)
    assert rig.read() == "nothing due"


def test_a_label_is_looked_at_again_although_its_case_was_lost(rig: Rig) -> None:
    label = Label(UP, ("clob",), NOW_NS, None, {"clob": b"{}"})
    rig.load("market", market_row(market(closed=True), NOW_NS, 1))
    rig.load("resolution", resolution_row(1557558, CONDITION, label, NOW_NS, None, 5))
    assert rig.read() == "1 cases were forgotten"
    assert rig.asked() == "", "72 hours are not over"
    case = rig.markets.cases.get(CONDITION)
    assert case is not None
    assert (case.payouts, case.labelled_ns, case.revision, case.tokens) == (UP, NOW_NS, 5, (YES, NO))
    rig.clock.advance(RECHECK_NS / 1e9)
    assert CONDITION in rig.asked()


def test_a_database_that_is_away_fails_the_round_and_nothing_else(rig: Rig) -> None:
    gone = Forgotten(rig.markets, lambda: "postgresql://tapedeck@127.0.0.1:1/tapedeck", rig.clock)
    with pytest.raises(StoreError):
        gone.run(GivenRound(rig.clock, nothing))
    assert len(rig.markets.cases) == 0
