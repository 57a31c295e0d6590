"""The job that asks how markets ended: two sources, one for 24 hours, contradictions, and the second look."""

import json
from typing import Any

import pytest
from support.poller.polymarket_rounds import Answers, GivenRound, intake
from support.venues.polymarket import CONDITION, HOUR_NS, NO, NOW_NS, YES, gamma_body, gamma_row, market

from recorder.clock import ManualClock
from recorder.poller.job import Kept
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.resolving import Resolutions

END_NS = NOW_NS + 2 * HOUR_NS
WON, LOST, HALF = (1_000_000, 0), (0, 1_000_000), (500_000, 500_000)


class Services:
    """The Data API and the CLOB, with what they say of one market; None: they do not know."""

    def __init__(self, condition: str = CONDITION) -> None:
        self.condition = condition
        self.resolution: dict[str, Any] | None = None
        self.prices: tuple[float, float] | None = None
        self.winner: str | None = None

    def resolved(self, *payouts: int) -> None:
        """Let /v2/resolutions say that it is resolved."""
        self.resolution = {"status": "resolved", "payouts": payouts, "resolved_at": "2026-09-21T17:00:00Z"}

    def __call__(self, service: str, path: str) -> tuple[int, bytes]:
        """Answer a request."""
        if service == "clob":
            tokens = [{"token_id": token, "winner": token == self.winner} for token in (YES, NO)]
            body: object = {"condition_id": self.condition, "closed": self.winner is not None, "tokens": tokens}
            return 200, json.dumps(body).encode()
        if path.startswith("/v2/tokens"):
            rows = [
                {"token_id": token, "condition_id": self.condition, "resolved": True, "final_price": price}
                for token, price in zip((YES, NO), self.prices or (), strict=False)
            ]
            return 200, json.dumps({"data": rows[::-1]}).encode()
        rows = [] if self.resolution is None else [{"condition_id": self.condition} | self.resolution]
        return 200, json.dumps({"data": rows}).encode()


def ended() -> tuple[ManualClock, Intake]:
    """Return a market one minute past its end, which Gamma still calls open."""
    markets = intake()
    markets.board.put(market())
    return ManualClock(END_NS + 60 * 10**9), markets


def play(clock: ManualClock, markets: Intake, answers: Answers) -> GivenRound:
    """Run one round."""
    round_ = GivenRound(clock, answers)
    Resolutions(markets, clock).run(round_)
    return round_


def labels(round_: GivenRound) -> list[tuple[object, object, object]]:
    """Return (payout_0, payout_1, sources) of the rows of resolution."""
    return [(row[2], row[3], row[4]) for row in round_.rows.get("resolution", [])]


def test_a_market_is_not_asked_for_before_its_end() -> None:
    _, markets = ended()
    clock = ManualClock(NOW_NS)
    round_ = GivenRound(clock, Services())
    assert Resolutions(markets, clock).run(round_).state == "skipped"
    assert round_.asked == []


def test_two_sources_that_agree_are_a_label_in_one_round() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (1, 0)
    round_ = play(clock, markets, services)
    assert labels(round_) == [(*WON, ("resolutions", "tokens"))]
    [row] = round_.rows["resolution"]
    assert row[:2] == (1557558, CONDITION)
    assert row[5] == 1790010000 * 10**9  # resolved_at, by the venue's clock
    raw = json.loads(str(row[9], "utf-8"))  # type: ignore[call-overload]
    assert set(raw) == {"resolutions", "tokens"}
    markets.board.retier(clock.wall_ns())
    assert markets.board.verdict(1557558) == (None, "resolution")


def test_the_clob_is_asked_where_the_token_facts_say_nothing() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*LOST)
    services.winner = NO
    assert labels(play(clock, markets, services)) == [(*LOST, ("resolutions", "clob"))]


def test_one_source_is_a_label_after_24_hours_only() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*HALF)
    found = []
    for _ in range(26):
        round_ = play(clock, markets, services)
        found.append(labels(round_))
        clock.advance(3600)
    assert found[:24] == [[]] * 24
    assert found[24] == [(*HALF, ("resolutions",))]
    assert found[25] == []


def test_sources_that_contradict_each_other_are_named_and_no_label() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (0, 1)
    for _ in range(30):
        round_ = play(clock, markets, services)
        assert labels(round_) == []
        clock.advance(3600)
    assert "resolutions says (1000000, 0); tokens says (0, 1000000)" in round_.odds[-1][1]


def test_a_proposal_and_prices_of_one_are_no_label() -> None:
    clock, markets = ended()
    services = Services()
    services.resolution = {"status": "proposed", "payouts": WON, "proposed_price": "1000000000000000000"}
    gamma = gamma_body(gamma_row(umaResolutionStatus="proposed", outcomePrices='["1", "0"]', closed=True))
    for _ in range(60):
        round_ = play(clock, markets, services)
        round_.odds.clear()
        markets.take(round_, GivenRound(clock, lambda *_: (200, gamma)).get("gamma", "/markets/keyset"))
        assert labels(round_) == []
        assert not any("/v2/tokens" in path or "clob" in path for path in round_.asked)
        clock.advance(3600)


