"""The job `backfill` as the settings describe it."""

from collections.abc import Callable

from recorder.clock import Clock
from recorder.poller.backfilling.job import PERIOD_S, Backfilling
from recorder.poller.backfilling.reading import Source
from recorder.poller.healing.configured import SHARE, healed_venues
from recorder.poller.job import Every, Job
from recorder.rest.policy import RESERVED, cost_of
from recorder.settings import Settings
from recorder.venues.base import RestLimits
from recorder.venues.history import TimedHistory

NAME = "backfill"


def backfill_job(settings: Settings, clock: Clock, url: Callable[[], str], only: int | None = None) -> Job:
    """Return the job.

    Args:
        settings: Give the venues, and how many days a new stream is filled with.
        clock: Gives the time.
        url: Returns the address of the database.
        only: The one backfill to read; None: all.
    """
    handler = Backfilling(backfill_sources(settings), url, clock, settings.backfill.days, only)
    return Job(
        NAME, Every(PERIOD_S, 21), 20.0, handler,
        "Read the history that is asked for: tapedeck backfill, backfill.days.", repeatable=False,
    )  # fmt: skip


def backfill_sources(settings: Settings) -> dict[str, Source]:
    """Return where the history of each venue of the settings is read, by its name."""
    found = {}
    for name, (service, venue, history) in healed_venues(settings).items():
        path = history.path("", 0, 0) if isinstance(history, TimedHistory) else history.path("", 0)
        candles = venue.minute_candles
        candles_s = 0.0 if candles is None else pause_of(venue.rest, candles.path("", 0, 0))
        found[name] = Source(service, history, candles, pause_of(venue.rest, path), candles_s)
    return found


def pause_of(limits: RestLimits, path: str) -> float:
    """Return the seconds between two pages: they take what live recording and healing leave of the budget."""
    return cost_of(limits, path) / (limits.per_s * (1 - RESERVED) * (1 - SHARE))
