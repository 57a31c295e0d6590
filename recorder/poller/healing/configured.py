"""The job `healing` as the settings describe it, and the services that only it asks."""

import threading
from collections.abc import Callable

from recorder.clock import Clock
from recorder.instruments.configured import make_venue
from recorder.poller.healing.job import OFFSET_S, PERIOD_S, Healing, Source
from recorder.poller.job import Every, Job
from recorder.poller.services import ClientService, Service
from recorder.rest.client import client_of
from recorder.rest.policy import RESERVED, Priority, cost_of
from recorder.settings import Settings
from recorder.venues import VENUES
from recorder.venues.base import RestLimits, Venue
from recorder.venues.history import TimedHistory, TradeHistory

NAME = "healing"
SHARE = 0.5
"""The part of what live books leave of a budget that healing may take."""


def healing_job(settings: Settings, clock: Clock, url: Callable[[], str], only: tuple[str, str] = ("", "")) -> Job:
    """Return the job.

    Args:
        settings: Give the venues.
        clock: Gives the time.
        url: Returns the address of the database.
        only: A venue and a symbol whose gaps are healed; an empty one means all.
    """
    period_s = settings.poller.every_s.get(NAME, PERIOD_S)
    sources = {
        name: Source(service, history, pages_of(venue.rest, history, period_s), venue.minute_candles)
        for name, (service, venue, history) in healed_venues(settings).items()
    }
    return Job(
        NAME, Every(PERIOD_S, OFFSET_S), 20.0, Healing(sources, url, clock, only),
        "Fill gaps of trades from the history of their venue, and prove it.", repeatable=False,
    )  # fmt: skip


def healing_services(settings: Settings, stop: threading.Event) -> dict[str, Service]:
    """Return the services of venues whose history is that of another interface, which the settings do not record.

    Raises:
        ConfigError: The file of authorities cannot be used.
    """
    return {
        name: ClientService(
            client_of(
                venue, None, settings.websocket.user_agent, stop, settings.ca_file, settings.budgets_dir,
                Priority.SCHEDULED,
            )
        )
        for name, (service, venue, _) in healed_venues(settings).items()
        if service not in settings.venues or not settings.venues[service].enabled
    }  # fmt: skip


def pages_of(limits: RestLimits, history: TradeHistory | TimedHistory, period_s: float) -> int:
    """Return how many pages a round may read: half of what the live recorder leaves of the budget; at least one."""
    path = history.path("", 0, 0) if isinstance(history, TimedHistory) else history.path("", 0)
    cost = cost_of(limits, path)
    return max(1, int(limits.per_s * period_s * (1 - RESERVED) * SHARE / cost))


def healed_venues(settings: Settings) -> dict[str, tuple[str, Venue, TradeHistory | TimedHistory]]:
    """Return the service, the venue and the call of each venue that can be healed, by its name."""
    found: dict[str, tuple[str, Venue, TradeHistory | TimedHistory]] = {}
    public: set[str] = set()  # recorded by another interface, at its public address
    for key, own in settings.venues.items():
        if not own.enabled:
            continue
        venue = make_venue(key, own)
        kind = VENUES[venue.name]
        if isinstance(venue, kind) and kind.trade_history is not None:
            found[venue.name] = key, venue, kind.trade_history
        elif own.rest_url is None:
            public.add(venue.name)
    for name in sorted(public - found.keys()):
        history = VENUES[name].trade_history
        if history is not None:
            found[name] = name, VENUES[name](), history
    return found
