"""A server that hangs ends no attempt; the pools say so all the same."""

import pytest

from recorder.errors import StoreUnavailable
from recorder.web.queries.pool import SILENT_S, Attempts, Pool


def test_an_attempt_that_waits_says_that_postgres_does_not_answer_and_its_end_takes_it_back() -> None:
    now_s = 100.0
    attempts = Attempts(lambda: now_s)
    pool = Pool(lambda: "postgresql://nowhere.invalid/x", "reader", attempts=attempts, clock=lambda: now_s)
    with attempts.one():
        assert pool.problem() is None
        now_s += SILENT_S
        assert pool.problem() == "Postgres has not answered for 2 s"
        with pytest.raises(StoreUnavailable, match="has not answered"), pool.transaction():
            raise AssertionError("it must not wait behind the attempt that waits")
        assert not pool.ping()
    assert pool.problem() is None
