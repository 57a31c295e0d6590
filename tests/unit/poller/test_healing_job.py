"""Rounds of the job `healing` that cannot ask anything."""

import pytest
from support.poller.polling import Storing

from recorder.clock import ManualClock
from recorder.errors import ConfigError, StoreUnavailable
from recorder.poller.healing.job import Healing, Source
from recorder.poller.job import Outcome
from recorder.venues.coinbase.history import TRADE_HISTORY

SOURCES = {"coinbase": Source("coinbase", TRADE_HISTORY, 5)}
SKIPPED = Outcome("skipped", "no database")


def healing(error: Exception, clock: ManualClock) -> Healing:
    def url() -> str:
        raise error

    return Healing(SOURCES, url, clock)


def test_without_a_database_a_round_is_skipped() -> None:
    one = healing(StoreUnavailable("down"), ManualClock())
    assert one.run(Storing()) == SKIPPED
    assert Healing({}, lambda: "", ManualClock()).run(Storing()) == Outcome("skipped", "nothing due")


def test_a_login_that_is_refused_is_an_error_once_the_writer_had_time_to_make_it() -> None:
    clock = ManualClock()
    one = healing(ConfigError("the database refuses this login"), clock)
    assert one.run(Storing()) == SKIPPED
    clock.advance(121)
    with pytest.raises(ConfigError):
        one.run(Storing())
