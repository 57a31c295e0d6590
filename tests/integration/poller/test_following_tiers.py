"""The job that keeps subscriptions as the tiers want them, in a real database."""

from support.poller.polymarket_rounds import Gamma, GivenRound, intake
from support.venues.polymarket import HOUR_NS, NOW_NS, gamma_row, iso

from recorder.clock import ManualClock
from recorder.instruments.subscription_store import followed, list_subscriptions, set_subscriptions
from recorder.poller.job import Outcome
from recorder.poller.polymarket.following import FollowTiers
from recorder.poller.polymarket.sweep import Sweep

CHANNELS = 3


def test_markets_join_as_their_end_comes_near_and_leave_within_ten_minutes_of_it(database: str) -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    set_subscriptions(database, "polymarket", ["10"], ["trade"], active=True)
    gamma = Gamma(
        *(
            gamma_row(
                id=str(number), clobTokenIds=f'["{number}0", "{number}1"]', conditionId=f"0x{number:064x}",
                endDate=iso(NOW_NS + round(hours * HOUR_NS)),
            )
            for number, hours in ((1, 0.5), (2, 2.0), (3, 14.0), (4, 8.0))
        )
    )  # fmt: skip
    job = FollowTiers(markets, "polymarket", lambda: database, 2, clock)

    def run() -> Outcome:
        round_ = GivenRound(clock, gamma)
        markets.board.retier(clock.wall_ns())
        return job.run(round_)

    assert run() == Outcome("skipped", "nothing due")  # a start without memory ends nothing
    Sweep(markets, clock).run(GivenRound(clock, gamma))
    assert run().detail == "0 tokens, as they are"  # no book was seen
    markets.board.books([1, 2, 3, 4], [], NOW_NS)
    assert run().detail == "4 tokens join or move, 0 leave"
    assert followed(database, "polymarket") == {"10": -1, "11": -1, "20": -2, "21": -2}
    by_hand = [row for row in list_subscriptions(database, "polymarket") if row.origin == "hand"]
    assert [(row.symbol, row.channel, row.priority) for row in by_hand] == [("10", "trade", 0)]
    assert run().detail == "4 tokens, as they are"

    clock.advance(1.2 * 3600)  # the first is past its end, the second ends within an hour
    Sweep(markets, clock).run(GivenRound(clock, gamma))
    gamma.rows["1"]["closed"] = True
    gamma.rows["2"]["volumeNum"] = 6000  # it trades
    clock.advance(60)
    Sweep(markets, clock).run(GivenRound(clock, gamma))
    assert run().detail == "4 tokens join or move, 2 leave"
    assert followed(database, "polymarket") == {"20": -1, "21": -1, "40": -3, "41": -3}
    assert [row.symbol for row in list_subscriptions(database, "polymarket") if row.origin == "hand"] == ["10"]
