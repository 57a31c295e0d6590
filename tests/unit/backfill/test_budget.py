"""What backfilling takes of a budget, beside live recording and healing."""

import pytest

from recorder.poller.backfilling.configured import pause_of
from recorder.poller.healing.configured import pages_of
from recorder.rest.policy import RESERVED, cost_of
from recorder.venues import VENUES
from recorder.venues.history import TimedHistory


@pytest.mark.parametrize("name", sorted(name for name, kind in VENUES.items() if kind.trade_history is not None))
def test_live_recording_healing_and_backfilling_together_stay_within_the_budget(name: str) -> None:
    kind = VENUES[name]
    history = kind.trade_history
    assert history is not None
    path = history.path("X", 0, 0) if isinstance(history, TimedHistory) else history.path("X", 0)
    cost, per_s, hour_s = cost_of(kind.rest, path), kind.rest.per_s, 3600.0
    backfill = cost / pause_of(kind.rest, path)
    healing = max(pages_of(kind.rest, history, hour_s) * cost / hour_s, 0.0)
    assert backfill == pytest.approx(per_s * 0.25)
    assert backfill + healing + per_s * RESERVED <= per_s * 1.0001
