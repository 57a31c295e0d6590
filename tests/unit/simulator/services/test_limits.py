"""Rate limits of the simulated services count in a window that slides."""

from recorder.simulator.services.limits import Limit, RateLimits


def test_requests_above_a_limit_wait_until_the_window_has_room() -> None:
    limits = RateLimits((Limit("", 5), Limit("/books", 2)))
    assert [limits.excess_s("/books", at) for at in (0.0, 1.0)] == [0.0, 0.0]
    assert limits.excess_s("/books", 2.0) == 8.0
    assert limits.excess_s("/other", 2.0) == 0.0
    assert limits.excess_s("/books", 30.0) == 0.0