def test_payouts_that_are_no_share_are_named_and_no_label() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(1_000_000, 1_000_000)
    services.prices = (1, 1)
    round_ = play(clock, markets, services)
    assert labels(round_) == []
    assert "do not sum" in round_.odds[0][1]


def test_gamma_is_the_second_source_where_its_row_is_final() -> None:
    clock, markets = ended()
    body = gamma_body(gamma_row(closed=True, umaResolutionStatus="resolved", outcomePrices='["0", "1"]'))
    services = Services()
    services.resolved(*LOST)
    round_ = GivenRound(clock, lambda *_: (200, body))
    markets.take(round_, round_.get("gamma", "/markets/keyset"))
    assert labels(play(clock, markets, services)) == [(*LOST, ("resolutions", "gamma"))]
    assert markets.board.finished() == [1557558]


def test_a_label_is_compared_with_its_sources_after_72_hours() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (1, 0)
    first = play(clock, markets, services)
    known_ns = clock.wall_ns()
    clock.advance(71 * 3600)
    assert play(clock, markets, services).asked == []
    clock.advance(3600)
    second = play(clock, markets, services)
    assert labels(second) == labels(first)
    [row] = second.rows["resolution"]
    assert (row[7], row[8]) == (known_ns, clock.wall_ns())
    assert row[10] > first.rows["resolution"][0][10]  # type: ignore[operator]
    assert len(markets.cases) == 0


def test_a_label_that_the_venue_corrected_replaces_the_old_one_after_72_hours() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (1, 0)
    play(clock, markets, services)
    services.resolved(*LOST)
    services.prices = (0, 1)
    clock.advance(72 * 3600)
    assert labels(play(clock, markets, services)) == [(*LOST, ("resolutions", "tokens"))]


def test_pauses_grow_to_ten_minutes_and_end_where_the_venue_expects_the_settlement() -> None:
    clock, markets = ended()
    services = Services()
    asked = []
    for second in range(0, 3600, 30):
        if play(clock, markets, services).asked:
            asked.append(second)
        clock.advance(30)
    assert asked == [0, 60, 180, 420, 900, 1500, 2100, 2700, 3300]

    services.resolution = {"status": "proposed", "expected_settlement_time": "2026-09-21T17:20:00Z"}
    clock.advance(300)  # 17:19:20
    assert play(clock, markets, services).asked
    clock.advance(69)
    assert not play(clock, markets, services).asked
    clock.advance(1)
    assert play(clock, markets, services).asked


def test_a_market_whose_end_moves_is_asked_for_no_more() -> None:
    clock, markets = ended()
    play(clock, markets, Services())
    later = market(clock.wall_ns(), endDate="2026-12-01T00:00:00Z")
    markets.board.put(later)
    clock.advance(600)
    assert play(clock, markets, Services()).asked == []


def test_a_requests_name_at_most_twenty_markets_and_a_round_has_a_limit() -> None:
    markets = intake()
    for number in range(400):
        markets.board.put(market(id=str(number), conditionId=f"0x{number:064x}"))
    clock = ManualClock(END_NS + 1)
    first = play(clock, markets, lambda *_: (200, b'{"data": []}'))
    assert [path.count("0x") for path in first.asked] == [20] * 12
    second = play(clock, markets, lambda *_: (200, b'{"data": []}'))
    assert [path.count("0x") for path in second.asked] == [20] * 8


def test_an_unknown_market_of_the_clob_is_no_error() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)

    def answers(service: str, path: str) -> tuple[int, bytes]:
        return (404, b'{"error": "market not found"}') if service == "clob" else services(service, path)

    assert labels(play(clock, markets, answers)) == []


def test_answers_that_were_kept_give_the_same_label_without_a_request() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (1, 0)
    kept = []
    recorded = GivenRound(clock, services)
    for path in (f"/v2/resolutions?condition={CONDITION}", f"/v2/tokens?token_id={YES},{NO}"):
        kept.append(recorded.get("data", path))
    markets.cases.open(market(), clock.wall_ns())
    round_ = GivenRound(clock, services)
    for answer in kept:
        Resolutions(markets, clock).take(round_, answer)
    assert labels(round_) == [(*WON, ("resolutions", "tokens"))]
    assert round_.asked == []


