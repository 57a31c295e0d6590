"""The job `backfill` as the settings describe it."""

from collections.abc import Callable
from functools import partial

from recorder.backfill.progress import Asked, Progress
from recorder.clock import Clock
from recorder.poller.backfilling.feeds import LoadedFeeds, recorders_of
from recorder.poller.backfilling.job import PERIOD_S, Backfilling
from recorder.poller.backfilling.reading import Source
from recorder.poller.healing.configured import SHARE, healed_venues
from recorder.poller.job import Every, Job
from recorder.rest.policy import RESERVED, cost_of
from recorder.settings import Settings
from recorder.venues.base import RestLimits
from recorder.venues.history import TimedHistory

NAME = "backfill"
_ROUND = 2 / 3
"""The part of a period in which a round reads; the writer loads its block in the rest."""


def backfill_job(
    settings: Settings,
    clock: Clock,
    url: Callable[[], str],
    only: int | None = None,
    shown: Callable[[Asked, Progress], None] = lambda _asked, _progress: None,
) -> Job:
    """Return the job.

    Args:
        settings: Give the venues, and how many days a new stream is filled with.
        clock: Gives the time.
        url: Returns the address of the database.
        only: The one backfill to read; None: all.
        shown: Called after each page.
    """
    round_s = _ROUND * settings.poller.every_s.get(NAME, PERIOD_S)
    busy = _ROUND if only is None else 1.0  # alone, rounds follow each other
    feeds = LoadedFeeds(settings.journal.dir, url, partial(recorders_of, settings))
    sources = backfill_sources(settings, busy)
    handler = Backfilling(sources, url, clock, settings.backfill.days, only, round_s, shown, feeds)
    return Job(
        NAME, Every(PERIOD_S, 21), 20.0, handler,
        "Read the history that is asked for: tapedeck backfill, backfill.days.", repeatable=False,
        changes_database=True,
    )  # fmt: skip


def backfill_sources(settings: Settings, busy: float = 1.0) -> dict[str, Source]:
    """Return where the history of each venue of the settings is read, by its name.

    Args:
        settings: Give the venues.
        busy: The part of the time in which pages are read: so much closer they may follow each other.
    """
    found = {}
    for name, (service, venue, history) in healed_venues(settings).items():
        path = history.path("", 0, 0) if isinstance(history, TimedHistory) else history.path("", 0)
        candles = venue.minute_candles
        candles_s = 0.0 if candles is None else busy * pause_of(venue.rest, candles.path("", 0, 0))
        found[name] = Source(service, history, candles, busy * pause_of(venue.rest, path), candles_s)
    return found


def pause_of(limits: RestLimits, path: str) -> float:
    """Return the seconds between two pages: they take what live recording and healing leave of the budget."""
    return cost_of(limits, path) / (limits.per_s * (1 - RESERVED) * (1 - SHARE))
