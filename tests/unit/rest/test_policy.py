"""Budget, circuit breaker and retry rules, with a clock that stands still."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.backoff import WAIT_MAX_S
from recorder.clock import ManualClock
from recorder.rest.policy import Breaker, Budget, is_passing
from recorder.venues import VENUES
from recorder.venues.base import RestLimits

LIMITS = RestLimits(per_s=1, burst=1)


def test_a_budget_lets_the_burst_go_at_once_and_then_one_by_one() -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=2, burst=3), clock)
    assert [budget.take("/x") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    clock.advance(0.5)
    assert [budget.take("/x") for _ in range(2)] == [0.0, 0.5]


def test_an_expensive_request_waits_until_the_bucket_holds_its_units() -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=25, burst=300, weights=((r"/depth", 250),)), clock)
    assert budget.take("/depth?symbol=A") == 0.0
    assert budget.take("/depth?symbol=B") == pytest.approx(8.0)
    clock.advance(8.0)
    assert budget.take("/depth?symbol=B") == 0.0


def test_a_request_larger_than_the_bucket_goes_when_it_is_full_and_leaves_a_debt() -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=1, burst=10, weights=((r"/dear", 30),)), clock)
    assert budget.take("/dear") == 0.0
    assert budget.take("/cheap") == pytest.approx(21.0)


def test_a_pause_the_venue_asked_for_holds_although_units_are_left() -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=1, burst=10), clock)
    budget.pause(30)
    budget.pause(5)
    assert budget.take("/x") == pytest.approx(30.0)
    clock.advance(30.0)
    assert budget.take("/x") == 0.0


@given(
    st.floats(0.1, 50),
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["/a", "/b"])), max_size=60),
)
def test_over_any_span_no_more_is_spent_than_burst_and_refill(
    per_s: float, burst: float, steps: list[tuple[float, str]]
) -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=per_s, burst=burst, weights=(("/b", 3.0),)), clock)
    spent = []
    for pause, path in steps:
        clock.advance(pause)
        if budget.take(path) == 0.0:
            spent.append((clock.monotonic_s(), budget.cost(path)))
    for first in range(len(spent)):
        for last in range(first, len(spent)):
            span = spent[last][0] - spent[first][0]
            total = sum(cost for _, cost in spent[first : last + 1])
            assert total <= burst + span * per_s + max(0.0, 3.0 - burst) + 1e-6


@pytest.mark.parametrize(
    ("limit", "units"), [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)]
)
def test_binance_weighs_a_book_by_its_depth(limit: int, units: float) -> None:
    budget = Budget(VENUES["binance"].rest, ManualClock())
    assert budget.cost(f"/api/v3/depth?symbol={quote('BTCUSDT')}&limit={limit}") == units
    assert budget.cost(f"/api/v3/depth?limit={limit}&symbol=BTCUSDT") == units


@pytest.mark.parametrize("name", sorted(VENUES))
def test_every_venue_can_pay_for_its_own_lists(name: str) -> None:
    """A burst below the most expensive request, or a list that takes a day, would be a typing error."""
    limits = VENUES[name].rest
    budget = Budget(limits, ManualClock())
    assert limits.per_s > 0
    paths = [*VENUES[name].listing_paths, *getattr(VENUES[name], "volume_paths", ())]
    waits = sum(budget.cost(path) for path in paths) / limits.per_s
    assert max(budget.cost(path) for path in paths) <= limits.burst
    assert waits <= 60


def test_the_circuit_opens_after_five_failures_in_a_row_and_not_after_four() -> None:
    breaker = Breaker(LIMITS, ManualClock())
    for _ in range(LIMITS.failures_to_open - 1):
        assert breaker.failed() is False
    assert breaker.refuse_s() == 0.0
    breaker.passed()
    for _ in range(LIMITS.failures_to_open - 1):
        breaker.failed()
    assert breaker.refuse_s() == 0.0
    assert breaker.failed() is True
    assert breaker.refuse_s() == pytest.approx(LIMITS.open_s)


def test_after_thirty_seconds_one_request_tries_and_the_others_still_wait() -> None:
    clock = ManualClock()
    breaker = _open(clock)
    clock.advance(LIMITS.open_s - 0.001)
    assert breaker.refuse_s() > 0
    clock.advance(0.001)
    assert breaker.refuse_s() == 0.0
    assert breaker.refuse_s() > 0


def test_a_trial_that_fails_opens_it_for_another_thirty_seconds() -> None:
    clock = ManualClock()
    breaker = _open(clock)
    clock.advance(LIMITS.open_s)
    assert breaker.refuse_s() == 0.0
    assert breaker.failed() is False  # it was open already
    assert breaker.refuse_s() == pytest.approx(LIMITS.open_s)


def test_a_trial_that_passes_closes_it() -> None:
    clock = ManualClock()
    breaker = _open(clock)
    clock.advance(LIMITS.open_s)
    assert breaker.refuse_s() == 0.0
    breaker.passed()
    assert [breaker.refuse_s() for _ in range(3)] == [0.0, 0.0, 0.0]


def test_an_abandoned_trial_leaves_room_for_the_next() -> None:
    clock = ManualClock()
    breaker = _open(clock)
    clock.advance(LIMITS.open_s)
    assert breaker.refuse_s() == 0.0
    breaker.abandoned()
    assert breaker.refuse_s() == 0.0


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_these_are_worth_another_attempt(status: int) -> None:
    assert is_passing(status)


@pytest.mark.parametrize("status", [200, 204, 301, 302, 400, 401, 403, 404, 418, 422, 451, 600])
def test_these_are_not(status: int) -> None:
    assert not is_passing(status)


def test_a_pause_never_exceeds_fifteen_minutes() -> None:
    clock = ManualClock()
    budget = Budget(RestLimits(per_s=1, burst=10), clock)
    budget.pause(10**300)
    assert budget.take("/") == WAIT_MAX_S == 900
    clock.advance(WAIT_MAX_S)
    assert budget.take("/") == 0.0


def test_the_circuit_opens_and_tries_again_as_the_limits_say() -> None:
    clock = ManualClock()
    breaker = Breaker(RestLimits(per_s=1, burst=1, failures_to_open=2, open_s=7), clock)
    assert [breaker.failed(), breaker.failed()] == [False, True]
    assert breaker.refuse_s() == pytest.approx(7)
    clock.advance(7)
    assert breaker.refuse_s() == 0.0


def _open(clock: ManualClock) -> Breaker:
    breaker = Breaker(LIMITS, clock)
    for _ in range(LIMITS.failures_to_open):
        breaker.failed()
    return breaker