def test_gamma_that_takes_its_statement_back_is_no_source() -> None:
    clock, markets = ended()
    services = Services()
    play(clock, markets, services)
    final = {"closed": True, "outcomePrices": '["1","0"]', "umaResolutionStatus": "resolved"}
    reopened = {"closed": False, "outcomePrices": '["0.5","0.5"]', "umaResolutionStatus": "disputed"}
    for state in (final, reopened):
        clock.advance(60)
        body = gamma_body(gamma_row(**state))
        markets.take(GivenRound(clock, services), Kept("gamma", "/markets/keyset", b"", 200, body, clock.wall_ns(), ""))
    services.resolved(*WON)
    clock.advance(600)
    assert labels(play(clock, markets, services)) == []


def test_a_label_that_changed_is_known_since_it_changed() -> None:
    clock, markets = ended()
    services = Services()
    services.resolved(*WON)
    services.prices = (1.0, 0.0)
    (first,) = play(clock, markets, services).rows["resolution"]
    clock.advance(72 * 3600 + 60)
    changed_ns = clock.wall_ns()
    services.resolved(*LOST)
    services.prices = (0.0, 1.0)
    (second,) = play(clock, markets, services).rows["resolution"]
    assert (second[2], second[3]) == LOST
    assert second[7] == changed_ns > int(str(first[7]))


@pytest.mark.parametrize("status", [404, 422])
def test_a_market_that_the_service_refuses_costs_the_others_nothing(status: int) -> None:
    clock, markets = ended()
    conditions = [f"0x{number:064x}" for number in range(2, 21)]
    for number, condition in enumerate(conditions):
        tokens = f'["{number}0", "{number}1"]'
        markets.board.put(market(id=str(number), conditionId=condition, clobTokenIds=tokens))

    def answers(_service: str, path: str) -> tuple[int, bytes]:
        asked = path.partition("=")[2].split(",")
        if CONDITION in asked:
            return status, b"{}"
        if path.startswith("/v2/tokens"):
            rows = [{"token_id": one, "resolved": True, "final_price": float(one.endswith("0"))} for one in asked]
        else:
            rows = [{"condition_id": one, "status": "resolved", "payouts": WON} for one in asked]
        return 200, json.dumps({"data": rows}).encode()

    round_ = play(clock, markets, answers)
    assert {row[1] for row in round_.rows["resolution"]} == set(conditions)
    assert all("HTTP" in reason for _, reason in round_.odds)
    assert round_.odds


class Streamed(Services):
    """The services, and a stream that announced some markets as resolved."""

    def __init__(self, *announced: str) -> None:
        super().__init__()
        self.announced = list(announced)

    def __call__(self, service: str, path: str) -> tuple[int, bytes]:
        """Answer a request."""
        if service == "stream":
            assert path == "/market_resolved"
            found, self.announced = self.announced, []
            return 200, json.dumps(found).encode()
        return super().__call__(service, path)


def test_a_market_that_the_stream_announced_is_asked_for_before_its_end() -> None:
    _, markets = ended()
    clock, services = ManualClock(NOW_NS), Streamed(CONDITION)
    job = Resolutions(markets, clock, stream=True)
    services.resolved(*WON)
    services.prices = (1, 0)
    round_ = GivenRound(clock, services)
    assert job.run(round_).detail == "1 of 1 announced by the stream"
    assert labels(round_) == [(*WON, ("resolutions", "tokens"))]


def test_what_the_stream_announced_is_no_label_and_no_source() -> None:
    _, markets = ended()
    clock, services = ManualClock(NOW_NS), Streamed(CONDITION)
    job = Resolutions(markets, clock, stream=True)
    for _ in range(10):  # the sources know nothing yet; the market is asked for again and again
        round_ = GivenRound(clock, services)
        job.run(round_)
        assert labels(round_) == []
        clock.advance(60)
    services.resolved(*WON)
    found = []
    for _ in range(12):
        round_ = GivenRound(clock, services)
        job.run(round_)
        found += labels(round_)
        clock.advance(60)
    assert found == []  # one source, and not for 24 hours
    services.prices = (1, 0)
    for _ in range(12):
        round_ = GivenRound(clock, services)
        job.run(round_)
        found += labels(round_)
        clock.advance(60)
    assert found == [(*WON, ("resolutions", "tokens"))]


def test_an_announced_market_that_is_not_in_memory_is_left_alone() -> None:
    markets = intake()
    clock, services = ManualClock(NOW_NS), Streamed(f"0x{5:064x}")
    round_ = GivenRound(clock, services)
    assert Resolutions(markets, clock, stream=True).run(round_).state == "skipped"
    assert round_.asked == ["stream/market_resolved"]


def test_an_announcement_that_is_taken_again_after_a_kill_begins_the_same_case() -> None:
    _, markets = ended()
    clock, services = ManualClock(NOW_NS), Streamed()
    job = Resolutions(markets, clock, stream=True)
    body = json.dumps([CONDITION]).encode()
    job.take(GivenRound(clock, services), Kept("stream", "/market_resolved", b"", 200, body, NOW_NS, ""))
    assert [case.condition_id for case in markets.cases.due(NOW_NS, 10)] == [CONDITION]
